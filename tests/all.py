#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Builds isolate in every way that is tested, runs every suite, adds up the counts.

Called by ./check. Each suite is one function that fills in Counts.
The last line is "N passed, N failed, N skipped"; each skip is listed with its reason before.
"""
import argparse
import contextlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree

from cache import cache_directory

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BUILD = os.path.join(TOP, "build-check")
BUILD_CLANG = os.path.join(TOP, "build-check-clang")  # with sanitizers, and the fuzz targets
# what of tests/e2e goes through a resident daemon in a short check
RESIDENT = [f"tests/e2e/test_{name}.py" for name in
            ("run", "exit_status", "keep", "options", "signals", "stdio", "tty")]
# on which tests/e2e runs in the long form, beside the contract of tests/engines
FOREIGN = {"bwrap": "bwrap", "lxc": "lxc-start", "nspawn": "systemd-nspawn", "oci": "runc",
           "oci:/usr/bin/crun": "crun"}
# what an engine has no part in: how templates come, change and travel
ENGINELESS = [f"tests/e2e/test_{name}.py" for name in
              ("image_layers", "image_tools", "pull", "streams_btrfs", "template", "template_streams", "template_travel")]
# attacks on the sandbox, which are an engine's; the others are on the daemon's socket
ATTACKS = [f"tests/attack/test_{name}.py" for name in
           ("binds", "devices", "files", "kernel_api", "namespaces", "passed_fds", "proc", "reach", "sockets",
            "typing")]
# and on other storages than overlay: short, long
STORAGE = {False: ["tests/e2e/test_keep.py"], True: ["tests/e2e/test_keep.py", "tests/e2e/test_template.py"]}
# what needs a processor for long, but nothing that others use: runs beside all others in a short check, each
# row one after the other; with how nice it is: the virtual machine takes longest
BESIDE = ((("vm",), 0), (("clang", "fuzz", "daemon", "gates"), 10), (("contract",), 10))
FUZZ_SECONDS = {False: 120, True: 3600}  # short and long, in all
LONG_GATES = ("analyze.py",)  # which take minutes: of them a short check runs the self-test


class Counts:
    """What came of a suite."""

    def __init__(self, passed=0, failed=0, skipped=0):
        self.passed, self.failed, self.skipped = passed, failed, skipped
        self.skips = []
        self.failures = []

    def add(self, other):
        self.passed += other.passed
        self.failed += other.failed
        self.skipped += other.skipped
        self.skips += other.skips
        self.failures += other.failures

    def ok(self, good, name):
        if good:
            self.passed += 1
        else:
            self.failed += 1
            self.failures.append(name)


def run(command, **arguments):
    return subprocess.run(command, cwd=TOP, check=False, **arguments)


def build(directory, counts, *options, compiler="gcc", targets=("all",)):
    """A build with no warning is one test; without it the rest is pointless."""
    environment = dict(os.environ, CC=compiler)
    if not os.path.exists(os.path.join(directory, "build.ninja")):
        if run(["meson", "setup", directory, *options], env=environment,
               stdout=subprocess.DEVNULL).returncode:
            counts.ok(False, f"meson setup {directory}")
            return False
    result = run(["ninja", "-C", directory, *targets], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                 text=True)
    if result.returncode:
        print(result.stdout)
    warnings = re.findall(r"^.*warning: .*$", result.stdout, re.M)
    for line in warnings:
        print(line)
    counts.ok(result.returncode == 0 and not warnings, f"build with {compiler} in {directory}")
    return result.returncode == 0


def cmocka(directory, pattern, counts, label, more=None):
    """Runs the test executables that `meson introspect` lists and reads their TAP output."""
    listing = run(["meson", "introspect", "--tests", directory], stdout=subprocess.PIPE, text=True)
    import json
    for test in json.loads(listing.stdout):
        if not any(pattern in suite for suite in test["suite"]):
            continue
        environment = dict(os.environ, **test["env"], **(more or {}), CMOCKA_MESSAGE_OUTPUT="TAP",
                           UBSAN_OPTIONS="halt_on_error=1:print_stacktrace=1")
        result = run(test["cmd"], env=environment, stdout=subprocess.PIPE,
                     stderr=subprocess.STDOUT, text=True, errors="replace", timeout=1800)
        tap(result, f"{label} {test['name']}", counts)


def build_clang(counts):
    return build(BUILD_CLANG, counts, "-Dfuzz=true", "-Dman=false", "-Db_sanitize=address,undefined",
                 "-Db_lundef=false", compiler="clang", targets=("all", "fuzz"))


def clang(counts):
    """The other compiler's warnings, and the unit tests under sanitizers."""
    if build_clang(counts):
        cmocka(BUILD_CLANG, "unit", counts, "sanitize")


def tap(result, name, counts):
    seen = 0
    for line in result.stdout.splitlines():
        match = re.match(r"(not )?ok \d+ ?-? ?(.*)", line)
        if not match:
            continue
        seen += 1
        if "# SKIP" in line.upper():
            counts.skipped += 1
            counts.skips.append(f"{name}: {match.group(2)}")
        else:
            counts.ok(not match.group(1), f"{name}: {match.group(2)}")
    if result.returncode == 77:  # what this machine does not have
        counts.skipped += 1
        counts.skips.append(f"{name}: {result.stdout.strip().splitlines()[-1]}")
        return
    if result.returncode or seen == 0:
        print(f"--- {name}: exit {result.returncode}\n{result.stdout[-6000:]}")
        if seen == 0 or "not ok" not in result.stdout:
            counts.ok(False, f"{name} (exit {result.returncode})")


def run_pytest(targets, report, environment):
    """Runs pytest on directories or single tests; the cases of its report."""
    if os.path.exists(report):
        os.unlink(report)
    # mounts are shared, as systemd makes them: what leaks out of a sandbox is seen; /tmp may be
    # nosuid and nodev, which would spoil the controls
    done = run(["unshare", "--mount", "--propagation", "shared", "/usr/bin/python3", "-m", "pytest", "-q",
                "--tb=short", "-p", "no:cacheprovider", f"--junit-xml={report}", *targets],
               env={**os.environ, "ISOLATE_BUILD": BUILD, "PYTHONDONTWRITEBYTECODE": "1", "TMPDIR": "/var/tmp",
                    "ISOLATE_TEST_NETWORK": "1", **environment})
    # 0: all passed, 1: some did not; anything else is no whole run
    whole = done.returncode in (0, 1) and os.path.exists(report)
    return list(ElementTree.parse(report).iter("testcase")) if whole else []


def bad(case):
    return case.find("failure") is not None or case.find("error") is not None


def of_a_file(case):
    """Whether what is wrong is not the case's own, but of one of those before it."""
    error = case.find("error")
    return error is not None and "the template directory changed" in (error.text or "")


def pytest(targets, counts, environment=None):
    report = os.path.join(BUILD, f"pytest-{os.path.basename(targets[0])}.xml")
    cases = run_pytest(targets, report, environment or {})
    if not cases:
        counts.ok(False, f"pytest {targets[0]} did not run to its end")
        return
    names = {f"{case.get('classname')}.{case.get('name')}": bad(case) for case in cases}
    failed = [name for name, is_bad in names.items() if is_bad]
    # on a busy machine one of hundreds may come too late: a few are tried once more, and said so,
    # but not where races, chance or attacks are the subject
    once = any(target.startswith(("tests/attack", "tests/fuzz", "tests/torture")) for target in targets)
    if 0 < len(failed) <= 3 and not once and not any(map(of_a_file, cases)):
        cases_again = [f"{case.get('classname').replace('.', '/')}.py::{case.get('name')}"
                       for case in cases if bad(case)]
        again = run_pytest(cases_again, report + ".again", {**(environment or {}), "ISOLATE_MATRIX": ""})
        if len(again) >= len(failed) and not any(bad(case) for case in again):
            for name in failed:
                print(f"PASSED ONLY AT THE SECOND TRY: {name}")
                names[name] = False
    for case in cases:
        name = f"{case.get('classname')}.{case.get('name')}"
        skip = case.find("skipped")
        if skip is not None:
            counts.skipped += 1
            counts.skips.append(f"{name}: {skip.get('message')}")
        else:
            counts.ok(not names[name], name)


def storages(counts, environment):
    for storage in ("btrfs:btrfs", "reflink:xfs"):
        pytest(STORAGE["ISOLATE_LONG" in environment], counts, dict(environment, ISOLATE_TEST_STORAGE=storage))


def engines(counts, environment):
    """Long only: the contract, which is the step "matrix", is what a short check has of them."""
    for engine, program in FOREIGN.items():
        if not shutil.which(program):
            counts.skipped += 1
            counts.skips.append(f"engine {engine}: {program} is not installed")
            continue
        leave_out = [f"--ignore={file}" for file in ENGINELESS]
        pytest(["tests/e2e", *leave_out], counts, dict(environment, ISOLATE_TEST_ENGINE=engine))


def attacks(counts, environment):
    """Short: with the engine native only, built for the attacker and parked by a daemon before."""
    files = []

    def attack(targets, engine, mode):
        files.append(os.path.join(BUILD, f"attacks-{engine.replace('/', '-')}-{mode}.json"))
        if os.path.exists(files[-1]):
            os.unlink(files[-1])
        pytest(targets, counts, dict(environment, ISOLATE_MATRIX=files[-1], ISOLATE_TEST_ENGINE=engine,
                                     ISOLATE_TEST_MODE=mode))

    attack(["tests/attack"], "native", "oneshot")
    attack(ATTACKS, "native", "resident")
    for engine, program in FOREIGN.items() if "ISOLATE_LONG" in environment else ():
        if not shutil.which(program):
            counts.skipped += 1
            counts.skips.append(f"attacks on {engine}: {program} is not installed")
            continue
        for mode in ("oneshot", "resident"):
            attack(ATTACKS, engine, mode)
    run(["tests/attack/matrix.py", *filter(os.path.exists, files)])


def contract(counts, is_long):
    """Short: drivers with a longer way are not killed behind each system call, but each fifth."""
    cmocka(BUILD, "contract", counts, "contract")
    cmocka(BUILD, "trees", counts, "contract", {} if is_long else {"ISOLATE_CONTRACT_EVERY": "5"})
    # the suite "fuse", zfs-fuse, is for trying by hand: that daemon now and then stands still


def fuzz(counts, is_long):
    """Replays the corpora and fuzzes on from them. What runs at the same time goes first."""
    if not build_clang(counts):
        return
    result = run(["nice", "-n", "10", "tests/fuzz/fuzz.py", "--build", BUILD_CLANG, "--seconds", str(FUZZ_SECONDS[is_long])],
                 stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
    print("\n".join(line for line in result.stdout.splitlines() if line.startswith("# ")))
    tap(result, "fuzz", counts)


def daemon(counts, environment):
    """The socket of a daemon that is built with sanitizers, fuzzed."""
    if build_clang(counts):
        pytest(["tests/fuzz"], counts, dict(environment, ISOLATE_BUILD=BUILD_CLANG))


def gates(counts, is_long):
    """Structure and style, each gate with a self-test that plants a violation."""
    directory = os.path.join(TOP, "tests", "gates")
    for name in sorted(os.listdir(directory)):
        path = os.path.join(directory, name)
        if not os.access(path, os.X_OK) or os.path.isdir(path):
            continue
        with open(path, encoding="utf-8") as script:
            has_self_test = "--self-test" in script.read()
        variants = [[path]] if is_long or name not in LONG_GATES else []
        variants += [[path, "--self-test"]] if has_self_test else []
        for command in variants:
            result = run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                         env=dict(os.environ, ISOLATE_BUILD=BUILD))
            if result.returncode == 77:  # what this machine does not have
                counts.skipped += 1
                counts.skips.append(f"gate {result.stdout.strip()}")
                continue
            if result.returncode:
                print(result.stdout[-6000:])
            counts.ok(result.returncode == 0, f"gate {' '.join(command[0:])}")


def remember(line, mode="a"):
    """For who asks what took long in the last check, whose output is not kept."""
    with contextlib.suppress(OSError):
        file = cache_directory() / "steps"
        file.parent.mkdir(parents=True, exist_ok=True)
        with open(file, mode, encoding="utf-8") as steps:
            steps.write(f"{time.strftime('%F %T')} {line}\n")


class BesideSteps:
    """Steps in a process of their own, whose output is printed when it is waited for. They call nothing else
    that the others use than the build."""

    def __init__(self, names, nice):
        self.name = ",".join(names)
        self.output = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(["nice", "-n", str(nice), sys.executable, __file__, "--only", self.name], cwd=TOP,
                                        stdin=subprocess.DEVNULL, stdout=self.output, stderr=subprocess.STDOUT)

    def wait(self, counts):
        self.process.wait()
        self.output.seek(0)
        lines = self.output.read().splitlines()
        last = re.fullmatch(r"(\d+) passed, (\d+) failed, (\d+) skipped", lines[-1] if lines else "")
        print("\n".join(lines[:-1]))
        counts.ok(last is not None, f"{self.name} came to its end")
        if last:
            # its own build was counted there, and here
            counts.passed, counts.failed, counts.skipped = int(last[1]) - 1, int(last[2]), int(last[3])
        for line in lines:
            found = re.fullmatch(r"(skipped:|FAILED:) (.*)", line)
            if found:
                (counts.skips if found[1] == "skipped:" else counts.failures).append(found[2])


def run_step(name, step, total):
    counts = Counts()
    begin = time.monotonic()
    print(f"=== {name}", flush=True)
    step(counts)
    line = (f"{name}: {counts.passed} passed, {counts.failed} failed, {counts.skipped} skipped in "
            f"{time.monotonic() - begin:.0f} s")
    print(f"=== {line}", flush=True)
    remember(line)
    if counts.passed + counts.failed + counts.skipped == 0:
        counts.ok(False, f"{name}: no test was run")
    total.add(counts)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--long", action="store_true")
    parser.add_argument("--only", help="run these steps, with commas between them: unit, gates, clang, fuzz, daemon, contract, attack, torture, e2e, resident, matrix, engines (long), storage, vm")
    arguments = parser.parse_args()
    long = {"ISOLATE_LONG": "1"} if arguments.long else {}
    resident = dict(long, ISOLATE_TEST_MODE="resident")
    total = Counts()
    beside = []
    steps = {
        "unit": lambda c: cmocka(BUILD, "unit", c, "unit"),
        "gates": lambda c: gates(c, arguments.long),
        "clang": clang,
        "fuzz": lambda c: fuzz(c, arguments.long),
        "daemon": lambda c: daemon(c, long),
        "contract": lambda c: contract(c, arguments.long),
        "attack": lambda c: attacks(c, long),
        "torture": lambda c: pytest(["tests/torture"], c, long),
        "e2e": lambda c: pytest(["tests/e2e"], c, long),
        # the same through a resident daemon
        "resident": lambda c: pytest(["tests/e2e"] if long else RESIDENT, c, resident),
        # the contract of engines, on each of them
        "matrix": lambda c: pytest(["tests/engines"], c, long),
        **({"engines": lambda c: engines(c, long)} if long else {}),
        "storage": lambda c: storages(c, long),
        "vm": lambda c: pytest(["tests/vm"], c, long),
    }
    only = arguments.only.split(",") if arguments.only else []
    if any(name not in steps for name in only):
        parser.error(f"--only: there is {', '.join(steps)}")
    if not only:
        remember("a whole check", "w")
    if not build(BUILD, total):
        steps, only = {}, []
    elif only:
        steps = {name: steps[name] for name in only}
    elif not arguments.long:
        beside = [BesideSteps(names, nice) for names, nice in BESIDE]
        steps = {name: step for name, step in steps.items() if not any(name in names for names, _ in BESIDE)}
    for name, step in steps.items():
        run_step(name, step, total)
    for one in beside:
        run_step(one.name, one.wait, total)
    for line in total.skips:
        print("skipped:", line)
    for line in total.failures:
        print("FAILED:", line)
    print(f"{total.passed} passed, {total.failed} failed, {total.skipped} skipped")
    return 1 if total.failed or total.passed == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
