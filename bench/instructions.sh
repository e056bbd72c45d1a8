#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What a run costs apart from time: system calls of each program in it, and instructions of the
# programs' starts (callgrind). The same on a busy machine as on a quiet one.
#   bench/instructions.sh [--rounds N] [--template NAME] [--libexec DIR] [--build DIR --root DIR]
set -eu

rounds=3
template=debian
libexec=/usr/local/libexec/isolate
build=
root=
while [ $# -gt 0 ]; do
    case "$1" in
    --rounds) rounds=$2 ;;
    --template) template=$2 ;;
    --libexec) libexec=$2 ;;
    --build) build=$2 ;;
    --root) root=$2 ;;
    *)
        sed -n 's/^#   /usage: /p' "$0" >&2
        exit 2
        ;;
    esac
    shift 2
done

work=$(mktemp -d /var/tmp/isolate-bench-XXXXXX)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM HUP

have() {
    command -v "$1" >/dev/null 2>&1 || {
        echo "$1 is not installed: $2 is not measured" >&2
        return 1
    }
}

# The traces are one file a process; each counts for the program that it executed last.
count_calls() {
    for trace in "$1".*; do
        program=$(sed -n 's/^execve("[^"]*\/\([^"/]*\)".*/\1/p; s/^execveat([0-9]*, "", \["\([^"]*\)".*/\1/p' \
            "$trace" | tail -n 1)
        echo "${program:-(forked)} $(grep -c '^[a-z_0-9]*(' "$trace")"
    done | awk '{ calls[$1] += $2; processes[$1]++; total += $2 }
        END { for (p in calls) printf "  %-16s %5d calls in %d process(es)\n", p, calls[p], processes[p]
              printf "  %-16s %5d calls\n", "total", total }' | sort -k2,2nr
}

trace_command() {
    name=$1
    shift
    round=1
    while [ "$round" -le "$rounds" ]; do
        rm -f "$work"/trace.*
        strace -ff -o "$work/trace" "$@" </dev/null >/dev/null
        echo "system calls of $name, round $round:"
        count_calls "$work/trace"
        round=$((round + 1))
    done
    echo "most frequent, all processes of $name:"
    sed -n 's/^\([a-z_0-9]*\)(.*/\1/p' "$work"/trace.* | sort | uniq -c | sort -rn | head -n 12
    echo
}

count_instructions() {
    name=$1
    shift
    # isolate-init ends with 1 where nobody holds the other end of its socket: only its start counts
    valgrind --tool=callgrind --callgrind-out-file=/dev/null "$@" </dev/null >/dev/null 2>"$work/out" || :
    printf '  %-28s %s\n' "$name" "$(sed -n 's/.*Collected : //p' "$work/out")"
}

# through a daemon of its own, of that build
if [ -n "$build" ]; then
    if have strace "the number of system calls"; then
        "$(dirname "$0")/calls.py" --build "$build" --root "$root" --rounds "$rounds"
    fi
    if have valgrind "the number of instructions"; then
        echo
        echo "instructions in user space of starts:"
        count_instructions "isolate-ctl --version" "$build/isolate-ctl" --version
        count_instructions "isolated --version" "$build/isolated" --version
        count_instructions "isolate-init, start" "$build/isolate-init"
        count_instructions "/bin/true" /bin/true
    fi
    exit
fi

echo "kernel $(uname -r), $(nproc) CPUs"
echo

if have strace "the number of system calls"; then
    trace_command "isolate run $template /bin/true" isolate run "$template" /bin/true
    if have bwrap "its number of system calls"; then
        trace_command "bwrap --unshare-all … /bin/true" bwrap --unshare-all --bind / / \
            --proc /proc --dev /dev --tmpfs /tmp --die-with-parent /bin/true
    fi
fi

if have valgrind "the number of instructions"; then
    echo "instructions in user space from start to main, and a trivial main:"
    count_instructions "isolate --version" isolate --version
    count_instructions "isolated --version" "$libexec/isolated" --version
    count_instructions "isolate-init, start" "$libexec/isolate-init"
    count_instructions "/bin/true" /bin/true
fi
