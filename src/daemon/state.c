/* SPDX-License-Identifier: Apache-2.0 */
/* What isolated has open all the time: its directories, the cgroup parent, init in a memfd.
 * Runs as root; paths come from the configuration. */
#include "base/text.h"
#include "daemon/daemon.h"
#include "sys/cgroup.h"
#include "sys/fd.h"
#include "sys/mount.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/vfs.h>

/* Makes a directory of root's that nobody else enters, with its parents. O_PATH fd. */
static int private_directory(const char *path, struct error *err)
{
    char partial[256];
    (void)snprintf(partial, sizeof(partial), "%s", path);
    for (char *slash = strchr(partial + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (mkdir(partial, 0755) < 0 && errno != EEXIST)
            return fail(err, ERROR_SYSTEM, errno, "make %s: ", partial);
        *slash = '/';
    }
    if (mkdir(path, 0700) < 0 && errno != EEXIST)
        return fail(err, ERROR_SYSTEM, errno, "make %s: ", path);
    _cleanup_close_ int fd = open(path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0)
        return fail(err, ERROR_SYSTEM, errno, "open %s: ", path);
    if (st.st_uid != 0 || (st.st_mode & 0077))
        return fail(
            err, ERROR_DENIED, EPERM,
            "%s: must belong to root and be closed to others (is uid %u, mode %04o); run: "
            "chown root:root %s && chmod 0700 %s",
            path, st.st_uid, st.st_mode & 07777, path, path);
    return TAKE_FD(fd);
}

/* Records must not survive a boot: where the runtime directory is on a disk, a tmpfs is mounted
 * over it, once, under the lock of the state directory. */
static int runtime_directory(struct daemon *daemon, struct error *err)
{
    const char *path = daemon->config.runtime_directory;
    struct statfs fs;
    _cleanup_close_ int lock =
        openat(daemon->state_fd, "runtime.lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (lock < 0 || flock(lock, LOCK_EX) < 0)
        return fail(err, ERROR_SYSTEM, errno, "lock the state directory: ");
    int fd = private_directory(path, err);
    if (fd < 0)
        return fd;
    if (statfs(path, &fs) < 0) {
        fd_close(fd);
        return fail(err, ERROR_SYSTEM, errno, "%s: ", path);
    }
    if (fs.f_type == TMPFS_MAGIC)
        return fd;
    fd_close(fd);
    const char *const options[] = {"source", "isolate", "mode", "0700", "size", "64m", NULL};
    _cleanup_close_ int tmpfs =
        mount_new("tmpfs", options, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
    int r = tmpfs < 0 ? tmpfs : mount_attach_path(tmpfs, path);
    if (r < 0)
        return fail(err, ERROR_SYSTEM, r, "mount a tmpfs on %s: ", path);
    return private_directory(path, err);
}

static int load_init(struct daemon *daemon, struct error *err)
{
    char path[512];
    _cleanup_buffer_ struct buffer program = {0};
    (void)snprintf(path, sizeof(path), "%s/isolate-init", daemon->libexec);
    int r = file_read_at(AT_FDCWD, path, 16U << 20, &program);
    if (r < 0)
        return fail(err, ERROR_UNSUPPORTED, r, "%s (is isolate installed completely?): ", path);
    daemon->init_fd = memfd_sealed("isolate-init", program.data, program.length, 0111);
    return daemon->init_fd < 0 ? fail(err, ERROR_SYSTEM, daemon->init_fd, "memfd of init: ")
                               : 0;
}

static int read_boot_id(struct daemon *daemon, struct error *err)
{
    _cleanup_buffer_ struct buffer text = {0};
    int r = file_read_at(AT_FDCWD, "/proc/sys/kernel/random/boot_id", 64, &text);
    if (r < 0)
        return fail(err, ERROR_SYSTEM, r, "/proc/sys/kernel/random/boot_id: ");
    (void)snprintf(daemon->boot_id, sizeof(daemon->boot_id), "%.36s",
                   text.data ? text.data : "");
    return 0;
}

int daemon_open(struct daemon *daemon, struct error *err)
{
    daemon->state_fd = private_directory(daemon->config.state_directory, err);
    if (daemon->state_fd < 0)
        return daemon->state_fd;
    daemon->run_fd = runtime_directory(daemon, err);
    if (daemon->run_fd < 0)
        return daemon->run_fd;
    static const char *const directories[] = {"sandboxes", "ids"};
    for (size_t i = 0; i < ELEMENTS(directories); i++)
        if (mkdirat(daemon->run_fd, directories[i], 0700) < 0 && errno != EEXIST)
            return fail(err, ERROR_SYSTEM, errno, "%s/%s: ", daemon->config.runtime_directory,
                        directories[i]);
    if (mkdirat(daemon->state_fd, "kept", 0700) < 0 && errno != EEXIST)
        return fail(err, ERROR_SYSTEM, errno, "%s/kept: ", daemon->config.state_directory);
    daemon->cgroup_fd = cgroup_open_parent(daemon->config.cgroup, err);
    if (daemon->cgroup_fd < 0)
        return daemon->cgroup_fd;
    int r = read_boot_id(daemon, err);
    return r < 0 ? r : load_init(daemon, err);
}

void daemon_maybe_exit(struct daemon *daemon)
{
    if (!daemon->resident && !daemon->sandboxes && !daemon->sessions && !daemon->workers)
        (void)sd_event_exit(daemon->event, 0);
}

void daemon_close(struct daemon *daemon)
{
    daemon->state_fd = fd_close(daemon->state_fd);
    daemon->run_fd = fd_close(daemon->run_fd);
    daemon->cgroup_fd = fd_close(daemon->cgroup_fd);
    daemon->init_fd = fd_close(daemon->init_fd);
    daemon->event = sd_event_unref(daemon->event);
    config_clear(&daemon->config);
}
