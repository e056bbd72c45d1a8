# SPDX-License-Identifier: Apache-2.0
"""A resident daemon with a template of one static program, and what must be true behind each run."""

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

import pytest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "e2e"))

from sandboxes import BUILD  # noqa: E402
from services import Service  # noqa: E402


def pytest_configure(config):
    config.addinivalue_line("markers", "settings(lines): configuration of the daemon")
    if os.getuid() != 0:
        raise pytest.UsageError("these tests make sandboxes: run them as root")
    if not (BUILD / "isolated").exists():
        raise pytest.UsageError(f"{BUILD} holds no build: build first, or set ISOLATE_BUILD")


@pytest.fixture(scope="session")
def programs():
    directory = pathlib.Path(tempfile.mkdtemp(prefix="isolate-torture-"))
    directory.chmod(0o711)
    (directory / "bin").mkdir()
    for name, *more in (("end",), ("state",), ("freeze",), ("fault", "fault_calls")):
        sources = [HERE / f"{source}.c" for source in (name, *more)]
        subprocess.run(["cc", "-D_GNU_SOURCE", "-static", "-O1", "-Wall", "-Wextra", "-Werror", *sources, "-o",
                        directory / "bin" / name], check=True)
    yield directory / "bin"
    shutil.rmtree(directory)


@pytest.fixture(scope="session")
def root(programs):
    """What the template is made of."""
    made = programs.parent / "root"
    for name in ("etc", "dev", "proc", "sys", "tmp", "run", "mnt"):
        (made / name).mkdir(parents=True)
    for name in ("end", "state"):
        shutil.copy(programs / name, made / name)
    return made


@pytest.fixture
def service(request, programs, root):
    mark = request.node.get_closest_marker("settings")
    with Service(programs.parent / "service", f"isolate-torture-{os.getpid()}",
                 mark.args[0] if mark else None) as made:
        made.ok("template", "create", "t", "--from", f"dir:{root}")
        made.start_resident()
        yield made
