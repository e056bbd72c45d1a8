#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Whether all C files are as .clang-format wants them: one line for each that is not, and exit 1.
# 77 with another clang-format. --self-test shows that it can fail.
set -eu
cd "$(dirname "$0")/../.."

if [ "${1-}" = --self-test ]; then
    directory=$(mktemp -d)
    trap 'rm -rf "$directory"' EXIT
    cp .clang-format "$directory"
    printf 'int  main( void ){return 0;}\n' >"$directory/bad.c"
    printf 'int main(void)\n{\n    return 0;\n}\n' >"$directory/good.c"
    clang-format --dry-run -Werror "$directory/good.c" 2>/dev/null
    if clang-format --dry-run -Werror "$directory/bad.c" 2>/dev/null; then
        echo "format.sh: a badly formatted file passes"
        exit 1
    fi
    echo "format.sh: can fail"
    exit 0
fi

# releases of clang-format disagree; the tree follows the one of Debian 12
case $(clang-format --version) in
    *"version 14."*) ;;
    *) echo "format.sh: skipped, this is not clang-format 14"; exit 77 ;;
esac

find src tests -name '*.[ch]' | sort | {
    status=0
    while read -r file; do
        line=$(clang-format --dry-run -Werror "$file" 2>&1 | sed -n 's/^[^:]*:\([0-9]*\):.*/\1/p;' | head -n 1)
        if [ -n "$line" ]; then
            echo "$file:$line: not formatted; run clang-format -i $file"
            status=1
        fi
    done
    exit $status
}
