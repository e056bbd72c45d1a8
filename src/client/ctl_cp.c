/* SPDX-License-Identifier: Apache-2.0 */
/* `isolate cp`: tar at one end and isolate-image, or tar in the sandbox, at the other one. Runs
 * as the caller. What comes out of a sandbox is what that wants to send, so here it is taken by
 * a reader that makes nothing but what was asked for. */
#include "base/log.h"
#include "base/text.h"
#include "client/connect.h"
#include "client/ctl.h"
#include "sys/fd.h"

#include <fcntl.h>
#include <spawn.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

/* One end of a copy: in a sandbox, or here. */
struct end {
    char sandbox[128]; /* "" : here */
    char directory[4096];
    char base[256]; /* of SRC */
};

static int split_end(const char *text, struct end *ret, struct error *err)
{
    const char *colon = strchr(text, ':');
    const char *slash = strchr(text, '/');
    bool inside = colon && (!slash || colon < slash);
    const char *path = inside ? colon + 1 : text;
    *ret = (struct end){0};
    if (!*path || (inside && *path != '/') || strlen(path) >= sizeof(ret->directory) ||
        (inside && (size_t)(colon - text) >= sizeof(ret->sandbox)))
        return fail(err, ERROR_INVALID, EINVAL,
                    "cp \"%.200s\": a file or directory is needed%s", text,
                    inside ? ", by its absolute path in the sandbox" : "");
    if (inside)
        (void)snprintf(ret->sandbox, sizeof(ret->sandbox), "%.*s", (int)(colon - text), text);
    (void)snprintf(ret->directory, sizeof(ret->directory), "%s", path);
    return 0;
}

/* Makes of the path the directory that it is in, and its name there. */
static int split_base(struct end *end, const char *text, struct error *err)
{
    char *path = end->directory;
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/')
        path[--n] = '\0';
    char *last = strrchr(path, '/');
    const char *base = last ? last + 1 : path;
    if (!*base || streq(base, "..") || strlen(base) >= sizeof(end->base))
        return fail(err, ERROR_INVALID, EINVAL,
                    "cp \"%.200s\": the name of a file or directory is needed", text);
    (void)snprintf(end->base, sizeof(end->base), "%s", base);
    if (!last)
        (void)snprintf(path, sizeof(end->directory), ".");
    else
        last[last == path] = '\0';
    return 0;
}

static int spawn(const char *const *words, int fd, int as, int directory_fd, pid_t *ret)
{
    posix_spawn_file_actions_t actions;
    int r = posix_spawn_file_actions_init(&actions);
    if (r == 0)
        r = posix_spawn_file_actions_adddup2(&actions, fd, as);
    if (r == 0 && directory_fd >= 0)
        r = posix_spawn_file_actions_adddup2(&actions, directory_fd, 3);
    if (r == 0)
        r = posix_spawnp(ret, words[0], &actions, NULL, (char *const *)words, environ);
    (void)posix_spawn_file_actions_destroy(&actions);
    return -r;
}

/* tar at one end, in the sandbox by exec. */
static int spawn_tar(const struct end *end, const char *mode, int fd, int as, pid_t *ret)
{
    const char *words[16] = {NULL};
    size_t n = 0;
    if (*end->sandbox) {
        const char *exec[] = {"isolate", "exec", end->sandbox, "--"};
        for (size_t i = 0; i < ELEMENTS(exec); i++)
            words[n++] = exec[i];
    }
    words[n++] = "tar";
    words[n++] = "-C";
    words[n++] = end->directory;
    words[n++] = mode;
    words[n++] = "-";
    words[n++] = mode[1] == 'c' ? "--" : "--no-same-owner";
    if (mode[1] == 'c')
        words[n++] = end->base;
    return spawn(words, fd, as, -EBADF, ret);
}

static int spawn_take(const char *name, int directory_fd, int fd, pid_t *ret)
{
    char program[4200];
    char mask_text[16];
    mode_t mask = umask(0);
    (void)umask(mask);
    (void)snprintf(mask_text, sizeof(mask_text), "%u", (unsigned)mask);
    client_helper_path("isolate-image", program, sizeof(program));
    const char *words[] = {program, "take", name, "3", mask_text, NULL};
    return spawn(words, fd, STDIN_FILENO, directory_fd, ret);
}

static int exit_of(pid_t pid)
{
    int status = 0;
    if (pid <= 0 || waitpid(pid, &status, 0) < 0)
        return 125;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 125;
}

static int read_ends(char *const *operands, struct end *from, struct end *to, struct error *err)
{
    int r = split_end(operands[0], from, err);
    if (r == 0)
        r = split_base(from, operands[0], err);
    if (r == 0)
        r = split_end(operands[1], to, err);
    if (r == 0 && !*from->sandbox == !*to->sandbox)
        r = fail(err, ERROR_INVALID, EINVAL,
                 "cp: one of SRC and DST is in a sandbox: SANDBOX:/PATH");
    return r;
}

/* What is here must be there, before anything is started. */
static int look_here(const struct end *from, const struct end *to, int *ret_directory,
                     struct error *err)
{
    struct stat st;
    const char *directory = *from->sandbox ? to->directory : from->directory;
    _cleanup_close_ int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return fail(err, ERROR_INVALID, errno, "cp: directory \"%.200s\": ", directory);
    if (!*from->sandbox && fstatat(fd, from->base, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return fail(err, ERROR_INVALID, errno, "cp: \"%.200s\" in \"%.200s\": ", from->base,
                    directory);
    *ret_directory = TAKE_FD(fd);
    return 0;
}

int ctl_cp(int argc, char **argv)
{
    struct error err = {0};
    struct end from = {0};
    struct end to = {0};
    int pipe_fds[2] = {-EBADF, -EBADF};
    pid_t reader = 0;
    pid_t writer = 0;
    _cleanup_close_ int directory_fd = -EBADF;
    _cleanup_ctl_verb_ struct ctl_verb verb = {0};
    if (!ctl_verb_begin(&verb, "cp", argc, argv))
        return verb.status;
    int r = read_ends(verb.operands, &from, &to, &err);
    if (r == 0)
        r = look_here(&from, &to, &directory_fd, &err);
    if (r == 0 && pipe2(pipe_fds, O_CLOEXEC) < 0)
        r = fail(&err, ERROR_SYSTEM, errno, "cp: ");
    if (r < 0)
        return ctl_failed(&err);
    r = spawn_tar(&from, "-cf", pipe_fds[1], STDOUT_FILENO, &writer);
    if (r == 0)
        r = *to.sandbox ? spawn_tar(&to, "-xf", pipe_fds[0], STDIN_FILENO, &reader)
                        : spawn_take(from.base, directory_fd, pipe_fds[0], &reader);
    fd_close(pipe_fds[0]);
    fd_close(pipe_fds[1]);
    int sent = exit_of(writer);
    int received = exit_of(reader);
    if (r < 0 || sent != 0 || received != 0)
        log_error("cp: %s failed%s", received != 0 ? verb.operands[1] : verb.operands[0],
                  r < 0 ? ": tar or a part of isolate cannot be executed" : "");
    return r < 0 || sent != 0 || received != 0 ? 125 : 0;
}
