#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Dependencies between the folders of src point one way (doc/DESIGN.md, section 10). Prints one
line for each forbidden #include and exits 1 if there is any. --self-test shows that it can fail."""
import os
import re
import sys
import tempfile

GENERATED = {"paths.h", "filters.h", "idl.h", "decoder_filter.h", "keeper_filter.h", "machine_filter.h",
             "network_filter.h", "work_filter.h"}
# folder: the folders whose headers it may include, besides its own
ALLOWED = {
    "base": set(),
    "sys": {"base"},
    "varlink": {"base", "sys"},
    "spec": {"base", "sys"},
    "storage": {"base", "sys", "varlink", "spec"},
    "engine": {"base", "sys", "varlink", "spec"},
    "image": {"base", "sys"},
    "daemon": {"base", "sys", "varlink", "spec", "storage", "engine", "image", "network"},
    "client": {"base", "sys", "varlink", "spec"},
    "init": {"base", "sys", "varlink", "spec"},
    "decoder": {"base", "sys", "varlink"},
    "nursery": {"base", "sys", "engine"},
    "network": {"base", "sys"},
}
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^">]+)[">]')


def check_include(folder, text, quoted):
    if text in GENERATED:
        return None
    target = text.split("/")[0] if "/" in text else None
    if not quoted:
        # the project's own headers are always quoted; <sys/…> and the like are the system's
        if os.path.exists(os.path.join("src", text)) and target not in (None, "sys"):
            return f'"{text}" must be included in quotes'
        return None
    if ".." in text.split("/"):
        return f'"{text}": write the path from src'
    if target not in ALLOWED:
        return f'"{text}" is in no folder of src'
    if target != folder and target not in ALLOWED[folder]:
        return f'{folder} must not include {target} ("{text}")'
    return None


def findings():
    for directory, folders, files in os.walk("src"):
        folders.sort()
        for name in sorted(files):
            path = os.path.join(directory, name)
            parts = path.split(os.sep)
            if not name.endswith((".c", ".h")):
                continue
            if len(parts) < 3 or parts[1] not in ALLOWED:
                yield f"{path}:1: in no known folder; add it to the table in tests/gates/layers.py"
                continue
            with open(path, encoding="utf-8", errors="replace") as lines:
                for number, line in enumerate(lines, 1):
                    match = INCLUDE.match(line)
                    what = match and check_include(parts[1], match[2], match[1] == '"')
                    if what:
                        yield f"{path}:{number}: {what}"


def plant(path, text):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def self_test():
    with tempfile.TemporaryDirectory() as directory:
        os.chdir(directory)
        plant("src/base/a.c", '#include "base/a.h"\n#include <sys/stat.h>\n#include "paths.h"\n')
        plant("src/daemon/a.c", '#include "storage/s.h"\n#include "engine/e.h"\n')
        assert not list(findings()), "the clean tree has findings"
        for folder, target in (("storage", "engine"), ("engine", "storage"), ("base", "sys"),
                               ("client", "daemon"), ("init", "storage"), ("image", "spec")):
            path = f"src/{folder}/bad.c"
            plant(path, f'/* x */\n#  include "{target}/x.h"\n')
            found = list(findings())
            assert len(found) == 1 and found[0].startswith(f"{path}:2: "), (path, found)
            os.remove(path)
        plant("src/util/x.c", "")
        assert len(list(findings())) == 1, "a new folder passes"
        os.remove("src/util/x.c")
        plant("src/base/b.c", '#include "../daemon/a.h"\n')
        assert len(list(findings())) == 1, "a path with .. passes"
    print("layers.py: can fail")


def main():
    if sys.argv[1:] == ["--self-test"]:
        return self_test()
    os.chdir(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../.."))
    found = list(findings())
    for line in found:
        print(line)
    return 1 if found else 0


sys.exit(main())
