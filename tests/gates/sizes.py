#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Sizes of functions and files (the project's style): hard limits are findings, one line each,
and exit 1; soft ones are notes on stderr. Functions are found by universal-ctags. --self-test
shows that it can fail."""
import os
import re
import subprocess
import sys
import tempfile

TABLES = {"src/sys/filter_table.c", "src/client/options_table.c"}
FUNCTION_HARD, FUNCTION_SOFT, MAIN_HARD, PARAMETERS_HARD = 100, 60, 80, 6
SOURCE_HARD, SOURCE_SOFT, HEADER_HARD = 800, 500, 200


def sources():
    for root in ("src", "tests"):
        for directory, folders, files in os.walk(root):
            folders.sort()
            for name in sorted(files):
                path = os.path.join(directory, name)
                if name.endswith((".c", ".h")) and path not in TABLES:
                    yield path


def count_parameters(signature):
    inside = signature.strip()[1:-1].strip()
    if inside in ("", "void"):
        return 0
    depth = 0
    count = 1
    for character in inside:
        depth += character in "([{"
        depth -= character in ")]}"
        count += character == "," and depth == 0
    return count


def functions(paths):
    """(path, name, first line, last line, parameters) of every function."""
    command = ["ctags", "--language-force=C", "--c-kinds=f", "--fields=+neS", "--sort=no",
               # attributes between the parameters and the body hide a function from ctags
               "-I", "_must_check_,_Noreturn,_printf_+,_cleanup_+", "-f", "-", "-L", "-"]
    result = subprocess.run(command, input="\n".join(paths), capture_output=True, text=True,
                            check=True)
    for line in result.stdout.splitlines():
        if line.startswith("!"):
            continue
        name, path, rest = line.split("\t", 2)
        first = re.search(r"\bline:(\d+)", rest)
        last = re.search(r"\bend:(\d+)", rest)
        signature = re.search(r"\bsignature:(\(.*\))", rest)
        if first and last:
            yield (path, name, int(first[1]), int(last[1]),
                   count_parameters(signature[1]) if signature else 0)


def check_functions(paths, notes):
    seen = False
    for path, name, first, last, parameters in functions(paths):
        seen = True
        lines = last - first + 1
        hard = MAIN_HARD if name == "main" else FUNCTION_HARD
        if lines > hard:
            yield f"{path}:{first}: {name} has {lines} lines, more than {hard}"
        elif lines > FUNCTION_SOFT:
            notes.append(f"{path}:{first}: note: {name} has {lines} lines")
        if parameters > PARAMETERS_HARD:
            yield f"{path}:{first}: {name} has {parameters} parameters, more than {PARAMETERS_HARD}"
    if paths and not seen:
        yield "src:1: ctags found no function at all; is it universal-ctags?"


def check_files(paths, notes):
    for path in paths:
        with open(path, "rb") as file:
            lines = file.read().count(b"\n")
        hard = HEADER_HARD if path.endswith(".h") else SOURCE_HARD
        if lines > hard:
            yield f"{path}:{lines}: the file has {lines} lines, more than {hard}"
        elif path.endswith(".c") and lines > SOURCE_SOFT:
            notes.append(f"{path}:{lines}: note: the file has {lines} lines")


def findings(notes):
    paths = list(sources())
    yield from check_functions(paths, notes)
    yield from check_files(paths, notes)


def plant(path, text):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def self_test():
    def body(name, parameters, lines):
        return f"int {name}({parameters})\n{{\n" + "    f();\n" * (lines - 3) + "}\n"

    cases = {
        body("tall", "void", 101): "tall has 101 lines",
        body("main", "int argc, char **argv", 81): "main has 81 lines",
        body("wide", "int a, int (*b)(int, int), int c, int d, int e, int f, int g", 4):
            "wide has 7 parameters",
        "\n" * 801 + body("f", "void", 4): "the file has",
    }
    with tempfile.TemporaryDirectory() as directory:
        os.chdir(directory)
        notes = []
        good = body("a", "void", 100) + body("b", "int a, int (*b)(int, int), int c", 61)
        plant("src/base/good.c", good)
        assert not list(findings(notes)), "the clean tree has findings"
        assert len(notes) == 2, notes
        for text, expected in cases.items():
            plant("src/base/bad.c", text)
            found = list(findings([]))
            assert len(found) == 1 and expected in found[0], (expected, found)
        os.remove("src/base/bad.c")
        plant("src/base/bad.h", "\n" * 201)
        assert len(list(findings([]))) == 1, "a long header passes"
        os.remove("src/base/bad.h")
        plant("src/sys/filter_table.c", body("t", "void", 900))
        assert not list(findings([])), "a table is not exempt"
    print("sizes.py: can fail")


def main():
    if sys.argv[1:] == ["--self-test"]:
        return self_test()
    os.chdir(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../.."))
    notes = []
    found = list(findings(notes))
    for line in notes:
        print(line, file=sys.stderr)
    for line in found:
        print(line)
    return 1 if found else 0


sys.exit(main())
