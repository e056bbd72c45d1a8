/* SPDX-License-Identifier: Apache-2.0 */
/* See user_ids.h. Runs as the caller, who is not root; which ids are whose is decided by
 * newuidmap and newgidmap. */
#include "client/user_ids.h"

#include "base/buffer.h"
#include "base/cleanup.h"
#include "spec/ids_owned.h"
#include "sys/fd.h"
#include "sys/userns.h"

#include <fcntl.h>
#include <grp.h>
#include <inttypes.h>
#include <pwd.h>
#include <sched.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

struct map {
    const char *option;  /* as it was given */
    const char *program; /* who writes it */
    const char *file;    /* what that looks at */
    const char *tool;    /* of usermod, to add some */
    uint32_t base;
};

struct maps {
    struct map uid;
    struct map gid;
    struct error *err;
};

static int run(const char *program, pid_t pid, uint32_t base)
{
    char numbers[3][16];
    posix_spawn_file_actions_t actions;
    (void)snprintf(numbers[0], sizeof(numbers[0]), "%d", (int)pid);
    (void)snprintf(numbers[1], sizeof(numbers[1]), "%u", base);
    (void)snprintf(numbers[2], sizeof(numbers[2]), "%u", USERNS_RANGE);
    char *const argv[] = {(char *)program, numbers[0], (char *)"0",
                          numbers[1],      numbers[2], NULL};
    char *const environment[] = {NULL};
    pid_t child = 0;
    int status = 0;
    int r = posix_spawn_file_actions_init(&actions);
    if (r != 0)
        return -r;
    /* what it says is said better here */
    r = posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
    if (r == 0)
        r = posix_spawn(&child, program, &actions, NULL, argv, environment);
    (void)posix_spawn_file_actions_destroy(&actions);
    if (r != 0)
        return -r;
    while (waitpid(child, &status, 0) < 0)
        if (errno != EINTR)
            return -errno;
    return status == 0 ? 0 : -EPERM;
}

static int refuse(const struct map *map, struct error *err)
{
    struct id_span own = {0};
    _cleanup_buffer_ struct buffer text = {0};
    const struct passwd *user = getpwuid(getuid());
    const char *name = user ? user->pw_name : "";
    uint64_t last = (uint64_t)map->base + USERNS_RANGE - 1;
    if (file_read_at(AT_FDCWD, map->file, 64U << 20, &text) == 0 && text.data &&
        ids_owned_by(text.data, name, getuid(), &own) > 0)
        return fail(err, ERROR_DENIED, EPERM,
                    "%s %u: of subordinate ids %s gives you %" PRIu64 " to %" PRIu64
                    ", and %u to %" PRIu64 " must all be yours",
                    map->option, map->base, map->file, own.first, own.last, map->base, last);
    return fail(err, ERROR_DENIED, EPERM,
                "%s %u: %s gives you no subordinate ids, of which %u to %" PRIu64
                " would have to be; root can: usermod --add-%s %u-%" PRIu64 " %s",
                map->option, map->base, map->file, map->base, last, map->tool, map->base, last,
                *name ? name : "NAME");
}

static int write_map(const struct map *map, pid_t pid, struct error *err)
{
    if (access(map->program, X_OK) < 0)
        return fail(err, ERROR_UNSUPPORTED, errno,
                    "%s: %s is not installed; apt install uidmap", map->option, map->program);
    int r = run(map->program, pid, map->base);
    if (r == -EPERM)
        return refuse(map, err);
    return r < 0 ? fail(err, ERROR_SYSTEM, r, "%s: %s: ", map->option, map->program) : 0;
}

static int write_maps(pid_t pid, void *data)
{
    const struct maps *maps = data;
    int r = write_map(&maps->uid, pid, maps->err);
    return r < 0 ? r : write_map(&maps->gid, pid, maps->err);
}

int user_ids_make(uint32_t uid_base, uint32_t gid_base, struct error *err)
{
    struct maps maps = {
        {"-u", "/usr/bin/newuidmap", "/etc/subuid", "subuids", uid_base},
        {"-g", "/usr/bin/newgidmap", "/etc/subgid", "subgids", gid_base},
        err,
    };
    err->code = ERROR_NONE;
    int fd = userns_new_by(write_maps, &maps);
    if (fd < 0 && err->code == ERROR_NONE)
        return fail(err, ERROR_UNSUPPORTED, fd,
                    "-u, -g: a user namespace (see `isolate doctor`): ");
    return fd;
}

int user_ids_enter(int userns_fd, struct error *err)
{
    if (setns(userns_fd, CLONE_NEWUSER) < 0 || setgroups(0, NULL) < 0 ||
        setresgid(0, 0, 0) < 0 || setresuid(0, 0, 0) < 0)
        return fail(err, ERROR_SYSTEM, errno, "-u, -g: enter the user namespace: ");
    return 0;
}
