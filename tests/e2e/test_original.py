# SPDX-License-Identifier: Apache-2.0
"""The original's command line: what is refused before ZFS is asked. The rest is in the virtual
machine (tests/vm/seed.sh)."""

import pytest


@pytest.mark.parametrize("arguments, words", [
    (["-r"], "usage"),
    (["-f", "-s"], "DATASET is missing"),
    (["-r", "rpool/isolate/debisl"], "NUM is missing"),
    (["-r", "rpool/isolate/debisl", "many"], "not a number from 0 to 1000"),
    (["-r", "rpool/isolate/debisl", "1001"], "not a number from 0 to 1000"),
    (["-r", "rpool/isolate/debisl", "-5"], "-5"),
    (["-r", "rpool/isolate/debisl", "1", "2"], '"2"'),
    # options stand where they like
    (["-r", "-f", "rpool", "1"], "dataset \"rpool\""),
    (["-r", "-s", "rpool"], "dataset \"rpool\""),
    (["-r", "-f", "-s", "rpool", "1"], "dataset \"rpool\""),
    (["-r", "rpool", "-f", "1"], "dataset \"rpool\""),
    (["-f", "1", "-r", "rpool"], "dataset \"rpool\""),
    (["-r", "-f", "1"], "NUM is missing"),
    (["-r", "-x", "rpool/isolate/debisl", "1"], '"-x"'),
    (["-r", "-r", "rpool", "1"], "dataset \"rpool\""),
    (["-r", "rpool", "1"], "inside of another"),
    (["-r", "rpool/isolate/Debian", "1"], "Debian"),
    (["-r", "rpool/iso@late/debisl", "1"], "no name of a ZFS dataset"),
    (["-r", "rpool/isolate/dübisl", "1"], "dübisl"),
    (["-z"], "usage"),
    (["-z", "rpool/isolate/debisl"], "usage"),
    (["-z", "debisl", "true"], "usage"),
    (["-z", "rpool/isolate/debisl", "-n", "true"], '"-n"'),
    (["-z", "rpool/isolate/debisl", "true"], "holds no templates"),
    (["-e", "chroot", "-t", "/", "true"], "not in this version yet"),
])
def test_refused(instance, arguments, words):
    done = instance.isolate(*arguments)
    assert done.returncode == 125
    assert words in done.stderr, done.stderr
    assert done.stdout == ""


def test_help_shows_it(instance):
    for arguments in (["help"], ["-h"], ["--help"]):
        shown = instance.ok(*arguments)
        assert "isolate -r DATASET [-f] [-s] [NUM]" in shown
        assert "isolate -z DATASET COMMAND [ARG…]" in shown
    assert "LOCATION" in instance.ok("help", "template", "create")
