#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Runs the fuzz targets of a build (-Dfuzz=true, `ninja fuzz`) over the committed corpora, then with
new inputs for a while. Output is TAP, with what each target came to as comments.

  tests/fuzz/fuzz.py --build DIR                   only replays the corpora
  tests/fuzz/fuzz.py --build DIR --seconds 120     and fuzzes so long in all, one target after another
  tests/fuzz/fuzz.py --build DIR --seconds 3600 --merge   and keeps what reached more in the corpora
  tests/fuzz/fuzz.py --build DIR --targets tar,scan …     only these

An input that a target does not survive is printed in base64: put it into corpus/TARGET, as found-WHAT, with the fix."""
import argparse
import base64
import contextlib
import os
import pathlib
import random
import re
import shutil
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
SKIPPED = 33  # of target.c
FILES_BYTES = 1 << 30  # that all of a target's files may have
SLOW_SECONDS = 20  # one input that takes longer is a finding
MEMORY_MB = 2048
OPTIONS = {"ASAN_OPTIONS": "detect_leaks=1:abort_on_error=0:detect_stack_use_after_return=1",
           "UBSAN_OPTIONS": "print_stacktrace=1", "LC_ALL": "C.UTF-8"}


def names():
    return sorted(path.stem for path in HERE.glob("*.c") if path.name != "target.c")


class Target:
    def __init__(self, build, name, scratch):
        self.name = name
        self.program = pathlib.Path(build).resolve() / "tests" / "fuzz" / f"fuzz-{name}"
        self.corpus = HERE / "corpus" / name
        self.scratch = scratch / name
        self.found = self.scratch / "found"
        self.new = self.scratch / "new"
        for path in (self.found, self.new, self.scratch / "tmp"):
            path.mkdir(parents=True)

    def run(self, *arguments, seconds):
        """libFuzzer with these; its exit status, and what it said."""
        command = [str(self.program), f"-rss_limit_mb={MEMORY_MB}", f"-timeout={SLOW_SECONDS}",
                   "-handle_xfsz=0",  # a file that would be too long is an error, not a finding
                   f"-artifact_prefix={self.found}/", *map(str, arguments)]
        environment = dict(os.environ, **OPTIONS, TMPDIR=str(self.scratch / "tmp"))
        try:
            done = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT, timeout=seconds + 600, check=False)
        except subprocess.TimeoutExpired as stuck:
            return -1, (stuck.stdout or b"").decode(errors="replace") + "\nit does not end"
        return done.returncode, done.stdout.decode(errors="replace")

    def replay(self):
        return self.run("-runs=0", self.corpus, seconds=0)

    def fuzz(self, seconds, seed):
        dictionary = HERE / f"{self.name}.dict"
        more = [f"-dict={dictionary}"] if dictionary.exists() else []
        return self.run(f"-max_total_time={seconds}", f"-seed={seed}", "-print_final_stats=1", *more, self.new,
                        self.corpus, seconds=seconds)

    def merge(self):
        """The fewest inputs, old and new, that reach the same edges, and those that once were a finding."""
        fewest = self.scratch / "fewest"
        fewest.mkdir()
        status, said = self.run("-merge=1", "-use_counters=0", fewest, self.corpus, self.new, seconds=600)
        for path in self.corpus.glob("found-*"):
            shutil.copy(path, fewest)
        if status == 0 and any(fewest.iterdir()):
            shutil.rmtree(self.corpus)
            shutil.copytree(fewest, self.corpus)
        return status, said

    def findings(self):
        for path in sorted(self.found.iterdir()):
            yield f"{path.name}: {base64.b64encode(path.read_bytes()).decode()}"


def enter_mount_namespace():
    """Begins anew in one of its own, where a file system in memory for the targets' files goes away with it."""
    if os.environ.get("ISOLATE_FUZZ_OWN_MOUNTS") == "1" or os.geteuid() != 0:
        return
    os.environ["ISOLATE_FUZZ_OWN_MOUNTS"] = "1"
    os.execvp("unshare", ["unshare", "--mount", "--propagation", "private", sys.executable, *sys.argv])


@contextlib.contextmanager
def scratch_directory():
    with tempfile.TemporaryDirectory(prefix="isolate-fuzz-", dir="/var/tmp") as path:
        mounted = os.geteuid() == 0 and subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={FILES_BYTES},mode=0700", "isolate-fuzz", path],
            check=False).returncode == 0
        try:
            yield pathlib.Path(path)
        finally:
            if mounted:
                subprocess.run(["umount", "-l", path], check=False)


def last_number(pattern, text):
    found = re.findall(pattern, text)
    return int(found[-1]) if found else 0


class Report:
    """TAP on stdout."""

    def __init__(self):
        self.n = 0
        self.failed = 0

    def line(self, good, what, skip=""):
        self.n += 1
        self.failed += not good
        print(f"{'ok' if good else 'not ok'} {self.n} - {what}{' # SKIP ' + skip if skip else ''}", flush=True)

    def took(self, target, what, status, said):
        if status == SKIPPED:
            self.line(True, f"{what} {target.name}", said.strip().splitlines()[-1])
            return
        self.line(status == 0, f"{what} {target.name}")
        if status != 0:
            for text in (*said[-8000:].splitlines(), *target.findings()):
                print("#", text)


def one(target, report, seconds, seed, merge):
    """Replays, and fuzzes unless that failed already: how many inputs were new."""
    target.corpus.mkdir(parents=True, exist_ok=True)
    status, said = target.replay()
    report.took(target, "replay", status, said)
    executions = 0
    if status == 0 and seconds > 0:
        status, said = target.fuzz(seconds, seed)
        report.took(target, "fuzz", status, said)
        executions = last_number(r"number_of_executed_units: (\d+)", said)
    edges, features = last_number(r"cov: (\d+)", said), last_number(r"ft: (\d+)", said)
    print(f"# {target.name:10} {executions:10} executions {edges:6} edges {features:6} features in {seconds} s",
          flush=True)
    if merge and status == 0:
        report.took(target, "merge", *target.merge())
    return executions


def main():
    enter_mount_namespace()
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", required=True)
    parser.add_argument("--seconds", type=int, default=0, help="to fuzz, in all")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1, 1 << 31))
    parser.add_argument("--targets", default=",".join(names()))
    parser.add_argument("--merge", action="store_true")
    arguments = parser.parse_args()
    wanted = arguments.targets.split(",")
    each = -(-arguments.seconds // len(wanted))
    report = Report()
    total = 0
    print(f"# seed {arguments.seed}, {each} s for each of {len(wanted)} targets", flush=True)
    with scratch_directory() as scratch:
        for name in wanted:
            target = Target(arguments.build, name, scratch)
            if not target.program.exists():
                report.line(False, f"{name}: {target.program} is not built")
                continue
            total += one(target, report, each, arguments.seed, arguments.merge)
    print(f"# {total} executions in all")
    print(f"1..{report.n}")
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main())
