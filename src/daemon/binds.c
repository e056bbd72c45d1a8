/* SPDX-License-Identifier: Apache-2.0 */
/* The mounts of a run's binds: copies of what the caller's fds show, nosuid and nodev,
 * id-mapped so that the caller's uid and gids on the host are those of the command, and nobody
 * else's are anything. Runs in isolated as root; the fds are the caller's and are never looked
 * up by name. */
#include "base/text.h"
#include "daemon/devices.h"
#include "daemon/run_plan.h"
#include "sys/filter.h"
#include "sys/mount.h"
#include "sys/userns.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* The sandbox's gids for the owner's: the main one is the running gid, the others keep their
 * number. Fills map and the process's supplementary groups. */
static size_t map_groups(const struct peer *owner, uint32_t first_id, uint32_t gid,
                         struct id_map *map, struct start *start)
{
    size_t n = 0;
    map[n++] = (struct id_map){owner->gid, first_id + gid, 1};
    for (size_t i = 0; i < owner->n_groups && n < START_GROUPS; i++) {
        uint32_t group = owner->groups[i];
        bool known = group >= USERNS_RANGE || group == gid;
        for (size_t k = 0; k < n && !known; k++)
            known = map[k].inside == group;
        if (known)
            continue;
        map[n++] = (struct id_map){group, first_id + group, 1};
        if (start->n_groups < START_GROUPS)
            start->groups[start->n_groups++] = group;
    }
    return n;
}

/* Whether it is known that a mount alone cannot be id-mapped. No file system is asked on the
 * way there: another mount may hide it by now, which is a caller's and never answers. */
static bool is_unmappable(const char *path, int userns_fd)
{
    _cleanup_close_ int fd =
        open_resolved(AT_FDCWD, path, O_PATH, RESOLVE_CACHED | RESOLVE_NO_SYMLINKS);
    _cleanup_close_ int mount = fd < 0 ? fd : mount_open_tree(fd, "", false);
    return mount >= 0 && mount_set_attributes(mount, false, 0, 0, userns_fd) < 0;
}

/* Names the mount that cannot be id-mapped: the source, or with rbind one below it. */
static int refuse_unmappable(const struct run_bind *bind, int source_fd, int userns_fd,
                             struct error *err)
{
    char link[32];
    char source[PATH_MAX];
    char guilty[PATH_MAX];
    (void)snprintf(link, sizeof(link), "/proc/self/fd/%d", source_fd);
    ssize_t n = readlink(link, source, sizeof(source) - 1);
    source[n > 0 ? n : 0] = '\0';
    (void)snprintf(guilty, sizeof(guilty), "%s", bind->source);
    _cleanup_fclose_ FILE *mounts =
        bind->recursive ? fopen("/proc/self/mountinfo", "re") : NULL;
    char line[PATH_MAX + 512];
    while (mounts && fgets(line, sizeof(line), mounts)) {
        char path[PATH_MAX];
        if (sscanf(line, "%*d %*d %*s %*s %4095s", path) != 1)
            continue;
        const char *below = streq(source, "/") ? path : text_after(path, source);
        if (below && (*below == '/' || *below == '\0') && is_unmappable(path, userns_fd)) {
            (void)snprintf(guilty, sizeof(guilty), "%s", path);
            break;
        }
    }
    return fail(
        err, ERROR_UNSUPPORTED, EINVAL,
        "bind %.100s: the file system at %.200s cannot be id-mapped, so nothing written "
        "there could belong to you; bind it read-only (:ro)%s",
        bind->source, guilty, bind->recursive ? ", or bind its parts one by one" : "");
}

/* What the kernel knows of it already: a file system of the caller's is not to be asked, it may
 * never answer. */
static mode_t type_of(int fd)
{
    struct statx st = {0};
    return statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_TYPE, &st) == 0
               ? st.stx_mode & S_IFMT
               : 0;
}

static int copy_mount(const struct run_bind *bind, int source_fd, struct error *err)
{
    int mount = mount_open_tree(source_fd, "", bind->recursive);
    if (mount == -EINVAL)
        return fail(err, ERROR_UNSUPPORTED, EINVAL,
                    "bind %s: is in another mount namespace than isolated's, which cannot show "
                    "it to a sandbox; run isolate where isolated runs, as root without the "
                    "daemon (ISOLATE_SOCKET=), or copy what is needed",
                    bind->source);
    return mount < 0 ? fail(err, ERROR_SYSTEM, mount, "bind %s: copy the mount: ", bind->source)
                     : mount;
}

static uint64_t attributes_of(const struct run_bind *bind)
{
    return MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | (bind->read_only ? MOUNT_ATTR_RDONLY : 0);
}

static int bind_mount(const struct run_bind *bind, int source_fd, int userns_fd,
                      struct error *err)
{
    mode_t type = type_of(source_fd);
    if (type == S_IFBLK || type == S_IFCHR || type == S_IFLNK)
        return fail(err, ERROR_DENIED, EPERM,
                    "bind %s: device nodes cannot be bound; the sandbox has its own /dev: see "
                    "--device",
                    bind->source);
    _cleanup_close_ int mount = copy_mount(bind, source_fd, err);
    if (mount < 0)
        return mount;
    uint64_t set = attributes_of(bind);
    int r = mount_set_attributes(mount, bind->recursive, set, 0, userns_fd);
    /* without a map every id shows as nobody: harmless to read, impossible to write */
    if (r == -EINVAL && bind->read_only)
        r = mount_set_attributes(mount, bind->recursive, set, 0, -EBADF);
    if (r == -EINVAL)
        return refuse_unmappable(bind, source_fd, userns_fd, err);
    return r < 0 ? fail(err, ERROR_SYSTEM, r, "bind %s: ", bind->source) : TAKE_FD(mount);
}

/* How ids are mapped for the binds of one run. */
struct mapping_plan {
    uid_t uid; /* whose files they are */
    const struct id_map *gids;
    size_t n_gids;
    int userns_fd;
};

static bool has_gid(const struct mapping_plan *plan, gid_t gid)
{
    size_t i = 0;
    while (i < plan->n_gids && plan->gids[i].inside != gid)
        i++;
    return i < plan->n_gids;
}

/* A socket to connect to, which takes the right to write. Where everybody has that, ids must
 * not be mapped: the kernel lets nobody write what belongs to an id that is not. Else it must
 * be the command's user's own. */
static int choose_map(const struct run_bind *bind, int source_fd,
                      const struct mapping_plan *plan, int *ret_userns, struct error *err)
{
    struct statx st = {0};
    if (statx(source_fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC,
              STATX_TYPE | STATX_MODE | STATX_UID | STATX_GID, &st) < 0)
        return fail(err, ERROR_SYSTEM, errno, "socket %s: ", bind->source);
    if (!S_ISSOCK(st.stx_mode))
        return fail(err, ERROR_INVALID, ENOTSOCK, "socket %s: ", bind->source);
    *ret_userns = st.stx_mode & S_IWOTH ? -EBADF : plan->userns_fd;
    bool own = st.stx_uid == plan->uid && has_gid(plan, st.stx_gid);
    if ((st.stx_mode & S_IWOTH) || (own && (st.stx_mode & S_IWUSR)))
        return 0;
    return fail(err, ERROR_DENIED, EACCES,
                "socket %.200s: belongs to %u:%u, and the command could not connect to it; run "
                "isolate as that user%s",
                bind->source, st.stx_uid, st.stx_gid,
                plan->uid == 0 ? ", or name it with --owner" : "");
}

static int bind_socket(const struct run_bind *bind, int source_fd,
                       const struct mapping_plan *plan, struct error *err)
{
    int userns = -EBADF;
    int r = choose_map(bind, source_fd, plan, &userns, err);
    if (r < 0)
        return r;
    _cleanup_close_ int mount = copy_mount(bind, source_fd, err);
    if (mount < 0)
        return mount;
    r = mount_set_attributes(mount, false, attributes_of(bind), 0, userns);
    if (r == -EINVAL)
        return fail(err, ERROR_UNSUPPORTED, EINVAL,
                    "socket %.200s: only its owner may connect, and its file system cannot be "
                    "id-mapped (a tmpfs can from Linux 6.3 on), so the command would be nobody "
                    "there",
                    bind->source);
    return r < 0 ? fail(err, ERROR_SYSTEM, r, "socket %s: ", bind->source) : TAKE_FD(mount);
}

int run_plan_binds(struct run_plan *plan, const struct run_request *request,
                   const struct peer *owner, uint32_t first_id, const struct fd_list *fds,
                   struct error *err)
{
    struct id_map gids[START_GROUPS];
    const struct id_map uid = {owner->uid, first_id + plan->start.uid, 1};
    if (request->n_binds == 0)
        return 0;
    size_t n_gids = map_groups(owner, first_id, plan->start.gid, gids, &plan->start);
    _cleanup_close_ int userns = userns_new(&uid, 1, gids, n_gids);
    if (userns < 0)
        return fail(err, ERROR_SYSTEM, userns, "user namespace for the binds: ");
    const struct mapping_plan mapping = {owner->uid, gids, n_gids, userns};
    for (uint32_t i = 0; i < request->n_binds; i++) {
        const struct run_bind *bind = &request->binds[i];
        int source_fd = fds->fds[bind->fd];
        int mount = bind->device    ? device_mount(bind, source_fd, first_id + plan->start.uid,
                                                   first_id + plan->start.gid, err)
                    : bind->connect ? bind_socket(bind, source_fd, &mapping, err)
                                    : bind_mount(bind, source_fd, userns, err);
        int r = mount < 0 ? mount : fd_list_add(&plan->mounts, mount);
        if (r < 0)
            return r;
        plan->start.binds[i] = (struct start_bind){
            .target = bind->target,
            .is_directory = type_of(mount) == S_IFDIR,
            .read_only = bind->read_only,
        };
        if (!bind->read_only && !bind->device && owner->uid == 0)
            plan->filter_flags |= FILTER_NO_SET_ID;
    }
    plan->start.n_binds = request->n_binds;
    return 0;
}
