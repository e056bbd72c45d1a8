/* SPDX-License-Identifier: Apache-2.0 */
/* From a request to a start: whose files, which ids, which mounts. Runs in isolated as root;
 * everything in the request is the caller's. */
#include "base/text.h"
#include "daemon/daemon.h"
#include "sys/caps.h"
#include "sys/filter.h"
#include "sys/mount.h"
#include "sys/userns.h"

#include <grp.h>
#include <pwd.h>
#include <string.h>
#include <sys/stat.h>

void run_plan_clear(struct run_plan *plan)
{
    fd_list_clear(&plan->mounts);
    json_decref(plan->provided);
    plan->provided = NULL;
}

int run_owner(const struct run_request *request, const struct peer *peer, struct peer *ret,
              char *ret_name, size_t size, struct error *err)
{
    *ret = *peer;
    ret_name[0] = '\0';
    struct passwd *entry = NULL;
    uint64_t uid = 0;
    if (request->owner) {
        if (peer->uid != 0)
            return fail(err, ERROR_DENIED, EPERM, "--owner is for root only");
        entry = getpwnam(request->owner);
        char *end = NULL;
        uid = strtoull(request->owner, &end, 10);
        if (!entry && end != request->owner && *end == '\0' && uid < UINT32_MAX)
            entry = getpwuid((uid_t)uid);
        if (!entry)
            return fail(err, ERROR_NOT_FOUND, ENOENT,
                        "--owner \"%.60s\": this machine has no such user", request->owner);
        int n = START_GROUPS;
        ret->uid = entry->pw_uid;
        ret->gid = entry->pw_gid;
        if (getgrouplist(entry->pw_name, entry->pw_gid, ret->groups, &n) < 0)
            n = START_GROUPS;
        ret->n_groups = (size_t)n;
    } else if (request->here) {
        entry = getpwuid(peer->uid);
    }
    if (entry)
        (void)snprintf(ret_name, size, "%s", entry->pw_name);
    return 0;
}

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

static int bind_mount(const struct run_bind *bind, int source_fd, int userns_fd,
                      struct error *err)
{
    struct stat st;
    if (fstat(source_fd, &st) < 0)
        return fail(err, ERROR_SYSTEM, errno, "bind %s: ", bind->source);
    if (S_ISBLK(st.st_mode) || S_ISCHR(st.st_mode) || S_ISLNK(st.st_mode))
        return fail(err, ERROR_DENIED, EPERM,
                    "bind %s: device nodes cannot be bound; the sandbox has its own /dev",
                    bind->source);
    _cleanup_close_ int mount = mount_open_tree(source_fd, "", bind->recursive);
    if (mount < 0)
        return fail(err, ERROR_SYSTEM, mount, "bind %s: copy the mount: ", bind->source);
    uint64_t set = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | (bind->read_only ? MOUNT_ATTR_RDONLY : 0);
    int r = mount_set_attributes(mount, bind->recursive, set, 0, userns_fd);
    /* without a map every id shows as nobody: harmless to read, impossible to write */
    if (r == -EINVAL && bind->read_only)
        r = mount_set_attributes(mount, bind->recursive, set, 0, -EBADF);
    if (r == -EINVAL)
        return fail(err, ERROR_UNSUPPORTED, r,
                    "bind %s: its file system%s cannot be id-mapped, so nothing written there "
                    "could belong to you; bind it read-only (:ro)",
                    bind->source, bind->recursive ? ", or that of a mount below it," : "");
    return r < 0 ? fail(err, ERROR_SYSTEM, r, "bind %s: ", bind->source) : TAKE_FD(mount);
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
    for (uint32_t i = 0; i < request->n_binds; i++) {
        const struct run_bind *bind = &request->binds[i];
        struct stat st;
        int mount = bind_mount(bind, fds->fds[bind->fd], userns, err);
        int r = mount < 0 ? mount : fd_list_add(&plan->mounts, mount);
        if (r < 0)
            return r;
        if (fstat(mount, &st) < 0)
            return fail(err, ERROR_SYSTEM, errno, "bind %s: ", bind->source);
        plan->start.binds[i] = (struct start_bind){
            .target = bind->target,
            .is_directory = S_ISDIR(st.st_mode),
            .read_only = bind->read_only,
        };
        if (!bind->read_only && owner->uid == 0)
            plan->filter_flags |= FILTER_NO_SET_ID;
    }
    plan->start.n_binds = request->n_binds;
    return 0;
}

static void choose_hostname(const struct run_request *request, struct run_plan *plan)
{
    const char *name = request->hostname        ? request->hostname
                       : request->name          ? request->name
                       : request->template_name ? request->template_name
                                                : "isolate";
    (void)snprintf(plan->hostname, sizeof(plan->hostname), "%.63s", name);
    for (char *p = plan->hostname; *p; p++)
        if (*p == '_')
            *p = '-';
}

int run_plan_mask_state(struct run_plan *plan, const char *root, int state_fd, struct error *err)
{
    char link[32];
    (void)snprintf(link, sizeof(link), "/proc/self/fd/%d", state_fd);
    ssize_t n = readlink(link, plan->masked, sizeof(plan->masked) - 1);
    if (n <= 0)
        return fail(err, ERROR_SYSTEM, errno, "path of the state directory: ");
    plan->masked[n] = '\0';
    const char *below = streq(root, "/") ? plan->masked : text_after(plan->masked, root);
    if (!below || below[0] != '/')
        return 0;
    if (plan->start.n_tmpfs >= START_TMPFS)
        return fail(err, ERROR_INVALID, E2BIG, "too many tmpfs");
    plan->start.tmpfs[plan->start.n_tmpfs++] =
        (struct start_tmpfs){.target = below, .size_bytes = 4096};
    return 0;
}

static int check_capabilities(const struct run_request *request, struct error *err)
{
    static const char *const refused[] = {"SYS_ADMIN", "SETFCAP", "MKNOD"};
    for (size_t i = 0; i < ELEMENTS(refused); i++) {
        /* it could unlock mounts, or leave its mark on files of the host: DESIGN.md, section 5 */
        if (request->capabilities & caps_from_name(refused[i]))
            return fail(err, ERROR_DENIED, EPERM,
                        "capability CAP_%s: engine native does not give it: it would reach beyond "
                        "the sandbox",
                        refused[i]);
    }
    return 0;
}

int run_plan_make(const struct run_request *request, const struct peer *owner, uint32_t first_id,
                  uint32_t uid, uint32_t gid, struct run_plan *ret, struct error *err)
{
    struct run_plan *plan = ret;
    int r = check_capabilities(request, err);
    if (r < 0)
        return r;
    choose_hostname(request, plan);
    plan->provided = provide_files(plan->hostname, request->host_network);
    size_t n_files = provide_view(plan->provided, plan->files, START_FILES);
    plan->start = (struct start){
        .flags = (request->tty ? START_TTY : 0) | (request->read_only ? START_READ_ONLY : 0) |
                 (request->here ? START_PASSWD_ENTRY : 0) |
                 (request->user && !strchr(request->user, ':') ? START_USER_BY_NAME : 0) |
                 (request->n_argv == 0 ? START_SHELL_LOGIN : 0),
        .uid = uid,
        .gid = gid,
        .umask = 022,
        .capabilities = request->capabilities,
        .timeout_ms = request->timeout_ms,
        .hostname = plan->hostname,
        .workdir = request->workdir ? request->workdir : "",
        .user = plan->owner_name,
        .n_argv = request->n_argv,
        .argv = (const char **)request->argv,
        .n_env = request->n_env,
        .env = (const char **)request->env,
        .n_tmpfs = request->n_tmpfs,
        .n_files = (uint32_t)n_files,
    };
    for (uint32_t i = 0; i < request->n_tmpfs; i++)
        plan->start.tmpfs[i] = (struct start_tmpfs){
            .target = request->tmpfs[i].target,
            .size_bytes = request->tmpfs[i].size_bytes,
        };
    for (size_t i = 0; i < n_files; i++)
        plan->start.files[i] = (struct start_file){
            .path = plan->files[i].path,
            .content = plan->files[i].content,
            .is_symlink = json_is_true(
                json_object_get(json_array_get(plan->provided, i), "symlink")),
        };
    return 0;
}
