#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# In the virtual machine, after smoke.sh: isolated as a service. A member of the group, who has no
# other right, makes sandboxes; the service may be restarted, upgraded and killed meanwhile.
# shellcheck disable=SC1091,SC2016,SC2154

. /stage/sandboxes.sh
socket=/run/isolate/io.isolate

after_each() {
    wait_until 10 no_sandboxes || { echo "still there: $(isolate ps -a)"; return 1; }
    wait_until 10 no_lost_ranges || { echo "range without a record: $(lost_ranges)"; return 1; }
}
# parked sandboxes have records, too
lost_ranges() {
    local file id
    for file in /run/isolate/ids/*; do
        id=$(cat "$file" 2>/dev/null) || continue
        [ -z "$id" ] || [ "$id" = decoders ] || [ -e "/run/isolate/sandboxes/$id" ] || echo "$file of $id"
    done
}
no_lost_ranges() { [ -z "$(lost_ranges)" ]; }

test_member_by_socket() {
    useradd --create-home --groups isolate member
    useradd --create-home stranger
    systemctl enable --now isolated.socket isolate-sandboxes.service
    [ "$(stat -c '%a %U:%G' $socket)" = '660 root:isolate' ]
    fails systemctl is-active isolated.service
    [ "$(member isolate run small -- id -u)" = 0 ]
    systemctl is-active isolated.service
    fails stranger isolate run small -- true
}

test_sandboxes_are_in_their_unit() {
    hold 3 member
    [ -n "$(find "$unit_group" -mindepth 1 -maxdepth 1 -type d -name '*_*')" ]
    [ "$(cat /proc/"$(main_pid)"/cgroup)" = 0::/system.slice/isolated.service ]
    release 3
}

test_warm_run() {
    local begin
    member isolate run small -- true
    sleep 2
    begin=$(date +%s%N)
    member isolate run small -- true
    fact warm_run_ms $((($(date +%s%N) - begin) / 1000000))
}

test_reload() {
    local before
    before=$(main_pid)
    hold 4 member
    systemctl reload isolated.service
    [ "$(main_pid)" = "$before" ]
    release 4
}

test_restart_under_a_sandbox() {
    local begin
    hold 5 member
    begin=$(date +%s%N)
    systemctl restart isolated.service
    fact restart_ms $((($(date +%s%N) - begin) / 1000000))
    is_running held
    fact known_ms $((($(date +%s%N) - begin) / 1000000))
    release 5
    fact released_ms $((($(date +%s%N) - begin) / 1000000))
    member isolate run small -- true
}

test_restart_under_a_terminal() {
    local status=0
    member script -qec 'isolate run -t --name tty small -- sh -c "tty; sleep 8; echo still; exit 6"' \
        /dev/null >/tmp/typescript &
    wait_until 20 is_running tty
    systemctl restart isolated.service
    wait $! || status=$?
    cat /tmp/typescript
    [ $status = 6 ]
    grep -q still /tmp/typescript
}

test_killed_under_a_sandbox() {
    hold 7 member
    kill -9 "$(main_pid)"
    sleep 1
    release 7
    wait_until 20 member isolate run small -- true
}

test_upgrade_under_a_sandbox() {
    local before keeper
    hold 8 member
    before=$(main_pid)
    keeper=$(systemctl show -p MainPID --value isolate-sandboxes.service)
    dpkg -i /stage/isolate.deb
    [ "$(main_pid)" != "$before" ]
    [ "$(systemctl show -p MainPID --value isolate-sandboxes.service)" = "$keeper" ]
    is_running held
    release 8
}

test_sandboxes_unit_restarted() {
    local status=0
    hold 9 member
    systemctl restart isolate-sandboxes.service
    wait "$held" || status=$?
    [ $status != 0 ] && [ $status != 9 ]
    wait_until 10 member isolate run small -- true
}

test_stopped_without_sandboxes() {
    systemctl stop isolated.socket isolated.service
    [ "$(systemctl show -p Result --value isolated.service)" = success ]
    systemctl start isolated.socket
    member isolate run small -- true
}

test_stopped_with_a_sandbox() {
    hold 10 member
    systemctl stop isolated.socket isolated.service
    [ "$(systemctl show -p Result --value isolated.service)" = success ]
    release 10
    systemctl start isolated.socket
    member isolate run small -- true
}

# what isolate(1) says of the journal
test_journal_fields() {
    local id generation
    member isolate run -d --name logged small -- sleep 12 # longer than a restart takes
    id=$(isolate inspect logged | sed -n 's/.*"id": "\(.*\)".*/\1/p')
    generation=$(isolate inspect logged | sed -n 's/.*"generation": "\(.*\)".*/\1/p')
    systemctl restart isolated.service
    member isolate wait logged
    wait_until 20 three_entries "$id"
    entries "$id" | while read -r _ fields; do
        [ "$fields" = "logged small $generation $(id -u member)" ]
    done
    [ "$(entries "$id" | cut -d' ' -f1 | tr '\n' ' ')" = 'started taken-over ended ' ]
    # what was started is nobody's business
    fails grep -q 'sleep 12' <(journalctl -o json ISOLATE_SANDBOX="$id")
}
# ID: its events with the other fields
entries() {
    journalctl -o json -u isolated.service ISOLATE_SANDBOX="$1" | python3 -c '
import json, sys
for line in sys.stdin:
    entry = json.loads(line)
    print(*(entry["ISOLATE_" + name].replace(" ", "-") for name in
            ("EVENT", "NAME", "TEMPLATE", "GENERATION", "CALLER_UID")))'
}
three_entries() { [ "$(entries "$1" | wc -l)" = 3 ]; }

# a client that nobody here wrote
test_varlinkctl() {
    command -v varlinkctl || skip "no varlinkctl in this release"
    member varlinkctl info $socket
    member varlinkctl introspect $socket io.isolate | grep -q 'method Run'
    member varlinkctl call $socket io.isolate.List '{}'
    fails stranger varlinkctl info $socket
}

test_doctor_with_the_service() {
    isolate doctor
}

test_nothing_stays_when_it_stops() {
    member isolate run small -- true
    systemctl disable --now isolated.socket
    systemctl stop isolated.service
    isolate run small -- true
    need_nothing_left
}
