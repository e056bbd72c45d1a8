# SPDX-License-Identifier: Apache-2.0
"""Fixtures. The automatic one compares the host before and after every test."""

import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile
import time

import pytest

from sandboxes import BUILD, ENGINE, Instance, comm, process_state, tree_walk
from services import Service

SETTLE_SECONDS = 5.0


def pytest_configure(config):
    config.addinivalue_line("markers", "settings(lines): configuration of a resident daemon")
    # a background job of a script has these ignored, and its children would, too
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    if os.getuid() != 0:
        raise pytest.UsageError("these tests make sandboxes: run them as root")
    for program in ("isolate", "isolated", "isolate-init"):
        if not (BUILD / program).exists():
            raise pytest.UsageError(f"{BUILD / program} is missing: build first, or set ISOLATE_BUILD")


# What is about a one-shot: how it starts, what its death leaves, settings that a client of a
# resident daemon does not make. Left out where ISOLATE_TEST_MODE=resident has everything else go
# through a daemon.
ONESHOT_ONLY = {
    "test_with_a_read_only_cgroup2", "test_kernel_without_a_system_call", "test_without_user_namespaces",
    "test_kernel_without_seccomp_inside", "test_incomplete_installation", "test_bad_configuration",
    "test_missing_configuration", "test_state_directory_open_to_others", "test_oneshot_without_a_socket",
    "test_client_whose_isolated_dies_at_once", "test_kept_survives_the_death_of_all",
    "test_kept_survives_a_boot", "test_no_mount_leaks", "test_isolated_killed_at_any_moment",
    "test_isolated_killed_while_the_command_runs", "test_signals_pass_after_isolated_was_killed",
    "test_client_and_isolated_killed", "test_recovery_leaves_the_living_alone",
    "test_next_command_leaves_a_run_without_its_isolated_alone",
    "test_isolated_killed_at_the_commit_of_an_update", "test_recovery_after_a_boot",
    "test_restored_when_isolated_is_killed", "test_without_cgroup2", "test_state_directory_on_btrfs",
    "test_disk_limit_through_a_daemon", "test_ranges_of_others",
}


# What the engine is, not what it does: its processes, the calls that it needs (bwrap loads filters by
# another one).
NATIVE_ONLY = {"test_cgroup_has_one_leaf_while_it_runs", "test_kernel_without_seccomp_inside"}


def leave_out(config, items, unwanted):
    left_out = [item for item in items if unwanted(item)]
    items[:] = [item for item in items if item not in left_out]
    config.hook.pytest_deselected(items=left_out)


def pytest_collection_modifyitems(config, items):
    if ENGINE != "native":
        # those of the pool mix runs of their own members with this one's
        leave_out(config, items, lambda item: item.originalname in NATIVE_ONLY
                  or item.path.name == "test_pool.py")
    if os.environ.get("ISOLATE_TEST_MODE") != "resident":
        return
    # these start daemons of their own in either mode
    own_daemon = ("test_resident", "test_pool")
    leave_out(config, items, lambda item: item.originalname in ONESHOT_ONLY
              or item.path.name.startswith(own_daemon))


def machine_suite():
    return re.search(
        r"^VERSION_CODENAME=(\w+)$", pathlib.Path("/etc/os-release").read_text(), re.MULTILINE
    ).group(1)


def machine_sources(suite):
    """The machine's own apt sources of its suite."""
    candidates = [pathlib.Path("/etc/apt/sources.list")]
    candidates += sorted(pathlib.Path("/etc/apt/sources.list.d").glob("*.list"))
    candidates += sorted(pathlib.Path("/etc/apt/sources.list.d").glob("*.sources"))
    return [
        str(path)
        for path in candidates
        if path.exists() and re.search(rf"\b{suite}\b", path.read_text())
    ]


@pytest.fixture(scope="session")
def root_tar():
    """A Debian minbase root, made once and kept in the test cache."""
    cache = pathlib.Path(os.environ.get("ISOLATE_TEST_CACHE", BUILD / "test-cache"))
    tar = cache / "debian-minbase.tar"
    if tar.exists():
        return tar
    if not shutil.which("mmdebstrap"):
        pytest.skip("mmdebstrap is not installed, and no root is cached")
    cache.mkdir(parents=True, exist_ok=True)
    new = cache / f"new-{os.getpid()}.tar"
    suite = machine_suite()
    try:
        subprocess.run(
            ["mmdebstrap", "--quiet", "--variant=minbase", suite, new, *machine_sources(suite)],
            check=True,
        )
        new.rename(tar)
    finally:
        new.unlink(missing_ok=True)
    return tar


@pytest.fixture(scope="session")
def session_directory():
    # not below pytest's own: a path with the user's name is nothing that state may lie in
    path = pathlib.Path(tempfile.mkdtemp(prefix="isolate-e2e-"))
    path.chmod(0o711)  # other users must reach a daemon's socket
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="session")
def rootfs(root_tar, session_directory):
    """The root, unpacked below a directory that only root enters."""
    parent = session_directory / "roots"
    parent.mkdir(mode=0o700)
    root = parent / "debian"
    root.mkdir(mode=0o755)
    subprocess.run(["tar", "--numeric-owner", "-xpf", root_tar, "-C", root], check=True)
    return root


SMALL_PROGRAMS = ("sh", "dash", "bash", "cat", "ls", "sleep", "rm", "touch", "mkdir", "mv", "ln", "chmod",
                  "chown", "true", "false", "head", "stat", "id", "env", "test", "cp", "dd", "readlink",
                  "hostname", "pwd", "tty", "rmdir", "mkfifo", "truncate", "find")
SMALL_LIBRARIES = ("libc.so.*", "libselinux.so.*", "libpcre2-8.so.*", "libtinfo.so.*", "libacl.so.*",
                   "libattr.so.*", "libgmp.so.*", "libm.so.*", "libcrypto.so.*", "libz.so.*")


@pytest.fixture(scope="session")
def small_root(rootfs, session_directory):
    """A few programs of the root: enough for a shell, small enough to be copied often."""
    root = session_directory / "roots" / "small"
    for name in ("usr/bin", "usr/lib", "etc", "proc", "sys", "dev", "tmp", "run", "root", "var/tmp", "srv"):
        (root / name).mkdir(parents=True)
    for name in ("bin", "lib", "lib64"):
        (root / name).symlink_to(f"usr/{name}")
    (root / "usr/lib64").mkdir()
    for program in SMALL_PROGRAMS:
        path = rootfs / "usr/bin" / program
        if path.exists():
            shutil.copy2(path, root / "usr/bin" / program, follow_symlinks=False)
    for pattern in SMALL_LIBRARIES:
        for path in (rootfs / "usr/lib").glob(f"*-linux-gnu/{pattern}"):
            to = root / path.relative_to(rootfs)
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, to, follow_symlinks=False)
    for loader in (rootfs / "usr/lib").glob("*-linux-gnu/ld-linux*"):
        shutil.copy2(loader, root / loader.relative_to(rootfs))
        for link in (rootfs / "usr/lib64").glob("ld-linux*"):
            shutil.copy2(link, root / "usr/lib64" / link.name, follow_symlinks=False)
    (root / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/:/bin/sh\n")
    (root / "etc/group").write_text("root:x:0:\nuser:x:1000:\n")
    (root / "etc/issue").write_text("a small system\n")
    return root


@pytest.fixture(scope="session")
def instance(session_directory, rootfs):
    with Instance(
        session_directory / "instance", f"isolate-test-{os.getpid()}", template=str(rootfs)
    ) as made:
        # the first command mounts the runtime directory and makes the cgroup
        made.output()
        if made.disk:  # nor is a storage elsewhere there before its first template
            made.ok("template", "create", "first", "--from", f"dir:{rootfs}")
            made.ok("template", "rm", "first")
        yield made


@pytest.fixture
def service(request, session_directory, small_root):
    """A resident daemon with the template "t"; settings by @pytest.mark.settings({…})."""
    mark = request.node.get_closest_marker("settings")
    with Service(session_directory / "service", f"isolate-test-{os.getpid()}-service",
                 mark.args[0] if mark else None) as made:
        made.ok("template", "create", "t", "--from", f"dir:{small_root}")
        made.stop_resident()  # one that everything goes through began before its settings
        made.start_resident()
        yield made


@pytest.fixture(scope="session")
def rootfs_walk(rootfs, instance):
    return tree_walk(rootfs)


def mounts_of(paths):
    lines = pathlib.Path("/proc/self/mountinfo").read_text().splitlines()
    return sorted(
        # without the numbers, which are new when the runtime directory is mounted anew
        re.sub(r" (shared|master):\d+", r" \1", line.split(" ", 3)[3])
        for line in lines
        if any(str(path) in line for path in paths)
    )


def loop_devices_of(paths):
    found = []
    for file in pathlib.Path("/sys/block").glob("loop*/loop/backing_file"):
        try:
            backing = file.read_text().strip()
        except OSError:
            continue
        if any(str(path) in backing for path in paths):
            found.append(backing)
    return sorted(found)


def processes_of(instances):
    """(pid, name) of everything alive that belongs to one of the installations."""
    pids = set()
    for one in instances:
        pids.update(one.daemons())
        pids.update(one.members())
    return sorted((pid, comm(pid)) for pid in pids if process_state(pid) not in ("", "Z", "X"))


def host_state(paths):
    instances = list(Instance.live)
    return {
        "mounts": mounts_of(paths),
        "cgroups": [(one.cgroup_name, leaf) for one in instances for leaf in one.leaves()],
        "processes": processes_of(instances),
        "clones": [(one.cgroup_name, name) for one in instances for name in one.clones()],
        "records": [(one.cgroup_name, name) for one in instances for name in one.records()],
        "loop devices": loop_devices_of(paths),
    }


def difference(before, after):
    said = []
    for key in before:
        new = [item for item in after[key] if item not in before[key]]
        gone = [item for item in before[key] if item not in after[key]]
        if new or gone:
            said.append(f"{key}: left behind {new}, lost {gone}")
    return said


def walk_difference(before, after):
    return [
        f"the template directory changed: {path}: {before.get(path)} → {after.get(path)}"
        for path in sorted(set(before) | set(after))
        if before.get(path) != after.get(path)
    ][:10]


@pytest.fixture(autouse=True)
def host_unchanged(instance, rootfs, rootfs_walk, session_directory, tmp_path):
    """Fails the test after which the host is not as it was before."""
    paths = (session_directory, tmp_path)
    before = host_state(paths)
    yield
    end = time.monotonic() + SETTLE_SECONDS
    said = difference(before, host_state(paths))
    while said and time.monotonic() < end:
        time.sleep(0.02)
        said = difference(before, host_state(paths))
    said += walk_difference(rootfs_walk, tree_walk(rootfs))
    if said:
        instance.kill_all()  # so that the tests behind this one have a chance
        instance.run()
        if (BUILD / "isolate-ctl").exists():
            instance.isolate("prune", "--kept")
        pytest.fail("the host is not as before:\n" + "\n".join(said), pytrace=False)
