# SPDX-License-Identifier: Apache-2.0
"""What only a whole machine shows: the package, systemd, pure cgroup v2, OpenZFS. Each test
of a script is a test here; the script runs once, in one boot."""

import os
import pathlib
import random
import subprocess
import time

import pytest

from conftest import need
from machine import names_in


HERE = pathlib.Path(__file__).resolve().parent
BENCH = HERE.parent.parent / "bench"
LONG = bool(os.environ.get("ISOLATE_LONG"))
# of two boots of one machine
FIRST_LONG = ("engines.sh", "boot.sh", "bombs.sh")
FIRST = ("smoke.sh", "service.sh", "limits.sh", *(FIRST_LONG if LONG else ()), "reboot.sh")
SECOND = ("rebooted.sh", "removal.sh")


def outcome(report, name):
    """Makes what the machine says of a test the outcome of the test that calls this."""
    result = report.results.get(name)
    if result is None:
        pytest.fail(report.why_incomplete(), pytrace=False)
    if result.verdict == "skipped":
        pytest.skip(result.remark)
    if result.verdict == "failed":
        pytest.fail(result.remark + "\n" + "\n".join(result.log), pytrace=False)
    print(result.remark)


def test_package_is_clean(changes):
    need("lintian")
    done = subprocess.run(
        ["lintian", "--allow-root", "--info", "--fail-on", "error,warning", changes],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.fixture(scope="session")
def smoke(virtual_machine, package, small_root, boot_root):
    """What came of both boots; the first ends by a reboot of its own."""
    stage = {"files": [package], "folders": {"root": small_root, "boot": boot_root}}
    with virtual_machine.boot(*FIRST, **stage) as boot:
        boot.wait_for(r"^# synced$", 3600 if LONG else 2400)
        boot.wait_off(120)
        first = boot.report()
    second = virtual_machine.run(*SECOND, **stage)
    return first, second


@pytest.mark.parametrize("name", [name for script in FIRST if script not in FIRST_LONG for name in names_in(script)])
def test_smoke(smoke, name):
    outcome(smoke[0], name)


@pytest.mark.long
@pytest.mark.parametrize("name", [name for script in FIRST_LONG for name in names_in(script)])
def test_smoke_long(smoke, name):
    outcome(smoke[0], name)


@pytest.mark.parametrize("name", [name for script in SECOND for name in names_in(script)])
def test_after_a_reboot(smoke, name):
    outcome(smoke[1], name)


def test_smoke_ended(smoke):
    for report in smoke:
        print(report.facts)
        assert report.ended, report.why_incomplete()


# what goes wrong beside the way, each with datasets of its own
SEED_LONG = ("test_others_datasets_stay", "test_datasets_that_will_not_do", "test_names_with_spaces_and_others",
             "test_not_mounted", "test_pool_full", "test_locked_and_unlocked", "test_template_made_there", "test_disk_limit",
             "test_administrators_snapshots_stay", "test_snapshot_of_the_future", "test_other_things_beside",
             "test_pool_that_comes_later")


@pytest.fixture(scope="session")
def seed(virtual_machine, package, small_root):
    """The workflow of the original, in a machine of its own."""
    leave_out = () if LONG else SEED_LONG
    with virtual_machine.another() as machine:
        return machine.run("seed.sh", files=[package], folders={"root": small_root},
                           environment={"leave_out": f" {' '.join(leave_out)} "})


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.long) if name in SEED_LONG else name
                                  for name in names_in("seed.sh")])
def test_seed(seed, name):
    outcome(seed, name)


@pytest.fixture(scope="session")
def suite():
    return pathlib.Path(os.environ["ISOLATE_BUILD"]) / "tests/contract-storage"


@pytest.fixture(scope="session")
def quota(virtual_machine, package, suite, small_root):
    with virtual_machine.another() as machine:
        return machine.run("quota.sh", files=[package, suite], folders={"root": small_root})


@pytest.mark.long
@pytest.mark.parametrize("name", names_in("quota.sh"))
def test_quota(quota, name):
    outcome(quota, name)


@pytest.fixture(scope="session")
def attacks(virtual_machine, package, small_root, session_directory):
    """What the kernel of a container cannot show, by the programs of tests/attack."""
    programs = session_directory / "attack"
    if not programs.exists():
        programs.mkdir()
        for source in (HERE.parent / "attack").glob("*.c"):
            subprocess.run(["cc", "-static", "-O1", source, "-o", programs / source.stem], check=True)
    with virtual_machine.another() as machine:
        return machine.run("attack.sh", files=[package], folders={"root": small_root, "attack": programs}, seconds=1200)


@pytest.mark.long
@pytest.mark.parametrize("name", names_in("attack.sh"))
def test_attacks(attacks, name):
    outcome(attacks, name)


@pytest.fixture(scope="session")
def openzfs(virtual_machine, suite):
    with virtual_machine.another() as machine:
        return machine.run("zfs.sh", files=[suite], environment={"limit": "1200"}, seconds=3600)


@pytest.mark.long
@pytest.mark.parametrize("name", names_in("zfs.sh"))
def test_openzfs(openzfs, name):
    outcome(openzfs, name)


@pytest.fixture(scope="session")
def streams(virtual_machine, package, small_root):
    with virtual_machine.another() as machine:
        return machine.run("zfs_streams.sh", files=[package], folders={"root": small_root})


@pytest.mark.long
@pytest.mark.parametrize("name", names_in("zfs_streams.sh"))
def test_zfs_streams(streams, name):
    outcome(streams, name)


@pytest.fixture(scope="session")
def suspended(virtual_machine, package, small_root):
    """A pool that is suspended under sandboxes, in a machine of its own."""
    with virtual_machine.another() as machine:
        return machine.run("suspended.sh", files=[package], folders={"root": small_root})


@pytest.mark.long
@pytest.mark.parametrize("name", names_in("suspended.sh"))
def test_suspended(suspended, name):
    outcome(suspended, name)


@pytest.fixture(scope="session")
def starts(virtual_machine, package, small_root, session_directory):
    """No time is asserted; the table goes into doc/PERFORMANCE.md."""
    programs = [session_directory / name for name in ("interleave", "floor")]
    for program in programs:
        subprocess.run(["cc", "-D_GNU_SOURCE", "-static", "-O2", BENCH / f"{program.name}.c", "-o", program], check=True)
    with virtual_machine.another() as machine:
        return machine.run("starts.sh", files=[package, *programs], folders={"root": small_root},
                           environment={"limit": "1500"}, seconds=1800)


@pytest.mark.long
@pytest.mark.parametrize("name", names_in("starts.sh"))
def test_starts(starts, name):
    outcome(starts, name)
    print(starts.facts)


CUTS = 20 if LONG else 1


def test_power_cuts(virtual_machine, package, small_root):
    """The power is cut at random moments under load; each next boot finds all whole and clean."""
    seed = random.randrange(1 << 32)
    moments = random.Random(seed)
    with virtual_machine.another() as machine:
        for number in range(CUTS + 1):
            with machine.boot("cut.sh", files=[package], folders={"root": small_root},
                              durable=True) as boot:
                boot.wait_for(r"^# synced$", 300)
                report = boot.report()
                assert report.ended, report.why_incomplete()
                for name in names_in("cut.sh"):
                    print(f"boot {number} of seed {seed}: {name}: {report.facts}")
                    outcome(report, name)
                time.sleep(moments.uniform(0, 8))


ENDINGS = ("cut", "reboot", "cut", "cut", "reboot", "cut")


@pytest.mark.long
def test_zfs_power_cuts_and_reboots(virtual_machine, package, small_root):
    """The same with clones in OpenZFS, and with reboots in between."""
    with virtual_machine.another() as machine:
        for number, ending in enumerate((*ENDINGS, "")):
            with machine.boot("zfs_cut.sh", files=[package], folders={"root": small_root},
                              environment={"after": ending}, durable=True) as boot:
                boot.wait_for(r"^# synced$", 400)
                report = boot.report()
                assert report.ended, report.why_incomplete()
                for name in names_in("zfs_cut.sh"):
                    print(f"boot {number}, then {ending}: {name}: {report.facts}")
                    outcome(report, name)
                if ending == "reboot":
                    assert boot.wait_off(120)
                else:
                    time.sleep(random.uniform(0, 8))
