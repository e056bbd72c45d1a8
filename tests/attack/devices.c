/* SPDX-License-Identifier: Apache-2.0 */
/* Attack 13: reach the host's disks. `devices DIR LOOP NODE…`: makes nodes in DIR and opens
 * them, mounts file systems (also the one on the block device LOOP) on DIR/m, loosens mounts,
 * and opens the device nodes that somebody put into the template or a bind before. */
#include "attempt.h"

#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

static const char *dir;
static const char *loop_device;
static char point[4096];

static long make_and_open(mode_t type, unsigned major, unsigned minor)
{
    char path[4200];
    (void)snprintf(path, sizeof(path), "%s/node-%d", dir, (int)getpid());
    if (mknod(path, type | 0600, makedev(major, minor)) < 0)
        return -1;
    int fd = open(path, O_RDONLY | O_NONBLOCK);
    int error = errno;
    (void)unlink(path);
    return fd < 0 ? fail_with(error) : 0;
}

static long node_block(void)
{
    return make_and_open(S_IFBLK, 7, 0);
}

static long node_mem(void)
{
    return make_and_open(S_IFCHR, 1, 1);
}

static long node_kmsg(void)
{
    return make_and_open(S_IFCHR, 1, 11);
}

static long mount_type(const char *source, const char *type, const char *data)
{
    if (mount(source, point, type, MS_RDONLY, data) < 0)
        return -1;
    return umount2(point, MNT_DETACH);
}

static long mount_proc(void)
{
    return mount_type("proc", "proc", NULL);
}

static long mount_sysfs(void)
{
    return mount_type("sysfs", "sysfs", NULL);
}

static long mount_cgroup(void)
{
    return mount_type("cgroup", "cgroup", "cpu");
}

static long mount_cgroup2(void)
{
    return mount_type("cgroup2", "cgroup2", NULL);
}

static long mount_devtmpfs(void)
{
    return mount_type("dev", "devtmpfs", NULL);
}

static long mount_tmpfs(void)
{
    return mount_type("tmpfs", "tmpfs", NULL);
}

static long mount_block(void)
{
    return mount_type(loop_device, "ext4", NULL);
}

static long loosen_root(void)
{
    return mount(NULL, "/", NULL, MS_REMOUNT | MS_BIND, NULL);
}

static long bind_root(void)
{
    return mount("/", point, NULL, MS_BIND | MS_REC, NULL);
}

static long uncover(void)
{
    static const char *const covered[] = {"/proc/sys", "/proc/keys", "/dev/shm"};
    for (size_t i = 0; i < 3; i++)
        if (umount2(covered[i], MNT_DETACH) == 0)
            return 0;
    return -1;
}

static long open_node(const void *data)
{
    return open_and_close(data, O_RDONLY);
}

int main(int argc, char **argv)
{
    if (argc < 3)
        return 2;
    dir = argv[1];
    loop_device = argv[2];
    (void)snprintf(point, sizeof(point), "%s/m", dir);
    (void)mkdir(point, 0700);
    attempt("mknod_block", node_block);
    attempt("mknod_mem", node_mem);
    attempt("mknod_kmsg", node_kmsg);
    attempt("mount_proc", mount_proc);
    attempt("mount_sysfs", mount_sysfs);
    attempt("mount_cgroup", mount_cgroup);
    attempt("mount_cgroup2", mount_cgroup2);
    attempt("mount_devtmpfs", mount_devtmpfs);
    attempt("mount_tmpfs", mount_tmpfs);
    attempt("mount_block", mount_block);
    attempt("remount_root", loosen_root);
    attempt("bind_root", bind_root);
    attempt("umount_cover", uncover);
    for (int i = 3; i < argc; i++) {
        const char *slash = strrchr(argv[i], '/');
        attempt_with(slash ? slash + 1 : argv[i], open_node, argv[i]);
    }
    (void)rmdir(point);
    return 0;
}
