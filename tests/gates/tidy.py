#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""clang-tidy over the sources that a build directory compiles: tidy.py [BUILDDIR [FILE…]]. Prints one
line for each finding and exits 1 if there is any, 77 without that clang-tidy. --self-test shows that it
can fail. As analyze.py: the static analyzer of a later clang, see there.

A source in which nothing was found is remembered (~/.cache/isolate-tests/tidy, or ISOLATE_TEST_CACHE),
by all that was read for it, and not looked at again."""
import concurrent.futures
import functools
import hashlib
import json
import os
import pathlib
import re
import shlex
import subprocess
import sys
import tempfile
import time

TOP = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(TOP / "tests"))

from cache import cache_directory  # noqa: E402  pylint: disable=wrong-import-position

# Of a variable that a cleanup releases. No clang reads that attribute; gcc -fanalyzer does, and the
# sanitizers see what really leaks.
LEAKS = re.compile("Potential (memory )?leak|Opened stream never closed")
FINDING = re.compile(r"^(.*?:\d+:\d+: (?:warning|error): .*?)(?:,-warnings-as-errors\])?$")
KEPT_DAYS = 30


class Tidy:
    """A clang-tidy of one release, because each has other checks, with its configuration."""

    def __init__(self, name, program, version, config, bad):
        self.name, self.program, self.version, self.config, self.bad = name, program, version, TOP / config, bad

    def is_there(self):
        try:
            shown = subprocess.run([self.program, "--version"], capture_output=True, text=True, check=False).stdout
        except FileNotFoundError:
            return False
        return f"version {self.version}." in shown

    def look(self, database, source):
        """The findings in a source, by a directory's compile_commands.json."""
        done = subprocess.run([self.program, "--quiet", f"--config-file={self.config}", "-p", database, source],
                              capture_output=True, text=True, errors="replace", check=False)
        found = [match[1] for line in done.stdout.splitlines() if (match := FINDING.match(line))]
        if done.returncode and not found:
            found = [f"{source}: {self.program} failed ({done.returncode}): {done.stderr.strip()[-300:]}"]
        return [re.sub(r"^\S*?/(?=src/)", "", line) for line in found if not LEAKS.search(line)]


# the tree follows the clang-tidy of Debian 12
TIDY = Tidy("tidy", "clang-tidy", 14, ".clang-tidy", "int f(int a)\n{\n    return a == a;\n}\n")


@functools.cache
def content(path):
    return hashlib.sha256(pathlib.Path(path).read_bytes()).digest()


class Known:
    """Sources that were found clean, by a hash of all that makes it so."""

    def __init__(self, tidy):
        self.directory = cache_directory() / "tidy"
        self.directory.mkdir(parents=True, exist_ok=True)
        for path in self.directory.iterdir():
            if path.stat().st_mtime < time.time() - KEPT_DAYS * 86400:
                path.unlink(missing_ok=True)
        program = subprocess.run([tidy.program, "--version"], capture_output=True, check=False).stdout
        self.base = [program, content(tidy.config), content(__file__)]

    def path(self, entry):
        """None where not even the headers that it includes can be told."""
        words = shlex.split(entry["command"])
        for option in ("-o", "-MF", "-MQ"):
            if option in words:
                at = words.index(option)
                del words[at:at + 2]
        kept = [word for word in words[1:] if word not in ("-MD", "-c")]
        done = subprocess.run(["clang", "-M", *kept], cwd=entry["directory"], capture_output=True, text=True, check=False)
        if done.returncode:
            return None
        # wherever the tree and its build lie
        words = "\0".join(kept).replace(entry["directory"], "").replace(str(TOP), "")
        total = hashlib.sha256(b"\0".join(self.base) + words.encode())
        for name in done.stdout.replace("\\\n", " ").split(":", 1)[1].split():
            total.update(content(os.path.join(entry["directory"], name)))
        return self.directory / total.hexdigest()


def entries_of(build, wanted):
    """A second compile of a file, for musl, would only repeat its findings; gcc's own flags are not clang's."""
    sources = f"{TOP}/src/"
    chosen = {}
    for entry in json.loads((build / "compile_commands.json").read_text()):
        path = os.path.abspath(os.path.join(entry["directory"], entry["file"]))
        words = entry["command"].split()
        is_musl = "-specs" in words
        if is_musl:
            at = words.index("-specs")
            del words[at:at + 2]
        if (path in wanted if wanted else path.startswith(sources)) and (path not in chosen or not is_musl):
            chosen[path] = {"directory": entry["directory"], "file": path, "command": " ".join(words)}
    return [chosen[path] for path in sorted(chosen)]


def check(tidy, entries):
    known = Known(tidy)

    def one(entry):
        path = known.path(entry)
        if path and path.exists():
            path.touch()
            return []
        found = tidy.look(database, entry["file"])
        if path and not found:
            path.touch()
        return found

    with tempfile.TemporaryDirectory() as database:
        pathlib.Path(database, "compile_commands.json").write_text(json.dumps(entries))
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            return sorted({line for found in pool.map(one, entries) for line in found})


def self_test(tidy):
    with tempfile.TemporaryDirectory() as directory:
        bad = pathlib.Path(directory, "bad.c")
        bad.write_text(tidy.bad)
        entries = [{"directory": directory, "file": str(bad), "command": "cc -c bad.c"}]
        for attempt in ("first", "second"):
            if not check(tidy, entries):
                print(f"{tidy.name}: what is wrong passes at the {attempt} look:\n{tidy.bad}")
                return 1
    print(f"{tidy.name}: can fail")
    return 0


def main(tidy):
    if not tidy.is_there():
        print(f"{tidy.name}: skipped, there is no clang-tidy {tidy.version}")
        return 77
    if sys.argv[1:] == ["--self-test"]:
        return self_test(tidy)
    build = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else os.environ.get("ISOLATE_BUILD", "build")).absolute()
    if not (build / "compile_commands.json").exists():
        print(f"{build}/compile_commands.json:1: not there; run: meson setup {build}")
        return 1
    wanted = {os.path.abspath(path) for path in sys.argv[2:]}
    found = check(tidy, entries_of(build, wanted))
    for line in found:
        print(line)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(TIDY))
