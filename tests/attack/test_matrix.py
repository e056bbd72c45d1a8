# SPDX-License-Identifier: Apache-2.0
"""doc/SECURITY.md has the table of all attacks, with what stops each, and none that succeeds but the one
that it names."""

import pathlib
import re

from rows import ROWS

SECURITY = pathlib.Path(__file__).resolve().parents[2] / "doc/SECURITY.md"


def test_table_is_of_these_rows():
    lines = [line for line in SECURITY.read_text(encoding="utf-8").splitlines() if re.match(r"\| \d+ \|", line)]
    assert [line.split(" | ")[:3] for line in lines] == [
        [f"| {number}", attack, mechanism] for number, (attack, mechanism, _) in ROWS.items()], "make it anew: matrix.py"
    assert all("succeeded" not in line for line in lines if not line.startswith("| 38 ")), "an attack succeeded"
