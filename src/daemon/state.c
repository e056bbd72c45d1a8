/* SPDX-License-Identifier: Apache-2.0 */
/* What isolated has open all the time: its directories, the cgroup parent, init in a memfd.
 * Runs as root; paths come from the configuration. */
#include "base/text.h"
#include "daemon/daemon.h"
#include "paths.h"
#include "sys/cgroup.h"
#include "sys/fd.h"
#include "sys/mount.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#define RUNTIME_MODE 0755 /* the socket lies in it */

/* Makes a directory of root's in which others have no more rights than mode gives them, with
 * its parents. O_PATH fd. */
static int root_directory(const char *path, mode_t mode, struct error *err)
{
    char partial[256];
    (void)snprintf(partial, sizeof(partial), "%s", path);
    for (char *slash = strchr(partial + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (mkdir(partial, 0755) < 0 && errno != EEXIST)
            return fail(err, ERROR_SYSTEM, errno, "make %s: ", partial);
        *slash = '/';
    }
    /* the umask is 077 */
    if (mkdir(path, mode) == 0 ? chmod(path, mode) < 0 : errno != EEXIST)
        return fail(err, ERROR_SYSTEM, errno, "make %s: ", path);
    _cleanup_close_ int fd = open(path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0)
        return fail(err, ERROR_SYSTEM, errno, "open %s: ", path);
    if (st.st_uid != 0 || (st.st_mode & 0077 & ~mode))
        return fail(
            err, ERROR_DENIED, EPERM,
            "%s: must belong to root and be closed to others (is uid %u, mode %04o); run: "
            "chown root:root %s && chmod %04o %s",
            path, st.st_uid, st.st_mode & 07777, path, mode, path);
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
    int fd = root_directory(path, RUNTIME_MODE, err);
    if (fd < 0)
        return fd;
    if (statfs(path, &fs) < 0) {
        fd_close(fd);
        return fail(err, ERROR_SYSTEM, errno, "%s: ", path);
    }
    if (fs.f_type == TMPFS_MAGIC)
        return fd;
    fd_close(fd);
    const char *const options[] = {"source", "isolate", "mode", "0755", "size", "64m", NULL};
    _cleanup_close_ int tmpfs =
        mount_new("tmpfs", options, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
    int r = tmpfs < 0 ? tmpfs : mount_attach_path(tmpfs, path);
    if (r < 0)
        return fail(err, ERROR_SYSTEM, r, "mount a tmpfs on %s: ", path);
    return root_directory(path, RUNTIME_MODE, err);
}

int daemon_load_program(struct daemon *daemon, const char *name, int *ret_fd, struct error *err)
{
    char path[512];
    _cleanup_buffer_ struct buffer program = {0};
    (void)snprintf(path, sizeof(path), "%s/%s", daemon->libexec, name);
    int r = file_read_at(AT_FDCWD, path, 16U << 20, &program);
    if (r < 0)
        return fail(err, ERROR_UNSUPPORTED, r, "%s (is isolate installed completely?): ", path);
    *ret_fd = memfd_sealed(name, program.data, program.length, 0111);
    return *ret_fd < 0 ? fail(err, ERROR_SYSTEM, *ret_fd, "memfd_create for %s: ", name) : 0;
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

void daemon_init(struct daemon *daemon)
{
    const char *libexec = getenv("ISOLATE_LIBEXEC_DIR");
    *daemon = (struct daemon){
        .config_file = getenv("ISOLATE_CONFIG"),
        .libexec = libexec ? libexec : PATH_LIBEXEC,
        .state_fd = -EBADF,
        .run_fd = -EBADF,
        .cgroup_fd = -EBADF,
        .init_fd = -EBADF,
        .decoder_program_fd = -EBADF,
        .listen_fd = -EBADF,
        .resident_lock_fd = -EBADF,
        .range_fd = -EBADF,
        .nursery_fd = -EBADF,
        .nursery_pidfd = -EBADF,
    };
}

int daemon_open(struct daemon *daemon, struct error *err)
{
    if (getuid() != 0)
        return fail(err, ERROR_DENIED, EPERM, "isolated must run as root");
    bool has_config = daemon->config.state_directory;
    int r = has_config ? 0 : config_load(daemon->config_file, &daemon->config, err);
    if (r < 0)
        return r;
    daemon->state_fd = root_directory(daemon->config.state_directory, 0700, err);
    if (daemon->state_fd < 0)
        return daemon->state_fd;
    daemon->run_fd = runtime_directory(daemon, err);
    if (daemon->run_fd < 0)
        return daemon->run_fd;
    static const char *const directories[] = {"sandboxes", "ids", "parks"};
    for (size_t i = 0; i < ELEMENTS(directories); i++)
        if (mkdirat(daemon->run_fd, directories[i], 0700) < 0 && errno != EEXIST)
            return fail(err, ERROR_SYSTEM, errno, "%s/%s: ", daemon->config.runtime_directory,
                        directories[i]);
    static const char *const kept[] = {"kept", "logs"};
    for (size_t i = 0; i < ELEMENTS(kept); i++)
        if (mkdirat(daemon->state_fd, kept[i], 0700) < 0 && errno != EEXIST)
            return fail(err, ERROR_SYSTEM, errno, "%s/%s: ", daemon->config.state_directory,
                        kept[i]);
    daemon->cgroup_fd = cgroup_open_parent(daemon->config.cgroup, err);
    if (daemon->cgroup_fd < 0)
        return daemon->cgroup_fd;
    r = read_boot_id(daemon, err);
    return r < 0 ? r : daemon_load_program(daemon, "isolate-init", &daemon->init_fd, err);
}

int daemon_follow_cgroup(struct daemon *daemon, struct error *err)
{
    if (faccessat(daemon->cgroup_fd, "cgroup.procs", F_OK, 0) == 0)
        return 0;
    int fd = cgroup_open_parent(daemon->config.cgroup, err);
    if (fd < 0)
        return fd;
    (void)fd_close(daemon->cgroup_fd);
    daemon->cgroup_fd = fd;
    return 0;
}

void daemon_maybe_exit(struct daemon *daemon)
{
    if (!daemon->resident && !daemon->sandboxes && !daemon->sessions && !daemon->workers)
        (void)sd_event_exit(daemon->event, 0);
}

void daemon_close(struct daemon *daemon)
{
    ids_settle(daemon);
    daemon->state_fd = fd_close(daemon->state_fd);
    daemon->run_fd = fd_close(daemon->run_fd);
    daemon->cgroup_fd = fd_close(daemon->cgroup_fd);
    daemon->init_fd = fd_close(daemon->init_fd);
    daemon->decoder_program_fd = fd_close(daemon->decoder_program_fd);
    daemon->resident_lock_fd = fd_close(daemon->resident_lock_fd);
    daemon->nursery_io = sd_event_source_unref(daemon->nursery_io);
    daemon->nursery_fd = fd_close(daemon->nursery_fd);
    daemon->nursery_pidfd = fd_close(daemon->nursery_pidfd);
    daemon->event = sd_event_unref(daemon->event);
    config_clear(&daemon->config);
}
