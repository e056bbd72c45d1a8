#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# In the virtual machine: the workflow of the original on OpenZFS, step by step, from `zfs create` to a
# member who runs a command, and what goes wrong on the way. /stage holds isolate.deb and root, a system
# with busybox.
# shellcheck disable=SC2016,SC2086,SC2154

clones() { zfs list -H -o name -r -d 1 rpool/isolate | grep -cE 'debisl_[0-9]{19}$' || true; }
has_no_clones() { ! zfs list -H -o name -r "$1" | grep -qE "/$2_[0-9]{19}\$"; }
has_clones() { [ "$(clones)" = "$1" ]; }
member() { runuser -u member -- "$@"; }
refused() {
    local words=$1 out
    shift
    ! out=$("$@" 2>&1) || { echo "not refused: $*"; return 1; }
    grep -q "$words" <<<"$out" || { echo "$out"; return 1; }
}
# what shares its ids, where ZFS cannot be id-mapped, gets no network of the host's
update() {
    case $(cat /sys/module/zfs/version) in
        2.[01].*) isolate template update --network none "$@" ;;
        *) isolate template update "$@" ;;
    esac
}
first_of() { python3 -c "import json, sys; print(json.load(sys.stdin)$1)"; }

test_pool() {
    modprobe zfs
    dpkg -i /stage/isolate.deb
    zpool create -m none rpool /dev/vdb
    zfs create -o mountpoint=/isolate rpool/isolate
}

test_template() {
    zfs create rpool/isolate/debisl
    cp -a /stage/root/. /isolate/debisl/
    refused 'no snapshot' isolate -r rpool/isolate/debisl 5
    # and nothing of the machine has changed
    [ "$(stat -c %a /isolate)" = 755 ]
    fails isolate template inspect debisl
    zfs snapshot "rpool/isolate/debisl@$(date -u +%Y%m%dT%H%M%SZ)"
}

# the template is changed where it is, by root
test_chroot() {
    isolate -e chroot -t /isolate/debisl sh -c 'echo installed >/etc/installed; id -u' | grep -qx 0
    [ "$(stat -c %u /isolate/debisl/etc/installed)" = 0 ]
    sleep 1
    zfs snapshot "rpool/isolate/debisl@$(date -u +%Y%m%dT%H%M%SZ)"
    zfs destroy "$(zfs list -H -t snapshot -o name -r rpool/isolate/debisl | head -n 1)"
}

test_refresh() {
    isolate -r rpool/isolate/debisl 5
    has_clones 5
    [ "$(stat -c %a /isolate)" = 700 ]
    for clone in $(zfs list -H -o name -r rpool/isolate | grep debisl_); do
        [ "$(zfs get -H -o value mounted,setuid,devices "$clone" | xargs)" = 'yes off off' ]
        # nobody of the host owns anything there
        [ "$(stat -c %u "/isolate/${clone##*/}/etc/passwd")" -ge 1879048192 ]
    done
    isolate -r rpool/isolate/debisl 3
    has_clones 3
}

test_root_runs_a_command() {
    [ "$(isolate -e native -z rpool/isolate/debisl sh -c 'id -u; echo x >/etc/trace; cat /etc/trace' | xargs)" = '0 x' ]
    wait_until 20 has_clones 2
    fails isolate -z rpool/isolate/debisl test -e /etc/trace
    # the default engine is bwrap, with a read-only root
    isolate -z rpool/isolate/debisl sh -c '! echo x >/etc/trace; echo x >/tmp/x; test "$(hostname)" = debisl'
    fails test -e /isolate/debisl/etc/trace
}

test_regenerate_units() {
    systemctl enable --now isolate_regenerate@debisl.path
    isolate -r rpool/isolate/debisl 2
    isolate -z rpool/isolate/debisl true
    wait_until 60 has_clones 5
    systemctl disable --now isolate_regenerate@debisl.path
}

test_member_runs_a_command() {
    useradd --system --shell /bin/sh member
    usermod --append --groups isolate member
    systemctl enable --now isolated.socket
    [ "$(member isolate -z rpool/isolate/debisl sh -c 'id -u; grep -c . /etc/passwd' | xargs)" = '0 2' ]
}

test_what_it_starts_is_parked() {
    wait_until 60 is_parked
    before=$(claims)
    member isolate -z rpool/isolate/debisl true
    [ "$(claims)" -gt "$before" ]
}
shape() {
    isolate pool --json | python3 -c "import json, sys
print(max((s['$1'] for s in json.load(sys.stdin) if s['template'] == 'debisl'), default=0))"
}
is_parked() { [ "$(shape ready)" -gt 0 ]; }
claims() { shape claims; }

test_member_reaches_only_templates() {
    zfs create rpool/isolate/private
    refused 'there is none' member isolate -z rpool/isolate/private true
    refused 'holds no templates' member isolate -z rpool/private true
    refused 'only root makes' member isolate -r rpool/isolate/private 1
    zfs destroy rpool/isolate/private
}

test_setuid_file_is_of_no_use() {
    isolate run --keep --name odd debisl -- sh -c 'cp /bin/busybox /var/busybox; chmod 6755 /var/busybox'
    clone=$(isolate ps -a --json | first_of '[0]["id"]')
    [ "$(stat -c %a "/isolate/$clone/var/busybox")" = 6755 ]
    # nobody else gets there, and who did would not become root
    fails member "/isolate/$clone/var/busybox" id -u
    chmod 755 /isolate
    [ "$(member "/isolate/$clone/var/busybox" id -u)" = "$(id -u member)" ]
    chmod 700 /isolate
    isolate rm odd
}

test_update() {
    update debisl -- sh -c 'echo new >/etc/issue; rm -r /home; ln /bin/busybox /bin/again'
    [ "$(cat /isolate/debisl/etc/issue)" = new ]
    [ ! -e /isolate/debisl/home ]
    [ "$(zfs list -H -t snapshot -o name -r rpool/isolate/debisl | wc -l)" = 2 ]
    [ "$(isolate run debisl -- cat /etc/issue)" = new ]
}

# as an administrator does it by hand, who says that what is fresh is used
test_update_by_hand() {
    isolate -r rpool/isolate/debisl 2
    chroot /isolate/debisl /bin/busybox touch /added
    sleep 1
    zfs snapshot "rpool/isolate/debisl@$(date -u +%Y%m%dT%H%M%SZ)"
    isolate -f -r rpool/isolate/debisl 2
    isolate -z rpool/isolate/debisl test -e /added
}

test_rollback() {
    isolate template rollback debisl "$(isolate template inspect --json debisl | first_of '["generations"][0]["id"]')"
    fails isolate run debisl -- test -e /added
    [ ! -e /isolate/debisl/added ]
}

test_changes_in_no_snapshot_are_not_lost() {
    touch /isolate/debisl/by-hand
    refused 'no snapshot has' update debisl -- touch /x
    # where a stock is kept, it is made anew behind the change
    isolate -r rpool/isolate/debisl 1
    systemctl enable --now isolate_regenerate@debisl.path
    isolate template snapshot debisl
    isolate run debisl -- test -e /by-hand
    # isolated takes some of it for what it has parked
    wait_until 60 has_stock || {
        find /run/isolate/stock/debisl /isolate/.signal-debisl; isolate ps -a
        journalctl --no-pager -n 40 -u 'isolate_regenerate@*' -u isolated
        return 1
    }
    systemctl disable --now isolate_regenerate@debisl.path
    for clone in /run/isolate/stock/debisl/*; do
        [ -e "/isolate/${clone##*/}/by-hand" ]
    done
    isolate -r rpool/isolate/debisl 0
}
has_stock() { [ "$(find /run/isolate/stock/debisl -type f | wc -l)" -ge 2 ]; }

test_others_datasets_stay() {
    zfs create rpool/isolate/debisl_1795563093944302999
    isolate -r rpool/isolate/debisl 1
    isolate -r rpool/isolate/debisl -s
    isolate prune
    zfs list rpool/isolate/debisl_1795563093944302999
    zfs destroy rpool/isolate/debisl_1795563093944302999
    # nor does one inside of a clone
    isolate run --keep --name inside debisl -- true
    clone=$(isolate ps -a --json | first_of '[0]["id"]')
    zfs create -o mountpoint=none "rpool/isolate/$clone/mine"
    fails isolate rm inside
    zfs list "rpool/isolate/$clone/mine"
    zfs destroy "rpool/isolate/$clone/mine"
    isolate prune --kept
    fails zfs list "rpool/isolate/$clone"
}

test_datasets_that_will_not_do() {
    refused 'does not exist' isolate -r rpool/isolate/none 1
    refused 'inside of another' isolate -r rpool 1
    zfs snapshot rpool/isolate@20200101T000000Z
    refused 'has templates in it' isolate -r rpool/isolate 1
    zfs destroy rpool/isolate@20200101T000000Z
    zfs create -V 16M rpool/isolate/volume
    refused 'volume' isolate -r rpool/isolate/volume 1
    zfs destroy rpool/isolate/volume
    for bad in -1 1001 many; do
        refused 'NUM' isolate -r rpool/isolate/debisl "$bad"
    done
    refused 'NUM is missing' isolate -r rpool/isolate/debisl
}

test_names_with_spaces_and_others() {
    zfs create "rpool/isolate/two words"
    zfs create -o mountpoint="/my boxes" "rpool/my boxes"
    for bad in 'rpool/isolate/two words' rpool/isolate/gr\u00fcn rpool/isolate/a:b 'rpool/isolate/x;reboot' \
        rpool/isolate/-f rpool/isolate/.. rpool/isolate/ /rpool/isolate/debisl rpool//debisl; do
        bad=$(printf '%b' "$bad")
        refused "isolate: .*dataset" isolate -r "$bad" 1
        refused 'isolate: ' isolate -z "$bad" true
    done
    # nothing speaks against them in the place of templates
    cp -a /stage/root "/my boxes/root"
    zfs create "rpool/my boxes/plain"
    cp -a /stage/root/. "/my boxes/plain/"
    rm -r "/my boxes/root"
    zfs snapshot "rpool/my boxes/plain@$(date -u +%Y%m%dT%H%M%SZ)"
    isolate -r "rpool/my boxes/plain" 1
    [ "$(isolate -z "rpool/my boxes/plain" cat /etc/group | wc -l)" = 2 ]
    isolate -r "rpool/my boxes/plain" 0
    isolate template rm plain
    wait_until 60 has_no_clones "rpool/my boxes" plain
    wait_until 60 isolate storage forget "zfs:rpool/my boxes"
    zfs destroy -r "rpool/my boxes"
    zfs destroy "rpool/isolate/two words"
}

# is no hindrance: clones are made of its snapshots, and what changes it mounts it for itself
test_not_mounted() {
    zfs create rpool/isolate/away
    cp -a /stage/root/. /isolate/away/
    zfs snapshot "rpool/isolate/away@$(date -u +%Y%m%dT%H%M%SZ)"
    zfs unmount rpool/isolate/away
    isolate -r rpool/isolate/away 1
    update away -- touch /new
    isolate -z rpool/isolate/away test -e /new
    [ "$(zfs get -H -o value mounted rpool/isolate/away)" = no ]
    isolate -r rpool/isolate/away 0
    isolate template rm away
    wait_until 60 has_no_clones rpool/isolate away
    zfs destroy -r rpool/isolate/away
}

# what is full is said, nothing is lost, and with room again all is as before
test_pool_full() {
    truncate -s 80M /var/small.img
    zpool create -m /small small /var/small.img
    zfs create small/boxes
    isolate template create tight --storage zfs:small/boxes --from dir:/stage/root
    isolate run --keep --name before tight -- sh -c 'echo kept >/kept'
    dd if=/dev/urandom of=/small/boxes/fill bs=1M 2>/dev/null || true
    sync
    refused 'space' isolate template create more --storage zfs:small/boxes --from dir:/stage/root
    fails isolate run tight -- dd if=/dev/urandom of=/big bs=1M count=4 conv=fsync
    refused 'space' update tight -- sh -c 'echo new >/etc/issue'
    isolate template ls | grep -q tight
    fails grep -q more <<<"$(isolate template ls)"
    rm /small/boxes/fill
    sync
    [ "$(isolate start before -- cat /kept)" = kept ]
    # what was removed is free a little later
    wait_until 60 update tight -- sh -c 'echo new >/etc/issue'
    [ "$(isolate run tight -- cat /etc/issue)" = new ]
    isolate rm before
    isolate template rm tight
    wait_until 60 has_no_clones small/boxes tight
    [ "$(zfs list -H -o name -r small | xargs)" = 'small small/boxes' ]
    wait_until 60 isolate storage forget zfs:small/boxes
    zpool destroy small
    rm /var/small.img
}

test_locked_and_unlocked() {
    echo 'long enough' | zfs create -o encryption=on -o keyformat=passphrase rpool/isolate/secret
    cp -a /stage/root/. /isolate/secret/
    zfs snapshot "rpool/isolate/secret@$(date -u +%Y%m%dT%H%M%SZ)"
    isolate -r rpool/isolate/secret 1
    isolate -z rpool/isolate/secret true
    isolate -r rpool/isolate/secret 0
    # what is parked holds it
    isolate pool drain secret
    wait_until 60 has_no_clones rpool/isolate secret
    zfs unmount rpool/isolate/secret
    zfs unload-key rpool/isolate/secret
    refused 'locked' isolate run secret -- true
    echo 'long enough' | zfs load-key rpool/isolate/secret
    zfs mount rpool/isolate/secret
    isolate -z rpool/isolate/secret true
    isolate template rm secret
    zfs destroy -r rpool/isolate/secret
}

test_template_made_there() {
    isolate template create made --storage zfs:rpool/isolate --from dir:/stage/root
    isolate run made -- true
    isolate run --keep --name k made -- touch /new
    [ "$(isolate diff k)" = 'A /new' ]
    isolate commit k other
    isolate run other -- test -e /new
    isolate rm k
    # what is kept of a removed template is still told from it
    isolate run --keep --name k made -- touch /kept
    isolate template rm made other
    fails zfs list rpool/isolate/made
    [ "$(isolate diff k)" = 'A /kept' ]
    isolate commit k third
    isolate run third -- test -e /kept
    isolate rm k
    isolate template rm third
}

test_disk_limit() {
    isolate run --disk 32M debisl -- dd if=/dev/zero of=/big bs=1M count=8 conv=fsync
    fails isolate run --disk 32M debisl -- dd if=/dev/urandom of=/big bs=1M count=64 conv=fsync
    isolate run debisl -- dd if=/dev/urandom of=/big bs=1M count=64 conv=fsync
}

test_administrators_snapshots_stay() {
    for year in 2020 2021 2022 2023 2024; do
        zfs snapshot "rpool/isolate/debisl@${year}0101T000000Z"
    done
    update debisl -- touch /one
    update debisl -- touch /two
    [ "$(zfs list -H -t snapshot -o name -r rpool/isolate/debisl | grep -c 0101T000000Z)" = 5 ]
    for year in 2020 2021 2022 2023 2024; do
        isolate template rm "debisl@${year}0101T000000Z"
    done
    isolate run debisl -- test -e /two
}

test_snapshot_of_the_future() {
    zfs snapshot rpool/isolate/debisl@20990101T000000Z
    update debisl -- touch /later
    isolate run debisl -- test -e /later
    update debisl -- touch /latest
    isolate run debisl -- test -e /latest
}

# a place that has other things in it is never closed to its users
test_other_things_beside() {
    zfs create -o mountpoint=/tank rpool/tank
    zfs create rpool/tank/home
    zfs create rpool/tank/deb
    cp -a /stage/root/. /tank/deb/
    zfs snapshot "rpool/tank/deb@$(date -u +%Y%m%dT%H%M%SZ)"
    refused 'closed to all users' isolate -r rpool/tank/deb 1
    refused 'closed to all users' isolate template create new --storage zfs:rpool/tank --from dir:/stage/root
    [ "$(stat -c %a /tank)" = 755 ]
    # a directory on it gets a dataset of its own
    mkdir /tank/templates
    isolate template create placed --storage /tank/templates --from dir:/stage/root
    [ "$(zfs get -H -o value mountpoint rpool/tank/isolate)" = /tank/templates/isolate ]
    [ "$(stat -c %a /tank /tank/templates /tank/templates/isolate | xargs)" = '755 755 700' ]
    isolate run placed -- true
    isolate template rm placed
    # the daemon takes away what it had parked
    wait_until 60 has_no_clones rpool/tank placed
    wait_until 60 isolate storage forget zfs:rpool/tank/isolate
    zfs destroy -r rpool/tank
}

idmapped() { case $(cat /sys/module/zfs/version) in 2.[01].*) return 1 ;; esac }
no_dataset() { ! zfs list "$1" >/dev/null 2>&1; }

# commands on the host that see the clone as its caller's own, and as nothing more than files; refused where
# ZFS cannot be id-mapped
test_hooks() {
    local who uid status out id
    for who in 'member' ''; do
        if ! idmapped; then
            refused 'hook' $who isolate run --pre-hook : debisl -- true
            continue
        fi
        uid=$(id -u $who) status=0
        out=$($who isolate run --pre-hook 'echo made >$ROOTFS/root/by-hook; stat -c %u $ROOTFS/root/by-hook' \
            --post-hook 'cat $ROOTFS/root/by-command; echo $ISOLATE_STATUS $ISOLATE_ID' debisl -- \
            sh -c 'stat -c %u:%g /root/by-hook; cat /root/by-hook; echo back >/root/by-command; exit 7' 2>/tmp/said) ||
            status=$?
        echo "$out $(cat /tmp/said)"
        [ "$status $(xargs <<<"$out")" = '7 0:0 made' ]
        id=$(sed -n 's/^7 //p' /tmp/said)
        [ "$(xargs </tmp/said)" = "$uid back 7 $id" ]
        wait_until 20 no_dataset "rpool/isolate/$id"
        refused 'ended with status 3' $who isolate run --pre-hook 'exit 3' debisl -- true
        isolate run debisl -- test ! -e /root/by-hook
        $who isolate run --pre-hook 'python3 -c "import os; print(os.statvfs(os.environ[\"ROOTFS\"]).f_flag & 6)"' \
            debisl -- true 2>&1 | grep -x 6
    done
}

# the original's, on a dataset; what one leaves open holds the clone busy, but nobody up
test_hooks_of_the_original_and_kept() {
    local id
    idmapped || skip 'ZFS cannot be id-mapped'
    [ "$(PRE_SPAWN_HOOK='echo word >$ROOTFS/root/word' isolate -e native -z rpool/isolate/debisl cat /root/word)" = word ]
    isolate run --keep --name hooked --pre-hook 'echo a >$ROOTFS/root/a' debisl -- cp /root/a /root/b
    isolate start --post-hook 'cat $ROOTFS/root/b >/tmp/b' hooked -- true
    [ "$(cat /tmp/b)" = a ]
    isolate diff hooked | grep -x 'A /root/b'
    isolate rm hooked
    isolate run --post-hook 'echo $ISOLATE_ID >/tmp/id; exec 9<$ROOTFS/etc/passwd; sleep 600 >/dev/null 2>&1 & echo $! >/tmp/pid' \
        debisl -- true
    id=$(cat /tmp/id)
    isolate run debisl -- true
    kill "$(cat /tmp/pid)"
    wait_until 60 collected "rpool/isolate/$id"
}
collected() { isolate prune >/dev/null && no_dataset "$1"; }

# which ids a template has to itself, where ZFS cannot be id-mapped, is written on the pool: nobody else gets them from
# its first start on, also where isolated was there before, after a boot
test_pool_that_comes_later() {
    ! idmapped || skip 'ZFS is id-mapped: no ids are shared'
    systemctl stop isolated.socket isolated.service
    isolate -r rpool/isolate/debisl 0
    zpool export rpool
    rm -f /run/isolate/ids/*
    systemctl start isolated.socket
    isolate ps
    zpool import rpool
    fails grep -rqx 'template debisl' /run/isolate/ids
    isolate run debisl -- true
    grep -rqx 'template debisl' /run/isolate/ids
}

test_nothing_is_left() {
    systemctl stop isolated.socket isolated.service
    isolate -r rpool/isolate/debisl 0
    isolate template rm debisl
    [ "$(zfs list -H -o name -r rpool | xargs)" = 'rpool rpool/isolate rpool/isolate/debisl' ]
    [ -e /isolate/debisl/etc/passwd ]
    zpool export rpool
}
