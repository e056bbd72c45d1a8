/* SPDX-License-Identifier: Apache-2.0 */
/* See own_mounts.h. Runs as root of the sandbox's user namespace. */
#include "sys/own_mounts.h"

#define NO_SETID_NO_DEV  (MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV)
#define NO_SETID_NO_EXEC (MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC)

const struct own_mount_info own_mounts[_OWN_MOUNTS] = {
    [OWN_SYS] = {"sys", "sysfs", OWN_MOUNT_HARDENED | MOUNT_ATTR_RDONLY, {"source", "sysfs"}},
    [OWN_PROC] = {"proc", "proc", OWN_MOUNT_HARDENED, {"source", "proc"}},
    [OWN_DEV] = {"dev", "tmpfs", NO_SETID_NO_EXEC, {"source", "tmpfs", "mode", "0755"}},
    [OWN_PTS] = {"dev/pts",
                 "devpts",
                 NO_SETID_NO_EXEC,
                 {"source", "devpts", "newinstance", NULL, "ptmxmode", "0666", "mode", "0620",
                  "gid", "5", "max", "256"}},
    [OWN_SHM] = {"dev/shm", "tmpfs", OWN_MOUNT_HARDENED, {"source", "tmpfs", "mode", "1777"}},
    [OWN_TMP] = {"tmp", "tmpfs", NO_SETID_NO_DEV, {"source", "tmpfs", "mode", "1777"}},
    [OWN_RUN] = {"run", "tmpfs", NO_SETID_NO_DEV, {"source", "tmpfs", "mode", "0755"}},
};

int own_mount_new(enum own_mount which)
{
    const struct own_mount_info *info = &own_mounts[which];
    return mount_new(info->type, info->options, info->attributes);
}
