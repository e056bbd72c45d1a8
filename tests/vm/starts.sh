#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# In the virtual machine: what a start costs with clones in OpenZFS, which exists nowhere else here. An emulated
# machine says nothing of times, only of how they stand to each other; no time is asserted. /stage holds
# interleave and floor of bench/.
# shellcheck disable=SC2154

test_starts_on_openzfs() {
    modprobe zfs
    dpkg -i /stage/isolate.deb
    systemctl enable --now isolated.socket
    zpool create -m none rpool /dev/vdb
    zfs create -o mountpoint=/boxes rpool/boxes
    isolate template create plain --storage zfs:rpool/boxes --from dir:/stage/root
    isolate template create here --from dir:/stage/root
    isolate -r rpool/boxes/plain 4
    isolate pool set plain 4
    isolate pool set here 4
    for _ in 1 2 3 4 5 6; do isolate -q -z rpool/boxes/plain true; isolate -q -t /stage/root true; done
    /stage/interleave --rounds 40 --pause-us 1500000 --baseline floor \
        --command floor /stage/floor /stage/root/bin/true --end \
        --command bwrap bwrap --unshare-all --ro-bind /stage/root / --proc /proc --dev /dev /bin/true --end \
        --command native,overlay isolate run here /bin/true --end \
        --command native,zfs isolate run plain /bin/true --end \
        --command original,t isolate -q -t /stage/root /bin/true --end \
        --command original,z isolate -q -z rpool/boxes/plain /bin/true --end >/root/table
    while read -r name min p50 _ _ _ ratio; do fact "start_$name" "min $min p50 $p50 µs, $ratio × the floor"; done </root/table
    grep -q 'original,z' /root/table
}
