#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What the import of an image costs, against `umoci unpack` and, where it is installed, podman's load and
create, on the same disk: an image of 200 MB in 10 layers, compressed by gzip. Rounds are interleaved; each
begins behind a sync. Processor time counts all processes; memory is the largest one's. Needs root."""

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
    def __init__(self, name, prepare, argv, clear):
        self.name, self.prepare, self.argv, self.clear = name, prepare, argv, clear
        self.wall, self.cpu, self.memory = [], [], []

    def round(self):
        self.prepare()
        os.sync()
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        began = time.monotonic()
        for argv in self.argv:
            with tempfile.NamedTemporaryFile("r") as peak:
                done = subprocess.run(["/usr/bin/time", "-f", "%M", "-o", peak.name, *argv], capture_output=True,
                                      text=True, check=False)
                assert done.returncode == 0, done
                self.memory.append(int(peak.read()) / 1024)
        self.wall.append(time.monotonic() - began)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        self.cpu.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        self.clear()

    def result(self):
        return {"wall_s": statistics.median(self.wall), "cpu_s": statistics.median(self.cpu),
                "memory_mib": max(self.memory)}


def peers_of(place, build):
    layout, ours, theirs = place / "image", place / "ours", place / "theirs"
    # the fd of a directory that is made anew each time
    script = f'exec 9<"{ours}" && exec "{build}/isolate-image" import "oci:{layout}:bench" 9'
    peers = [
        Peer("isolate", ours.mkdir, [["sh", "-c", script]], lambda: shutil.rmtree(ours)),
        Peer("umoci unpack", lambda: None, [["umoci", "unpack", "--image", f"{layout}:bench", theirs]],
             lambda: shutil.rmtree(theirs)),
    ]
    if shutil.which("podman"):
        archive = place / "archive"
        subprocess.run(["skopeo", "copy", "-q", f"oci:{layout}:bench", f"docker-archive:{archive}:bench:1"], check=True)
        podman = ["podman", "--root", place / "store", "--runroot", place / "run"]
        peers.append(Peer(
            "podman load, create", lambda: None,
            [[*podman, "load", "-q", "-i", archive], [*podman, "create", "bench:1", "true"]],
            lambda: subprocess.run([*podman, "system", "reset", "-f"], check=True, capture_output=True)))
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
        for _ in range(arguments.rounds):
            for peer in peers:
                peer.round()
    results = {peer.name: peer.result() for peer in peers}
    if arguments.json:
        print(json.dumps(results))
        return
    print("| | s | processor s | largest process, MiB |\n|---|---|---|---|")
    for name, result in results.items():
        print(f"| {name} | {result['wall_s']:.2f} | {result['cpu_s']:.2f} | {result['memory_mib']:.0f} |")


if __name__ == "__main__":
    main()
