#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# In the virtual machine: templates on OpenZFS are sent and received, as streams that any driver takes and
# as its own, by the resident isolated. /stage holds isolate.deb and root.
# shellcheck disable=SC2154

hash_of() { isolate template inspect --hash "$1"; }
same() { [ "$(hash_of "$1")" = "$(hash_of "$2")" ]; }
guid() { zfs get -H -o value guid "rpool/boxes/$1"; }
imports() { zfs list -H -o name -r -d 1 rpool/boxes | grep IMPORT || true; }
# a change of every kind, and the generation that it makes
change() {
    isolate template update "$1" -- sh -ec 'date >/etc/new; ln -f /etc/new /etc/newer; rm -rf /var; mkdir /var; touch -d @5 /home
        echo more >>/etc/passwd; ln -sfn new /etc/link; chmod 711 /usr; rm -f /bin/vi'
    isolate template snapshot "$1"
}

test_streams_setup() {
    modprobe zfs
    dpkg -i /stage/isolate.deb
    truncate -s 1G /var/pool.img
    zpool create -m none rpool /var/pool.img
    zfs create -o mountpoint=/boxes rpool/boxes
    isolate template create t --storage zfs:rpool/boxes --from dir:/stage/root
    isolate template snapshot t >/root/first
    change t >/root/second
}

test_portable_streams() {
    local first second
    first=$(cat /root/first) second=$(cat /root/second)
    isolate template send "t@$first" >/var/whole
    isolate template send --since "$first" t >/var/next
    for place in zfs:rpool/boxes overlay; do
        isolate template receive --storage "$place" copy </var/whole
        same copy "t@$first"
        isolate template receive copy </var/next
        same copy t
        [ "$(isolate run copy -- cat /etc/link)" = "$(isolate run t -- cat /etc/link)" ]
        # and back
        [ "$place" = overlay ] || { isolate template rm copy; continue; }
        change copy >/root/third
        isolate template send --since "$second" copy | isolate template receive t
        same copy t
        isolate template rm copy
    done
}

test_native_streams() {
    local first second
    first=$(cat /root/first) second=$(cat /root/second)
    isolate template send --native "t@$first" >/var/whole
    isolate template send --native --since "$first" "t@$second" >/var/next
    isolate template receive --storage zfs:rpool/boxes copy </var/whole
    same copy "t@$first"
    [ "$(guid "copy@$first")" = "$(guid "t@$first")" ]
    # while somebody is in it, and has it open
    (cd /boxes/copy && exec sleep 600) &
    local holder=$!
    isolate template receive copy </var/next
    kill $holder
    same copy "t@$second"
    [ "$(guid "copy@$second")" = "$(guid "t@$second")" ]
    [ "$(ls /boxes/copy/etc/newer)" = /boxes/copy/etc/newer ]
    isolate run copy -- test -e /etc/newer
    isolate template send --native --since "$second" t | isolate template receive copy
    same copy t
    isolate template rm copy
}

test_native_streams_that_do_not_fit() {
    local first
    first=$(cat /root/first)
    isolate template receive --storage zfs:rpool/boxes copy </var/whole
    zfs snapshot rpool/boxes/copy@somebodys
    fails isolate template receive copy </var/next
    zfs list rpool/boxes/copy@somebodys
    zfs destroy rpool/boxes/copy@somebodys
    touch /boxes/copy/unseen
    fails isolate template receive copy </var/next
    rm /boxes/copy/unseen
    head -c 5000 /var/next >/var/cut
    fails isolate template receive copy </var/cut
    fails isolate template receive other --storage overlay </var/whole
    fails isolate template receive other --storage zfs:rpool/boxes </var/next
    head -c 200000 /var/whole | fails isolate template receive other --storage zfs:rpool/boxes
    isolate template receive copy </var/next
    isolate template rm copy
    [ -z "$(imports)" ]
    isolate template rm t
    isolate prune
    [ "$(zfs list -H -o name -r rpool/boxes)" = rpool/boxes ]
}
