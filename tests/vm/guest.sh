#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Runs in the virtual machine: each function test_* of a script, in its order and in a shell of its
# own, says what came of it as TAP. A test that returns 77 is skipped; the last line that it
# printed is the reason. Scripts may define after_each(), which fails the test that it follows.
#
#   guest.sh SCRIPT…
set -u
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8
export DEBIAN_FRONTEND=noninteractive
export limit=${limit:-400}  # seconds that one test may take
leave_out=${leave_out:-}    # names of tests, with blanks around each

# for scripts: skip REASON, fails COMMAND…, fact KEY VALUE, wait_until SECONDS COMMAND…
skip() { echo "$*"; exit 77; }
fails() { ! "$@"; }  # a plain ! is exempt from set -e
fact() { echo "# fact $*" >/dev/ttyS1; }
wait_until() {
    local end=$((SECONDS + $1))
    shift
    until "$@"; do
        [ "$SECONDS" -lt "$end" ] || { echo "not within the time: $*"; return 1; }
        sleep 0.2
    done
}
export -f skip fails fact wait_until

seconds_since() { echo "$(( ($(date +%s%N) - $1) / 100000000 ))" | sed 's/.$/.&/; s/^\./0./'; }

# shellcheck disable=SC2016
call() {
    timeout --kill-after=5 "$limit" bash -euo pipefail -c '. "$1"; "$2"' test "$script" "$1"
}

one() {
    local name=$1 begin log=/run/guest.log status=0
    begin=$(date +%s%N)
    call "$name" >"$log" 2>&1 </dev/null || status=$?
    number=$((number + 1))
    if [ "$status" = 77 ]; then
        echo "ok $number - $name # SKIP $(tail -n 1 "$log")"
        return
    fi
    if grep -q '^after_each() {$' "$script" && ! call after_each >>"$log" 2>&1 </dev/null; then
        status=after_each
    fi
    if [ "$status" = 0 ]; then
        echo "ok $number - $name # $(seconds_since "$begin") s"
    else
        echo "not ok $number - $name # $(seconds_since "$begin") s, status $status"
        tail -n 60 "$log" | sed 's/^/# /'
    fi
}

systemctl is-system-running --wait >/dev/null
fact boot "$(cut -d' ' -f1 /proc/uptime)"
number=0
for script; do
    for name in $(sed -n 's/^\(test_[a-zA-Z0-9_]*\)() {$/\1/p' "$script"); do
        [[ $leave_out == *" $name "* ]] || one "$name"
    done
done
echo "1..$number"
sync
echo "# synced"
