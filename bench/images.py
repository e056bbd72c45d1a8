#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What the import of an image costs, against `umoci unpack` and, where it is installed, podman's load and
create, on the same disk: an image of 200 MB in 10 layers, compressed by gzip. Rounds are interleaved; each
begins behind a sync, and nothing is removed before the last one's end, because a disk that is told of each
block that is free (discard) is busy with that for seconds. Processor time counts all processes; memory is the
largest one's. Needs root."""

import argparse
import json
import os
import pathlib
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "tests/e2e"))
from images import Layout, directory, file  # noqa: E402

LAYER_BYTES = 20_000_000
LAYERS = 10


def words(generator):
    letters = b"abcdefghijklmnopqrstuvwxyz      \n0123456789"
    return [bytes(generator.choices(letters, k=generator.randint(3, 40))) for _ in range(5000)]


def make_image(path):
    """Files as large as those of a system, of text that gzip halves."""
    generator = random.Random(1)
    known = words(generator)
    layout = Layout(path)

    def content(n):
        out = bytearray()
        while len(out) < n:
            out += generator.choice(known)
        return bytes(out[:n])

    layers = []
    for i in range(LAYERS):
        members, total = [], 0
        while total < LAYER_BYTES:
            if len(members) % 13 == 0:
                members.append(directory(f"usr/l{i}/d{len(members)}/"))
                parent = members[-1][0].name
            size = min(int(generator.paretovariate(1.1) * 4000), 2_000_000)
            members.append(file(f"{parent}f{len(members)}", content(size)))
            total += size
        layers.append(layout.layer(members))
    layout.image(*layers, tag="bench")


class Peer:
    """commands(place) is what it does in a directory of each round's own."""

    def __init__(self, name, commands):
        self.name, self.commands = name, commands
        self.wall, self.cpu, self.memory = [], [], []

    def round(self, place):
        place.mkdir(parents=True)
        argvs = self.commands(place)
        os.sync()
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        began = time.monotonic()
        for argv in argvs:
            with tempfile.NamedTemporaryFile("r") as peak:
                done = subprocess.run(["/usr/bin/time", "-f", "%M", "-o", peak.name, *argv], capture_output=True,
                                      text=True, check=False)
                assert done.returncode == 0, done
                self.memory.append(int(peak.read()) / 1024)
        self.wall.append(time.monotonic() - began)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        self.cpu.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)

    def result(self):
        return {"wall_s": statistics.median(self.wall), "cpu_s": statistics.median(self.cpu),
                "memory_mib": max(self.memory)}


def peers_of(place, build):
    layout = place / "image"
    importer = f'exec 9<"$0" && exec "{build}/isolate-image" import "oci:{layout}:bench" 9'  # an fd of a directory
    peers = [
        Peer("isolate", lambda at: [["sh", "-c", importer, at]]),
        Peer("umoci unpack", lambda at: [["umoci", "unpack", "--image", f"{layout}:bench", at / "bundle"]]),
    ]
    if shutil.which("podman"):
        archive = place / "archive"
        subprocess.run(["skopeo", "copy", "-q", f"oci:{layout}:bench", f"docker-archive:{archive}:bench:1"], check=True)

        def load_and_create(at):
            podman = ["podman", "--root", at / "store", "--runroot", place / "run"]
            return [[*podman, "load", "-q", "-i", archive], [*podman, "create", "bench:1", "true"]]
        peers.append(Peer("podman load, create", load_and_create))
    return peers


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", type=pathlib.Path, required=True, help="build directory")
    parser.add_argument("--directory", default="/var/tmp", help="on the disk in question")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="isolate-bench-", dir=arguments.directory) as made:
        place = pathlib.Path(made)
        make_image(place / "image")
        peers = peers_of(place, arguments.build.resolve())
        for number in range(arguments.rounds):
            for peer in peers:
                peer.round(place / f"round{number}" / peer.name.replace(" ", "-"))
    results = {peer.name: peer.result() for peer in peers}
    if arguments.json:
        print(json.dumps(results))
        return
    print("| | s | processor s | largest process, MiB |\n|---|---|---|---|")
    for name, result in results.items():
        print(f"| {name} | {result['wall_s']:.2f} | {result['cpu_s']:.2f} | {result['memory_mib']:.0f} |")


if __name__ == "__main__":
    main()
