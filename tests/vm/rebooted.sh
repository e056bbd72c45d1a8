#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# In the virtual machine, in the boot after reboot.sh: nothing of before is left except what was
# kept, and that starts again.
# shellcheck disable=SC1091,SC2154

. /stage/sandboxes.sh

test_nothing_but_the_kept_one_after_a_reboot() {
    systemctl is-active isolate-sandboxes.service isolated.socket
    # the socket starts isolated, which clears up
    [ "$(isolate ps | wc -l)" = 0 ]
    wait_until 20 only_the_kept_one || { echo "there is: $(kinds)"; return 1; }
    [ "$(isolate ps -a | grep -c kept)" = 1 ]
    fails pgrep -x isolate-init
    [ -z "$(ls /run/isolate/parks)" ]
    [ -z "$(ls /var/lib/isolate/logs)" ]
    fails member isolate logs detached
    isolate doctor
}
kinds() { leftovers | sed 's/ .*//; s/.*ids.*/range/' | sort | tr '\n' ' '; }
only_the_kept_one() { [ "$(kinds)" = 'clone range ' ]; }

test_the_kept_one_starts_again() {
    [ "$(isolate start kept -- cat /file)" = kept ]
    [ "$(isolate start kept -- sh -c 'echo more >>/file; cat /file' | tr '\n' ' ')" = 'kept more ' ]
    isolate rm kept
    need_nothing_left
    member isolate run small -- true
}

test_stopped_again() {
    systemctl disable --now isolated.socket
    systemctl stop isolated.service
    isolate run small -- true
    need_nothing_left
}
