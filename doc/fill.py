#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Replaces lines of a text by files: fill.py TEXT PLACEHOLDER=FILE… prints TEXT with each line
that is nothing but @PLACEHOLDER@ replaced by the content of FILE. Used by the build for the man
pages; a placeholder that is left over or never used is an error."""
import re
import sys


def main(arguments):
    if len(arguments) < 2:
        sys.exit(__doc__)
    text = open(arguments[0], encoding="utf-8").read()
    for argument in arguments[1:]:
        name, _, file = argument.partition("=")
        content = open(file, encoding="utf-8").read().rstrip("\n")
        line = re.compile(rf"^@{re.escape(name)}@$", re.MULTILINE)
        if not line.search(text):
            sys.exit(f"{arguments[0]}: there is no line @{name}@")
        text = line.sub(lambda _: content, text)
    left = re.search(r"^@[A-Z_]+@$", text, re.MULTILINE)
    if left:
        sys.exit(f"{arguments[0]}: {left.group()} is not filled")
    sys.stdout.reconfigure(encoding="utf-8")
    sys.stdout.write(text)


main(sys.argv[1:])
