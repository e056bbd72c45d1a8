#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# cppcheck over the sources that a build directory compiles, what it calls errors, warnings, performance
# and portability: cppcheck.sh [BUILDDIR]. Prints one line for each finding and exits 1 if there is any,
# 77 with another cppcheck. --self-test shows that it can fail.
set -eu
cd "$(dirname "$0")/../.."

check() {
    cppcheck --enable=warning,performance,portability --inline-suppr --std=c11 --quiet --error-exitcode=1 \
        --library=tests/gates/cppcheck.cfg --template='{file}:{line}: {message} [{id}]' "$@" 2>&1
}

if [ "${1-}" = --self-test ]; then
    directory=$(mktemp -d)
    trap 'rm -rf "$directory"' EXIT
    printf '#include <stdlib.h>\nint f(void)\n{\n    char *p = malloc(1);\n    return p == NULL;\n}\n' >"$directory/bad.c"
    if check "$directory/bad.c" >/dev/null; then
        echo "cppcheck.sh: a leak passes"
        exit 1
    fi
    echo "cppcheck.sh: can fail"
    exit 0
fi

# each release finds other things; the tree follows the one of Debian 12
case $(cppcheck --version) in
    *" 2.10"*) ;;
    *) echo "cppcheck.sh: skipped, this is not cppcheck 2.10"; exit 77 ;;
esac

build=${1-${ISOLATE_BUILD:-build}}
if [ ! -f "$build/compile_commands.json" ]; then
    echo "$build/compile_commands.json:1: not there; run: meson setup $build"
    exit 1
fi
# relative, so that what it finds and what it leaves out are named from here
check -j2 -itests --project="$(realpath --relative-to=. "$build")/compile_commands.json"
