#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Names and words that must not be in the tree: files called after nothing, sources without a
licence line, registry hosts, unfinished work, shells started from C. Prints one line for each and
exits 1 if there is any. --self-test shows that it can fail."""
import os
import re
import subprocess
import sys
import tempfile

BANNED = {word + plural for word in ("util", "misc", "common", "helper", "global")
          for plural in ("", "s")}
# put together here, so that this file does not contain what it looks for
HOSTS = re.compile("|".join(re.escape(".".join(parts)) for parts in (
    ("deb", "debian", "org"), ("security", "debian", "org"), ("archive", "ubuntu", "com"),
    ("security", "ubuntu", "com"), ("ports", "ubuntu", "com"), ("registry-1", "docker", "io"),
    ("registry", "npmjs", "org"), ("pypi", "org"))))
UNFINISHED = re.compile(r"\b(?:" + "|".join(("TO" + "DO", "FIX" + "ME", "X" * 3)) + r")\b")
SHELL = re.compile(r"(?<![\w.>\"])(?:system|popen)\s*\(")
LICENCE = "SPDX-License-Identifier: " + "Apache-2.0"
COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*", re.DOTALL)


def files():
    """What git tracks, or would: everything that is not ignored."""
    command = ["git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    return sorted(path for path in set(result.stdout.split("\0")) if os.path.isfile(path))


def is_source(path, text):
    name = os.path.basename(path)
    return (name.endswith((".c", ".h", ".py", ".sh")) or text.startswith("#!")
            or name in ("meson.build", "meson_options.txt", "meson.options"))


def without_comments(text):
    return COMMENT.sub(lambda match: "\n" * match[0].count("\n"), text)


def matches(path, text, pattern, what):
    for number, line in enumerate(text.split("\n"), 1):
        found = pattern.search(line)
        if found:
            yield f"{path}:{number}: {what}: {found[0]}"


def check(path):
    stem = os.path.basename(path).split(".")[0].lower()
    if BANNED & set(re.split(r"[-_]", stem)) and not path.endswith(".md"):
        yield f"{path}:1: a file must be called after what it is for, not \"{stem}\""
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
    except UnicodeDecodeError:
        return
    if is_source(path, text) and LICENCE not in "\n".join(text.split("\n")[:5]):
        yield f"{path}:1: no line \"{LICENCE}\" at the beginning"
    yield from matches(path, text, HOSTS, "a registry's host")
    if path.startswith("src/"):
        yield from matches(path, text, UNFINISHED, "unfinished")
    if path.startswith("src/") and path.endswith((".c", ".h")):
        yield from matches(path, without_comments(text), SHELL, "a shell started from C")


def findings():
    for path in files():
        yield from check(path)


def plant(path, text):
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def self_test():
    good = f"/* {LICENCE} */\n"
    cases = (
        ("src/base/utils.c", good), ("src/base/path_util.h", good), ("tests/common.py", "# " + good),
        ("src/base/a.c", "/* nothing */\n"), ("check", "#!/bin/sh\n"), ("meson.build", "x\n"),
        ("doc/x.md", ".".join(("http://deb", "debian", "org")) + "\n"),
        ("src/base/b.c", good + "/* " + "TO" + "DO */\n"),
        ("src/base/c.c", good + 'int r = sys' + 'tem("x");\n'),
        ("src/base/d.c", good + 'FILE *f = po' + 'pen ("x", "r");\n'),
    )
    with tempfile.TemporaryDirectory() as directory:
        os.chdir(directory)
        subprocess.run(["git", "init", "-q"], check=True)
        plant("src/base/good.c", good + "/* the system (all of it) */\nx = file_system(1);\n")
        plant("README.md", "no licence line here\n")
        assert not list(findings()), list(findings())
        for path, text in cases:
            plant(path, text)
            found = list(findings())
            assert len(found) == 1 and found[0].startswith(path + ":"), (path, found)
            os.remove(path)
    print("names.py: can fail")


def main():
    if sys.argv[1:] == ["--self-test"]:
        return self_test()
    os.chdir(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../.."))
    found = list(findings())
    for line in found:
        print(line)
    return 1 if found else 0


sys.exit(main())
