#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# clang-tidy over the sources that a build directory compiles: tidy.sh [BUILDDIR [FILE…]]. Prints
# one line for each finding and exits 1 if there is any. --self-test shows that it can fail.
set -eu
cd "$(dirname "$0")/../.."

if [ "${1-}" = --self-test ]; then
    directory=$(mktemp -d)
    trap 'rm -rf "$directory"' EXIT
    printf 'int f(int a)\n{\n    return a == a;\n}\n' >"$directory/bad.c"
    if clang-tidy --quiet --config-file=.clang-tidy "$directory/bad.c" -- >/dev/null 2>&1; then
        echo "tidy.sh: a redundant comparison passes"
        exit 1
    fi
    echo "tidy.sh: can fail"
    exit 0
fi

# each release of clang-tidy has other checks; the tree follows the one of Debian 12
case $(clang-tidy --version) in
    *"version 14."*) ;;
    *) echo "tidy.sh: skipped, this is not clang-tidy 14"; exit 0 ;;
esac

build=${1-${ISOLATE_BUILD:-build}}
if [ ! -f "$build/compile_commands.json" ]; then
    echo "$build/compile_commands.json:1: not there; run: meson setup $build"
    exit 1
fi
[ $# -eq 0 ] || shift

# a second compile of a file, for musl, would only repeat its findings; gcc's own flags are not
# clang's
database=$(mktemp -d)
trap 'rm -rf "$database"' EXIT
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
xargs -P 2 -n 1 clang-tidy --quiet -p "$database" <"$database/files" 2>/dev/null |
    sed -n 's,^.*\.\./src/,src/,;s,^/.*/src/,src/,;s/,-warnings-as-errors\]$/]/;/: \(warning\|error\): /p' |
    sort -u >"$database/found"
cat "$database/found"
[ ! -s "$database/found" ]
