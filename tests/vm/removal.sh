#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# In the virtual machine, last of all: the package goes, and with it everything.
# shellcheck disable=SC1091,SC2154

. /stage/sandboxes.sh

test_package_goes() {
    isolate run small -- true
    dpkg --purge isolate
    [ ! -e /usr/bin/isolate ]
    [ ! -e /var/lib/isolate ]
    [ ! -e "$unit_group" ]
    [ -z "$(systemctl list-units --all --no-legend 'isolate*')" ]
    fails pgrep isolate
    need_nothing_left
}
