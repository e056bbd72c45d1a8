# SPDX-License-Identifier: Apache-2.0
"""The matrix: what came of each cell of the contract on each engine, printed behind the tests and
written to the file that ISOLATE_MATRIX names."""

import os
import pathlib
import re

REFUSED = ("cell", "refused")


class Matrix:
    """Collects reports; `engines` are the columns in their order."""

    def __init__(self, engines):
        self.engines = engines
        self.cells = {}  # name of a cell → {engine: word}
        self.reasons = {}  # why something was skipped → cells and engines

    def take(self, report):
        found = re.search(r"::test_(\d\d)_(\w+)\[(\S+)\]$", report.nodeid)
        if not found or found[3] not in self.engines:
            return
        cell, engine = f"{found[1]} {found[2].replace('_', ' ')}", found[3]
        row = self.cells.setdefault(cell, {})
        if report.failed:
            row[engine] = "FAILED"  # also by what was left behind
        elif report.skipped:
            row[engine] = "skipped"
            self.reasons.setdefault(report.longrepr[2].removeprefix("Skipped: "), {}).setdefault(engine, []).append(cell)
        elif report.when == "call":
            row[engine] = "refused" if REFUSED in report.user_properties else "ok"

    def lines(self):
        width = max(map(len, self.cells))
        columns = [max(7, len(engine)) for engine in self.engines]

        def line(first, words):
            return "  ".join([first.ljust(width), *(word.ljust(size) for word, size in zip(words, columns))]).rstrip()

        yield line("", self.engines)
        for cell, row in sorted(self.cells.items()):
            yield line(cell, [row.get(engine, "-") for engine in self.engines])
        words = [word for row in self.cells.values() for word in row.values()]
        yield ""
        yield ", ".join(f"{words.count(word)} {word}" for word in ("ok", "refused", "skipped", "FAILED"))
        for reason, where in sorted(self.reasons.items()):
            for engine, cells in where.items():
                numbers = "all cells" if len(cells) == len(self.cells) else ", ".join(cell[:2] for cell in cells)
                yield f"skipped: {engine}: {numbers}: {reason}"

    def write(self, terminal):
        if not self.cells:
            return
        text = list(self.lines())
        terminal.section("engines")
        for line in text:
            terminal.line(line)
        if os.environ.get("ISOLATE_MATRIX"):
            pathlib.Path(os.environ["ISOLATE_MATRIX"]).write_text("\n".join(text) + "\n")
