# SPDX-License-Identifier: Apache-2.0
"""The contract that every engine keeps: one test a cell, run on each of them."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "e2e"))

from box import ENGINES, Box, skip_reason  # noqa: E402
from host_state import host_state, settled_difference  # noqa: E402
from matrix import Matrix  # noqa: E402
from roots import root_tar, rootfs, session_directory, small_root  # noqa: E402,F401
from sandboxes import BUILD, Instance, try_umount, undo_inherited_ignores, wait_until  # noqa: E402
from services import Service  # noqa: E402

MATRIX = pytest.StashKey()


def pytest_configure(config):
    undo_inherited_ignores()
    config.stash[MATRIX] = Matrix(list(ENGINES))
    config.pluginmanager.register(Reports(config.stash[MATRIX]))
    if os.getuid() != 0:
        raise pytest.UsageError("these tests make sandboxes: run them as root")
    if not (BUILD / "isolated").exists():
        raise pytest.UsageError(f"{BUILD} holds no build: build first, or set ISOLATE_BUILD")


class Reports:
    def __init__(self, matrix):
        self.matrix = matrix

    def pytest_runtest_logreport(self, report):
        self.matrix.take(report)


def pytest_terminal_summary(terminalreporter, config):
    config.stash[MATRIX].write(terminalreporter)


@pytest.fixture(scope="session")
def instance(session_directory, rootfs):
    """Where each run starts an isolated of its own."""
    with Instance(session_directory / "instance", f"isolate-matrix-{os.getpid()}", template=str(rootfs)) as made:
        made.output()  # the first command mounts the runtime directory and makes the cgroup
        yield made


@pytest.fixture(scope="session")
def service(session_directory, small_root):
    """A resident daemon with the template "t"."""
    with Service(session_directory / "service", f"isolate-matrix-{os.getpid()}-service") as made:
        made.ok("template", "create", "t", "--from", f"dir:{small_root}")
        if not made.resident:
            made.start_resident()
        yield made


@pytest.fixture(scope="session")
def directory(session_directory, rootfs):
    """A root whose changes persist: what is changed there is an overlay's own."""
    base = session_directory / "roots/kept"
    for name in ("upper", "work", "root"):
        (base / name).mkdir(parents=True)
    # volatile: its end waits for no disk
    options = f"volatile,lowerdir={rootfs},upperdir={base}/upper,workdir={base}/work"
    subprocess.run(["mount", "-t", "overlay", "-o", options, "kept", base / "root"], check=True)
    yield base / "root"
    wait_until(lambda: try_umount(base / "root"), 10, "the umount of the root")


@pytest.fixture(scope="session")
def listed(instance):
    return {item["name"]: item for item in json.loads(instance.ok("engines", "--json"))}


def make_box(request, column, listed, installation, directory):
    item = listed[ENGINES[column][0].partition(":")[0]]
    why = skip_reason(column, item)
    if why:
        pytest.skip(why)
    return Box(column, item["capabilities"], installation, directory, request.node)


@pytest.fixture(params=list(ENGINES))
def column(request):
    return request.param


@pytest.fixture
def box(request, column, listed, instance, directory):
    """The engine, each run with an isolated of its own."""
    return make_box(request, column, listed, instance, directory)


@pytest.fixture
def served_box(request, column, listed, service, directory):
    """The engine, through a resident daemon."""
    return make_box(request, column, listed, service, directory)


@pytest.fixture(autouse=True)
def host_unchanged(instance, session_directory, directory, tmp_path, request):
    """Fails the cell that leaves something behind."""
    if "served_box" in request.fixturenames:
        request.getfixturevalue("service")
    paths = (session_directory, tmp_path)
    before = host_state(paths)
    yield
    said = settled_difference(before, paths)
    if said:
        instance.kill_all()  # so that the cells behind this one have a chance
        instance.run()
        pytest.fail("the host is not as before:\n" + "\n".join(said), pytrace=False)
