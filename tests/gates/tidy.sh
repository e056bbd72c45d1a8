#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# clang-tidy over the sources that a build directory compiles: tidy.sh [BUILDDIR [FILE…]]. Prints
# one line for each finding and exits 1 if there is any, 77 without that clang-tidy. --self-test shows
# that it can fail. As analyze.sh: the static analyzer of a later clang, see there.
set -eu
name=$(basename "$0")
cd "$(dirname "$0")/../.."

# each release of clang-tidy has other checks; the tree follows those of Debian 12
case $name in
    tidy.sh)
        tidy=clang-tidy version=14 config=.clang-tidy
        bad='int f(int a)\n{\n    return a == a;\n}\n'
        ;;
    analyze.sh)
        tidy=clang-tidy-19 version=19 config=tests/gates/analyze.yaml
        bad='#include <stdlib.h>\nint f(void)\n{\n    int *p = malloc(4);\n    free(p);\n    return *p;\n}\n'
        ;;
esac

# Of a variable that a cleanup releases. No clang reads that attribute; gcc -fanalyzer does, and the
# sanitizers see what really leaks.
leaks='Potential \(memory \)\?leak\|Opened stream never closed'

# check FILES DATABASE: those of a list, by a directory's compile_commands.json
check() {
    xargs -P 2 -n 1 "$tidy" --quiet --config-file="$config" -p "$2" <"$1" 2>/dev/null |
        sed -n 's,^.*\.\./src/,src/,;s,^/.*/src/,src/,;s/,-warnings-as-errors\]$/]/;/: \(warning\|error\): /p' |
        sed "/$leaks/d" | sort -u
}

if ! "$tidy" --version 2>/dev/null | grep -q "version $version\."; then
    echo "$name: skipped, there is no clang-tidy $version"
    exit 77
fi

database=$(mktemp -d)
trap 'rm -rf "$database"' EXIT
if [ "${1-}" = --self-test ]; then
    printf "$bad" >"$database/bad.c"
    echo "$database/bad.c" >"$database/files"
    printf '[{"directory": "%s", "file": "bad.c", "command": "cc -c bad.c"}]' "$database" >"$database/compile_commands.json"
    if [ -z "$(check "$database/files" "$database")" ]; then
        echo "$name: what is wrong passes:"
        cat "$database/bad.c"
        exit 1
    fi
    echo "$name: can fail"
    exit 0
fi

build=${1-${ISOLATE_BUILD:-build}}
if [ ! -f "$build/compile_commands.json" ]; then
    echo "$build/compile_commands.json:1: not there; run: meson setup $build"
    exit 1
fi
[ $# -eq 0 ] || shift

# a second compile of a file, for musl, would only repeat its findings; gcc's own flags are not
# clang's
python3 - "$build" "$database" "$@" >"$database/files" <<'END'
import json, os, sys
build, database, wanted = sys.argv[1], sys.argv[2], {os.path.abspath(p) for p in sys.argv[3:]}
sources = os.path.abspath("src") + "/"
chosen = {}
for entry in json.load(open(os.path.join(build, "compile_commands.json"))):
    path = os.path.abspath(os.path.join(entry["directory"], entry["file"]))
    words = entry["command"].split()
    musl = "-specs" in words
    if musl:
        at = words.index("-specs")
        del words[at:at + 2]
    if (path in wanted if wanted else path.startswith(sources)) and (path not in chosen or not musl):
        chosen[path] = {"directory": entry["directory"], "file": path, "command": " ".join(words)}
json.dump(list(chosen.values()), open(os.path.join(database, "compile_commands.json"), "w"))
print("\n".join(sorted(chosen)))
END
check "$database/files" "$database" >"$database/found"
cat "$database/found"
[ ! -s "$database/found" ]
