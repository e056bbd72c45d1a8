# SPDX-License-Identifier: Apache-2.0
"""Prints a text file as the string literals of a C header: quote.py FILE NAME."""
import json
import sys

print("/* made from the file by quote.py */")
print(f"static const char {sys.argv[2]}[] =")
with open(sys.argv[1], encoding="utf-8") as file:
    for line in file:
        print("    " + json.dumps(line, ensure_ascii=True))
print("    ;")
