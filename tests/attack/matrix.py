#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes one table of what came of attacks: matrix.py [--into TEXT] FILE… reads what runs of this suite with
ISOLATE_MATRIX=FILE have written, and prints the table, or puts it into TEXT,
between the lines that say so."""

import argparse
import collections
import json
import pathlib
import re

from rows import ROWS

ENGINES = ["native", "bwrap", "lxc", "nspawn", "oci"]
MODES = ["oneshot", "resident"]
BEGIN, END = "<!-- attacks: begin -->", "<!-- attacks: end -->"


def denied(outcome):
    return all(not word.startswith("SUCCEEDED") for word in outcome.split(", "))


def read(files):
    """{(number, what): {(engine, mode): (outcome, control)}}."""
    board = collections.defaultdict(dict)
    for file in files:
        for number, what, engine, mode, outcome, control in json.loads(pathlib.Path(file).read_text()):
            board[(number, what)][(engine, mode)] = (outcome, control)
    return board


def cell(board, number, engine):
    """How many were denied, by root's own command and by a daemon."""
    counts = []
    for mode in MODES:
        results = [runs[(engine, mode)][0] for (n, _), runs in board.items() if n == number and (engine, mode) in runs]
        won = sum(not denied(result) for result in results)
        counts.append(f"**{won} of {len(results)} succeeded**" if won else str(len(results)))
    return "–" if counts == ["0", "0"] else " + ".join(counts)


def controls(board, number):
    """Whether the attack works without the defence, each counted once whatever the engine."""
    mine = {what: {control for _, control in runs.values()} for (n, what), runs in board.items() if n == number}
    shown = sum("SUCCEEDED" in said for said in mine.values())
    return f"{shown} of {len(mine)}" if mine else "–"


def reasons(board):
    """What this kernel could not show: {errno: names}."""
    why = collections.defaultdict(set)
    for (number, what), runs in board.items():
        said = {control for _, control in runs.values()}
        if "SUCCEEDED" not in said and "skipped: NOBODY" not in said:  # what isolate gives to nobody has no control
            why[", ".join(sorted(said)).removeprefix("skipped: ")].add(f"{number} {what}")
    return why


def lines(board):
    yield "| # | attack | stopped by | control | " + " | ".join(ENGINES) + " | and in |"
    yield "|---" * (5 + len(ENGINES)) + "|"
    for number, (attack, mechanism, also) in ROWS.items():
        cells = [cell(board, number, engine) for engine in ENGINES]
        yield f"| {number} | {attack} | {mechanism} | {controls(board, number)} | {' | '.join(cells)} | {also} |"
    why = reasons(board)
    if why:
        yield ""
        yield "The kernel of these runs could not show, because the control got"
        yield ""
        for errno, names in sorted(why.items()):
            yield f"- {errno}: {', '.join(sorted(names, key=lambda name: (int(name.split()[0]), name)))}."


def put(path, text):
    old = pathlib.Path(path).read_text(encoding="utf-8")
    new, n = re.subn(rf"(?<={re.escape(BEGIN)}\n).*?(?={re.escape(END)})", lambda _: text, old, flags=re.DOTALL)
    if n != 1:
        raise SystemExit(f"{path}: there is no {BEGIN} … {END}")
    pathlib.Path(path).write_text(new, encoding="utf-8")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--into")
    parser.add_argument("files", nargs="+")
    arguments = parser.parse_args()
    text = "\n".join(lines(read(arguments.files))) + "\n"
    if arguments.into:
        put(arguments.into, text)
    else:
        print(text, end="")


if __name__ == "__main__":
    main()
