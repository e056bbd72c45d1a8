/* SPDX-License-Identifier: Apache-2.0 */
/* From a request to a start: whose files, which ids, which mounts. Runs in isolated as root;
 * everything in the request is the caller's. */
#include "daemon/run_plan.h"
#include "base/parse.h"
#include "base/text.h"
#include "spec/host_accounts.h"
#include "sys/caps.h"
#include "sys/filter.h"

#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <string.h>
#include <sys/sysinfo.h>

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
    uint32_t uid = 0;
    if (request->owner) {
        if (peer->uid != 0)
            return fail(err, ERROR_DENIED, EPERM, "--owner is for root only");
        entry = getpwnam(request->owner);
        if (!entry && parse_u32(request->owner, 0, UINT32_MAX - 1, &uid, "", NULL) == 0)
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
        (void)snprintf(ret_name, size, "%s", entry->pw_name);
    } else if (request->here) { /* a member's, and this is the event loop */
        if (!host_user_is_local(peer->uid, ret_name, size))
            (void)snprintf(ret_name, size, "uid%u", peer->uid);
    }
    return 0;
}

static void choose_hostname(const char *name, struct run_plan *plan)
{
    (void)snprintf(plan->hostname, sizeof(plan->hostname), "%.*s", HOST_NAME_MAX, name);
    for (char *p = plan->hostname; *p; p++)
        if (*p == '_')
            *p = '-';
}

int run_plan_mask_state(struct run_plan *plan, const char *root, int state_fd,
                        struct error *err)
{
    char link[32];
    (void)snprintf(link, sizeof(link), "/proc/self/fd/%d", state_fd);
    ssize_t n = readlink(link, plan->masked, sizeof(plan->masked) - 1);
    if (n <= 0)
        return fail(err, ERROR_SYSTEM, errno, "path of the state directory: ");
    plan->masked[n] = '\0';
    const char *inside = text_after(root, plan->masked);
    if (inside && (*inside == '/' || *inside == '\0'))
        return fail(err, ERROR_DENIED, EPERM, "template %s: is isolate's own state", root);
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
        /* it could unlock mounts, or leave its mark on files of the host: DESIGN.md, section 5
         */
        if (request->capabilities & caps_from_name(refused[i]))
            return fail(
                err, ERROR_DENIED, EPERM,
                "capability CAP_%s: engine %s does not give it: it would reach beyond the "
                "sandbox",
                refused[i], request->engine ? request->engine : "native");
    }
    return 0;
}

/* The kernel lets a root make a user namespace with a root only if it may give files
 * capabilities, too. What that makes in the clone is reached by nobody, as set-id programs;
 * files of root's are not bound for writing then. */
static uint64_t nesting_capabilities(const struct run_request *request)
{
    return request->seccomp.kind == SECCOMP_NESTED && request->capabilities != 0
               ? caps_from_name("SETFCAP")
               : 0;
}

static void plan_files(struct run_plan *plan, size_t n)
{
    for (size_t i = 0; i < n; i++)
        plan->start.files[i] = (struct start_file){
            .path = plan->files[i].path,
            .content = plan->files[i].content,
            .is_symlink =
                json_is_true(json_object_get(json_array_get(plan->provided, i), "symlink")),
        };
}

static uint32_t filter_flags(const struct run_seccomp *seccomp)
{
    bool own = seccomp->kind == SECCOMP_PROFILE && !seccomp->on_top;
    return (seccomp->kind == SECCOMP_STRICT ? FILTER_STRICT : 0) |
           (seccomp->kind == SECCOMP_NESTED ? FILTER_NESTED : 0) | (own ? FILTER_PROFILE : 0) |
           (seccomp->abi_32bit ? FILTER_32BIT : 0);
}

static void plan_display(struct run_plan *plan, const struct run_display *display)
{
    plan->start.private_directory = display->directory ? display->directory : "";
    plan->start.n_private = display->n_files;
    for (uint32_t i = 0; i < display->n_files; i++)
        plan->start.private_files[i] = (struct start_private){
            .name = display->files[i].name,
            .hex = display->files[i].hex,
        };
}

/* What Debian's systemd insists on, and may not mount or open itself. */
static int plan_boot(struct run_plan *plan, const struct run_request *request,
                     struct error *err)
{
    static const char place[] = "/run/lock";
    struct start *start = &plan->start;
    plan->filter_flags |= request->host_network ? 0 : FILTER_UEVENTS;
    for (uint32_t i = 0; i < request->n_binds; i++)
        if (streq(request->binds[i].target, place))
            return 0;
    for (uint32_t i = 0; i < start->n_tmpfs; i++)
        if (streq(start->tmpfs[i].target, place))
            return 0;
    if (start->n_tmpfs >= START_TMPFS)
        return fail(err, ERROR_INVALID, E2BIG, "too many tmpfs: --boot adds %s", place);
    start->tmpfs[start->n_tmpfs++] =
        (struct start_tmpfs){.target = place, .size_bytes = 5U << 20};
    return 0;
}

int run_plan_make(const struct run_request *request, const char *hostname, uint32_t uid,
                  uint32_t gid, struct run_plan *ret, struct error *err)
{
    struct run_plan *plan = ret;
    int r = check_capabilities(request, err);
    if (r < 0)
        return r;
    choose_hostname(request->hostname ? request->hostname : hostname, plan);
    plan->provided = provide_files(
        plan->hostname, request->host_network ? NETWORK_HOST : request->network.mode);
    size_t n_files = provide_view(plan->provided, plan->files, START_FILES);
    plan->start = (struct start){
        .flags = (request->tty ? START_TTY : 0) | (request->read_only ? START_READ_ONLY : 0) |
                 (request->here ? START_PASSWD_ENTRY : 0) |
                 (request->host_network ? START_SCOPED : 0) |
                 (request->user && !strchr(request->user, ':') ? START_USER_BY_NAME : 0) |
                 (request->boot          ? START_BOOT
                  : request->n_argv == 0 ? START_SHELL_LOGIN
                                         : 0) |
                 (request->detach ? START_DETACHED : 0) |
                 (request->stdin_open ? START_STDIN_OPEN : 0) |
                 (request->seccomp.kind == SECCOMP_NESTED ? START_NESTED : 0),
        .uid = uid,
        .gid = gid,
        .umask = 022,
        .capabilities = request->capabilities | nesting_capabilities(request),
        .timeout_ms = request->timeout_ms,
        .cpu_time_ms = request->cpu_time_ms,
        .n_cpus = request->cpu_time_ms > 0 ? (uint32_t)get_nprocs() : 0,
        .hostname = plan->hostname,
        .workdir = request->workdir ? request->workdir
                   : request->boot  ? "/"
                                    : "",
        .user = plan->owner_name,
        .n_argv = request->n_argv,
        .argv = (const char **)request->argv,
        .n_env = request->n_env,
        .env = (const char **)request->env,
        .n_tmpfs = request->n_tmpfs,
        .n_files = (uint32_t)n_files,
    };
    plan->filter_flags |= filter_flags(&request->seccomp);
    plan_display(plan, &request->display);
    for (uint32_t i = 0; i < request->n_tmpfs; i++)
        plan->start.tmpfs[i] = (struct start_tmpfs){
            .target = request->tmpfs[i].target,
            .size_bytes = request->tmpfs[i].size_bytes,
        };
    plan_files(plan, n_files);
    return request->boot ? plan_boot(plan, request, err) : 0;
}

int run_plan_prepare(const char *hostname, struct run_plan *ret)
{
    choose_hostname(hostname, ret);
    ret->provided = provide_files(ret->hostname, NETWORK_NONE);
    if (!ret->provided)
        return -ENOMEM;
    size_t n_files = provide_view(ret->provided, ret->files, START_FILES);
    ret->start = (struct start){
        .capabilities = caps_default(),
        .hostname = ret->hostname,
        .workdir = "",
        .user = "",
        .n_files = (uint32_t)n_files,
    };
    plan_files(ret, n_files);
    return 0;
}
