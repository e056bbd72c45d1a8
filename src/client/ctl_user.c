/* SPDX-License-Identifier: Apache-2.0 */
/* `isolate -t DIR COMMAND…` of who is not root: the machine's bubblewrap, with the user's own
 * rights and no daemon. Without a hook behind the end it takes the place of this process, so
 * that signals, terminal and exit status are the command's. Runs as the caller. */
#include "base/log.h"
#include "base/text.h"
#include "client/ctl.h"
#include "client/user_bwrap.h"
#include "client/user_command.h"
#include "client/user_hooks.h"
#include "client/user_ids.h"
#include "sys/bwrap.h"
#include "sys/fd.h"
#include "sys/filter.h"
#include "sys/filter_walk.h"
#include "sys/mount.h"
#include "sys/process.h"
#include "sys/scope.h"
#include "sys/stdio.h"

#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/prctl.h>

#define SPARE_FD 64

/* Each program of the filter as a file that is inherited; how many. */
static int place_filters(void)
{
    size_t size = 0;
    int n = 0;
    const void *instructions = NULL;
    struct filter_walk walk = {0};
    walk.at = filter_programs(0, &walk.left);
    while (filter_next(&walk, FILTER_EARLY, &instructions, &size)) {
        _cleanup_close_ int fd = memfd_of("isolate-filter", instructions, size, 0600);
        _cleanup_close_ int high = fd < 0 ? fd : fcntl(fd, F_DUPFD_CLOEXEC, SPARE_FD);
        if (high < 0 || lseek(high, 0, SEEK_SET) < 0 ||
            dup2(high, USER_BWRAP_FILTER_FD + n++) < 0)
            return high < 0 ? high : -errno;
    }
    return n;
}

/* bwrap makes the places of mounts itself and follows what links it meets on the way, out of
 * the directory, too: so they must be there, and lead nowhere else. */
static int check_place(int root, const char *place, struct error *err)
{
    _cleanup_close_ int fd =
        open_resolved(root, place, O_PATH, RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS);
    if (fd >= 0)
        return 0;
    return fail(
        err, errno == ENOENT ? ERROR_NOT_FOUND : ERROR_INVALID, errno,
        "%.200s in the directory, where something is to be mounted (it must be there, and no "
        "symbolic link on the way): ",
        place);
}

static bool wants_display(const struct original *original)
{
    return original->x11 || original->audio;
}

static int check_places(int root, struct user_bwrap *plan, struct error *err)
{
    static const char *const always[] = {"/proc", "/dev", "/tmp"};
    int r = 0;
    for (size_t i = 0; r == 0 && i < ELEMENTS(always); i++)
        r = check_place(root, always[i], err);
    if (r == 0 && wants_display(plan->original))
        r = check_place(root, "/run", err);
    plan->has_home = check_place(root, "/home", NULL) == 0;
    for (int i = 0; r == 0 && i < plan->original->n_binds; i++)
        if (!user_path_is_in_memory(plan->halves[i][1]))
            r = check_place(root, plan->halves[i][1], err);
    return r;
}

/* What the command gets of the caller's: three fds that are no way out, and nothing else. */
static int check_fds(int root, struct error *err)
{
    static const char *const names[] = {"stdin", "stdout", "stderr"};
    int r = 0;
    for (int i = 0; r == 0 && i < (int)ELEMENTS(names); i++)
        r = stdio_check(i, names[i], err);
    for (int other = STDERR_FILENO + 1; other < SPARE_FD; other++)
        if (other != root)
            (void)close(other);
    return r;
}

static int cut(char *pair, const char *ret[static 2])
{
    if (!pair)
        return -ENOMEM;
    char *colon = strchr(pair, ':');
    *colon = '\0';
    ret[0] = pair;
    ret[1] = colon + 1;
    return 0;
}

/* A relative HOST is the caller's, which bwrap takes it for as well. */
static int cut_all(struct user_bwrap *plan, struct error *err)
{
    int r = 0;
    const struct original *original = plan->original;
    for (int i = 0; r == 0 && i < original->n_binds; i++) {
        r = cut(strdup(original->binds[i]), plan->halves[i]);
        if (r == 0 && plan->halves[i][1][0] != '/')
            return fail(err, ERROR_INVALID, EINVAL, "-d \"%.200s\": TARGET must be absolute",
                        original->binds[i]);
    }
    for (int i = 0; r == 0 && i < original->n_env; i++)
        r = cut(strdup(original->env[i]), plan->halves[original->n_binds + i]);
    return r < 0 ? fail(err, ERROR_SYSTEM, r, "-d, -v: ") : 0;
}

/* A file that bwrap reads, or holds, by its number. */
static int place_fd(int fd, int number)
{
    return fd < 0 || dup2(fd, number) < 0 ? -errno : 0;
}

/* X and sound, with rights of the caller's own: what is opened here is held by bwrap. */
static int open_display(struct user_bwrap *plan, struct error *err)
{
    char uid[16];
    struct display *display = NULL;
    const struct original *original = plan->original;
    if (!wants_display(original))
        return 0;
    (void)snprintf(uid, sizeof(uid), "%u", (unsigned)getuid());
    int r = display_open((original->x11 ? DISPLAY_X11_TRUSTED : 0) |
                             (original->audio ? DISPLAY_AUDIO : 0),
                         uid, DISPLAY_REACH_OWNER, &display, err);
    if (r < 0)
        return r;
    for (size_t i = 0; i < display->n_secrets && r == 0; i++) {
        const struct display_secret *secret = &display->secrets[i];
        (void)snprintf(plan->targets[i], sizeof(plan->targets[i]), "%s/%s", display->directory,
                       secret->name);
        _cleanup_close_ int fd =
            memfd_of("isolate-secret", secret->content.data, secret->content.length, 0600);
        r = fd < 0 || lseek(fd, 0, SEEK_SET) < 0 ? -errno
                                                 : place_fd(fd, USER_BWRAP_SECRET_FD + (int)i);
    }
    if (r == 0 && display->keeper_fd >= 0)
        r = place_fd(display->keeper_fd, USER_BWRAP_KEEPER_FD);
    for (char *at = display->env.data;
         at < display->env.data + display->env.length && plan->n_env < ELEMENTS(plan->env);
         plan->n_env++) {
        char *equals = strchr(at, '=');
        char *next = at + strlen(at) + 1;
        *equals = '\0';
        plan->env[plan->n_env][0] = at;
        plan->env[plan->n_env][1] = equals + 1;
        at = next;
    }
    plan->display = display; /* until bwrap takes our place */
    return r < 0 ? fail(err, ERROR_SYSTEM, r, "-1, -2: ") : 0;
}

static int check(const struct original *original, struct error *err)
{
    if (!streq(original->engine, "bwrap"))
        return fail(
            err, ERROR_DENIED, EPERM,
            "-e %.40s: on a directory who is not root has engine bwrap alone, with rights of "
            "its own; members of the group isolate have the others on templates",
            original->engine);
    original_warn_of_environment();
    return bwrap_find(err);
}

/* bwrap is executed with rights that may reach less than the caller's own. */
static int check_reach(const struct user_bwrap *plan, struct error *err)
{
    const struct original *original = plan->original;
    const char *const root[] = {original->directory, "-t"};
    for (int i = -1; i < original->n_binds; i++) {
        const char *path = i < 0 ? root[0] : plan->halves[i][0];
        if (access(path, i < 0 ? R_OK | X_OK : F_OK) < 0)
            return fail(err, ERROR_DENIED, errno,
                        "%s %.200s: with -u and -g the command is somebody else here, to whom "
                        "it must be open, as all directories above it (chmod o+rx): ",
                        i < 0 ? root[1] : "-d", path);
    }
    return 0;
}

static int enter_ids(struct user_bwrap *plan, struct error *err)
{
    if (!plan->is_mapped)
        return 0;
    int r = user_ids_enter(plan->userns_fd, err);
    return r < 0 ? r : check_reach(plan, err);
}

static int execute(const struct original *original, struct user_bwrap *plan, struct error *err)
{
    static const char *argv[USER_BWRAP_ARGS_MAX + 65536];
    char *const environment[] = {NULL};
    int r = prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0
                ? fail(err, ERROR_SYSTEM, errno, "no_new_privs: ")
            : original->network ? scope_sockets(err)
                                : 0;
    if (r < 0)
        return r;
    r = place_filters();
    if (r < 0)
        return fail(err, ERROR_SYSTEM, r, "system call filter: ");
    plan->n_filters = (unsigned)r;
    r = enter_ids(plan, err);
    if (r < 0)
        return r;
    size_t n = user_bwrap_argv(plan, argv);
    if ((size_t)original->n_command >= ELEMENTS(argv) - n)
        return fail(err, ERROR_INVALID, E2BIG, "the command has too many arguments");
    for (int i = 0; i <= original->n_command; i++)
        argv[n + (size_t)i] = original->command[i];
    _cleanup_buffer_ struct buffer line = {0};
    if (original->trace)
        original_trace(&line, (char *const *)argv);
    (void)execve(BWRAP_PROGRAM, (char *const *)argv, environment);
    return fail(err, ERROR_SYSTEM, errno, "execute %s: ", BWRAP_PROGRAM);
}

static int make_ids(struct user_bwrap *plan, struct error *err)
{
    uint32_t uid = 0;
    uint32_t gid = 0;
    int r = original_id_bases(plan->original, &uid, &gid, err);
    if (r < 0 || uid == 0)
        return r;
    if (wants_display(plan->original))
        return fail(err, ERROR_UNSUPPORTED, EOPNOTSUPP,
                    "-1, -2: with -u and -g the command is somebody else here, to whom your "
                    "display and sound are closed; leave one or the other out");
    plan->is_mapped = true;
    plan->userns_fd = user_ids_make(uid, gid, err);
    return plan->userns_fd < 0 ? plan->userns_fd : 0;
}

static int start(void *data)
{
    struct user_bwrap *plan = data;
    struct error err = {0};
    int r = open_display(plan, &err);
    if (r == 0)
        r = execute(plan->original, plan, &err);
    return r < 0 ? ctl_failed(&err) : 125;
}

int ctl_user(int argc, char **argv)
{
    char directory[PATH_MAX];
    char hostname[64];
    char workdir[PATH_MAX];
    struct error err = {0};
    struct original original;
    int r = original_parse(argc, argv, &original, &err);
    if (r == 0)
        r = check(&original, &err);
    if (r < 0)
        return ctl_failed(&err);
    _cleanup_close_ int root = open(original.directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (root < 0) {
        (void)fail(&err, ERROR_NOT_FOUND, errno, "-t %.200s: ", original.directory);
        return ctl_failed(&err);
    }
    if (faccessat(root, ".", X_OK, 0) < 0) { /* or no command would be found in it */
        (void)fail(&err, ERROR_DENIED, errno, "-t %.200s: ", original.directory);
        return ctl_failed(&err);
    }
    original_hostname(&original, hostname);
    original_workdir(&original, workdir);
    static struct user_bwrap plan; /* large */
    plan = (struct user_bwrap){.original = &original,
                               .hostname = hostname,
                               .workdir = workdir,
                               .terminal = isatty(STDIN_FILENO) ? getenv("TERM") : NULL};
    r = cut_all(&plan, &err);
    if (r < 0)
        return ctl_failed(&err);
    int status = user_command_check(root, &plan);
    if (status != 0) {
        log_error("%s: %s", original.command[0],
                  status == 127 ? "no such command in the sandbox" : "cannot be executed");
        return status;
    }
    r = check_places(root, &plan, &err);
    if (r == 0)
        r = check_fds(root, &err);
    if (r == 0)
        r = close_from(SPARE_FD) < 0 ? fail(&err, ERROR_SYSTEM, errno, "close: ") : 0;
    if (r == 0)
        r = make_ids(&plan, &err);
    if (r == 0 && !realpath(original.directory, directory))
        r = fail(&err, ERROR_NOT_FOUND, errno, "-t %.200s: ", original.directory);
    if (r < 0)
        return ctl_failed(&err);
    original_begin(&original); /* what it ignores is ignored by hooks as well */
    return user_hooks_run(directory, start, &plan);
}
