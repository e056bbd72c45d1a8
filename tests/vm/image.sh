#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Builds the disk of a virtual machine: Debian 13, or 12, with systemd, OpenZFS and cgroup v2.
#
#   image.sh SUITE MIRROR DIRECTORY    makes DIRECTORY/{disk.raw,vmlinuz,initrd}; as root
#
# The hash of this file is the key under which the image is kept (image.py), so everything that
# decides what is in it stands here. On each boot the machine mounts the disk labelled "stage" on
# /stage, runs /stage/run with its output on the second serial port, and syncs.
set -euo pipefail
suite=$1 mirror=$2 directory=$3

packages=(
    linux-image-cloud-amd64 linux-headers-cloud-amd64 initramfs-tools zstd kmod udev procps
    systemd-sysv systemd-container dbus iproute2 python3 acl attr
    zfs-dkms zfsutils-linux e2fsprogs xfsprogs btrfs-progs
    bubblewrap crun lxc apparmor
    # what the package of isolate depends on
    libbtrfsutil1 libinih1 libjansson4 libseccomp2 libsmartcols1
    # and its contract suite
    libcmocka0
)
if [ "$suite" = bookworm ]; then
    packages+=(libarchive13 libnettle8)
else
    packages+=(libarchive13t64 libnettle8t64)
fi
masked=(
    apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer fstrim.timer
    e2scrub_reap.service zfs-zed.service lxc.service lxc-net.service lxc-monitord.service
    systemd-pcrlock-make-policy.service getty@tty1.service
    # its profiles are loaded by the test that wants them
    apparmor.service
)

root=$directory/root
mmdebstrap --quiet --mode=root --variant=apt \
    --include="$(IFS=,; echo "${packages[*]}")" \
    --dpkgopt='path-exclude=/usr/share/doc/*' \
    --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' \
    "$suite" "$root" "deb $mirror $suite main contrib" >&2

test -e "$root"/lib/modules/*/updates/dkms/zfs.ko*

echo isolate-vm >"$root/etc/hostname"
echo '127.0.0.1 localhost isolate-vm' >"$root/etc/hosts"
echo '/dev/vda / ext4 defaults 0 1' >"$root/etc/fstab"
rm -f "$root/etc/resolv.conf" "$root/etc/apt/sources.list"
rm -rf "$root"/var/lib/apt/lists/* "$root"/var/cache/apt/*.bin

cat >"$root/usr/local/sbin/stage" <<'END'
#!/bin/sh
stty -F /dev/ttyS1 raw -echo
exec >/dev/ttyS1 2>&1
mkdir -p /stage && mount -o ro LABEL=stage /stage && /stage/run
sync
END
chmod 755 "$root/usr/local/sbin/stage"
cat >"$root/etc/systemd/system/stage.service" <<'END'
[Unit]
Description=What the host wants to be run
[Service]
ExecStart=/usr/local/sbin/stage
# what it starts in the background is the script's own business
KillMode=process
END
# last of all, when the machine has settled
mkdir -p "$root/etc/systemd/system/multi-user.target.wants"
ln -s ../stage.service "$root/etc/systemd/system/multi-user.target.wants/stage.service"
for unit in "${masked[@]}"; do
    ln -sf /dev/null "$root/etc/systemd/system/$unit"
done
# not its first boot, so that nothing is set up then
chroot "$root" systemd-machine-id-setup >/dev/null 2>&1
test -s "$root/etc/machine-id"

cp "$root"/boot/vmlinuz-* "$directory/vmlinuz"
cp "$root"/boot/initrd.img-* "$directory/initrd"
mke2fs -q -t ext4 -L system -m 0 -E lazy_itable_init=1,lazy_journal_init=1 \
    -d "$root" "$directory/disk.raw" 8G >/dev/null
rm -rf --one-file-system "$root"
