# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the attacks, the judgement that all of them share, and the table at the end."""

import json
import os
import pathlib
import platform

import pytest

from instance import ENGINE, Instance
from parked import Parked
from resident import Resident, users_with_lines

BOARD = {}  # {(number, what): [outcome, control]}
RAN = {}  # {(number, what): (engine, mode)}
# how the attacker's sandbox is started: by root's own command, or parked by a daemon before
MODE = os.environ.get("ISOLATE_TEST_MODE", "oneshot")

# What a kernel says that was built without the thing attacked.
NOT_IN_KERNEL = {"ENOSYS", "EAFNOSUPPORT", "EPROTONOSUPPORT", "ESOCKTNOSUPPORT", "ENODEV"}


@pytest.fixture(scope="session")
def users():
    with users_with_lines():
        yield


@pytest.fixture(scope="session")
def instance(users):
    if os.geteuid() != 0:
        pytest.skip("needs root: the embedded mode is for root only")
    made = Parked() if MODE == "resident" else Instance()
    try:
        made.run("look")  # makes the private directories
        made.baseline = made.host_state()
        yield made
    finally:
        made.close()


@pytest.fixture(autouse=True)
def host_unchanged(instance):
    """After every attack the host is as it was before the first one, and nothing is left."""
    yield
    instance.assert_host_unchanged()


@pytest.fixture(scope="module")
def service():
    """A daemon that serves."""
    made = Resident()
    try:
        yield made
    finally:
        made.close()


class Judge:
    """Compares what the sandbox said to what ATTACKS.md demands, and demands that the control
    succeeds: an attack that fails without the defence, too, proves nothing."""

    def __init__(self, item):
        self.item = item

    def __call__(self, number, what, native, control, allowed, missing=NOT_IN_KERNEL, ran=None):
        """native: one result, or one of each variant. allowed: errnos and signals. missing: what
        the control may say where this kernel cannot show the attack. ran: with which engine, and how, where that
        is not this run's."""
        variants = native if isinstance(native, dict) else {"default": native}
        BOARD[(number, what)] = [", ".join(dict.fromkeys(variants.values())), control]
        mode = "resident" if any(name.startswith("service") for name in self.item.fixturenames) else MODE
        RAN[(number, what)] = ran or (ENGINE, mode)
        for variant, result in variants.items():
            assert result.split()[-1] in allowed, f"attack {number} {what} ({variant}): {result}"
        if control == "SUCCEEDED":
            return
        word = control.split()[-1]
        if word in missing:
            reason = f"kernel {platform.release()} cannot show it: the control got {word}"
            BOARD[(number, what)][1] = f"skipped: {word}"
            pytest.skip(f"attack {number} {what}: denied in the sandbox; {reason}")
        pytest.fail(f"attack {number} {what}: the control did not succeed: {control}")


@pytest.fixture
def judge(request):
    return Judge(request.node)


def pytest_terminal_summary(terminalreporter):
    if not BOARD:
        return
    terminalreporter.section(f"attacks: engine {ENGINE}, {MODE}, against the control without the defence")
    width = max(len(what) for _, what in BOARD)
    line = "{:>3}  {:<%d}  {:<34}  {}" % width
    terminalreporter.write_line(line.format("#", "attack", ENGINE, "control"))
    for (number, what), (native, control) in sorted(BOARD.items()):
        terminalreporter.write_line(line.format(number, what, native, control))
    if os.environ.get("ISOLATE_MATRIX"):  # for matrix.py
        attacks = [[*which, *RAN[which], *outcome] for which, outcome in sorted(BOARD.items())]
        pathlib.Path(os.environ["ISOLATE_MATRIX"]).write_text(json.dumps(attacks))
