# SPDX-License-Identifier: Apache-2.0
"""Fixtures. The automatic one compares the host before and after every test."""

import os

import pytest

from host_state import host_state, settled_difference
from roots import root_tar, rootfs, session_directory, small_root  # noqa: F401
from sandboxes import BUILD, ENGINE, Instance, tree_walk, undo_inherited_ignores
from services import Service


def pytest_configure(config):
    config.addinivalue_line("markers", "settings(lines): configuration of a resident daemon")
    undo_inherited_ignores()
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
    "test_kernel_without_a_call_that_is_spared", "test_kernel_without_what_isolated_begins_with",
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


@pytest.fixture
def also(instance):
    """Removes templates that a test makes beside."""
    names = []
    yield names.append
    for name in names:
        instance.isolate("template", "rm", name)


@pytest.fixture(scope="session")
def rootfs_walk(rootfs, instance):
    return tree_walk(rootfs)


def walk_difference(before, after):
    return [
        f"the template directory changed: {path}: {before.get(path)} → {after.get(path)}"
        for path in sorted(set(before) | set(after))
        if before.get(path) != after.get(path)
    ][:10]


@pytest.fixture(scope="module", autouse=True)
def template_unchanged(instance, rootfs, rootfs_walk):
    """Fails the last test of a file by which the template's directory is not as it was; after each it would cost
    more than most tests do."""
    yield
    said = walk_difference(rootfs_walk, tree_walk(rootfs))
    if said:
        pytest.fail("\n".join(said), pytrace=False)


@pytest.fixture(autouse=True)
def host_unchanged(instance, session_directory, tmp_path):
    """Fails the test after which the host is not as it was before."""
    paths = (session_directory, tmp_path)
    before = host_state(paths)
    yield
    said = settled_difference(before, paths)
    if said:
        instance.kill_all()  # so that the tests behind this one have a chance
        instance.run()
        if (BUILD / "isolate-ctl").exists():
            instance.isolate("prune", "--kept")
        pytest.fail("the host is not as before:\n" + "\n".join(said), pytrace=False)
