/* SPDX-License-Identifier: Apache-2.0 */
/* See user_command.h. Runs as the caller; the directory may be somebody else's. */
#include "client/user_command.h"

#include "base/cleanup.h"
#include "base/text.h"
#include "sys/fd.h"
#include "sys/mount.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

bool user_path_is_in_memory(const char *path)
{
    const char *rest = text_after(path, "/tmp");
    rest = rest ? rest : text_after(path, "/home");
    return rest && *rest == '/' && !strstr(path, "/..");
}

/* fd: or -errno. */
static int look_at(int fd)
{
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0)
        return 127;
    return S_ISREG(st.st_mode) && (st.st_mode & 0111) ? 0 : 126;
}

/* What of path is behind target, where it is that or below. */
static const char *rest_behind(const char *path, const char *target)
{
    size_t n = strlen(target);
    while (n > 0 && target[n - 1] == '/')
        n--;
    bool is_below = strncmp(path, target, n) == 0 && (path[n] == '/' || path[n] == '\0');
    return is_below ? path + n : NULL;
}

/* The source that path is in, and where in it; NULL: none. */
static const char *source_of(const struct user_bwrap *plan, const char *path,
                             const char **ret_rest)
{
    const char *source = NULL;
    for (int i = 0; i < plan->original->n_binds; i++) {
        const char *rest = rest_behind(path, plan->halves[i][1]);
        if (!rest || (source && rest > *ret_rest))
            continue; /* another one is over it */
        source = plan->halves[i][0];
        *ret_rest = rest;
    }
    return source;
}

/* A link in there leads to a place of the sandbox's, and a source that is not there is bwrap's
 * to complain of. */
static int look_in_source(const char *source, const char *rest)
{
    _cleanup_close_ int top = open(source, O_PATH | O_CLOEXEC);
    rest += strspn(rest, "/");
    if (top < 0 || !*rest)
        return top < 0 ? 0 : look_at(top);
    _cleanup_close_ int fd = open_resolved(top, rest, O_PATH, RESOLVE_NO_SYMLINKS);
    return fd == -ELOOP ? 0 : look_at(fd);
}

/* What path is called when the links of the root on the way to its directory are followed. */
static void follow_links(int root, const char *path, char ret[static PATH_MAX])
{
    char top[PATH_MAX];
    char place[PATH_MAX];
    const char *name = strrchr(path, '/');
    (void)snprintf(ret, PATH_MAX, "%.*s", (int)(name - path), path);
    _cleanup_close_ int fd =
        open_resolved(root, *ret ? ret : "/", O_PATH | O_DIRECTORY, RESOLVE_IN_ROOT);
    (void)snprintf(ret, PATH_MAX, "%s", path);
    ssize_t n_top = readlink(fd_path(root).text, top, sizeof(top) - 1);
    ssize_t n_place = fd < 0 ? -1 : readlink(fd_path(fd).text, place, sizeof(place) - 1);
    if (n_top <= 0 || n_place <= 0)
        return; /* it may be in a directory that only a source has */
    top[n_top] = '\0';
    place[n_place] = '\0';
    const char *rest = rest_behind(place, top);
    int n = rest ? snprintf(ret, PATH_MAX, "%s%s", rest, name) : 0;
    if (n >= PATH_MAX)
        (void)snprintf(ret, PATH_MAX, "%s", path);
}

static int look_for(int root, const struct user_bwrap *plan, const char *path)
{
    char place[PATH_MAX];
    const char *rest = NULL;
    if (plan->original->n_binds > 0 && strstr(path, "/.."))
        return 0; /* what is above depends on which source that is */
    follow_links(root, path, place);
    const char *source = source_of(plan, place, &rest);
    if (source)
        return look_in_source(source, rest);
    if (user_path_is_in_memory(place))
        return 127;
    _cleanup_close_ int fd = open_resolved(root, path, O_PATH, RESOLVE_IN_ROOT);
    return look_at(fd);
}

int user_command_check(int root, const struct user_bwrap *plan)
{
    char path[PATH_MAX];
    int status = 127;
    const char *command = plan->original->command[0];
    const char *directory = ORIGINAL_PATH;
    if (strchr(command, '/')) {
        const char *above = *command == '/' ? "" : plan->workdir;
        int n = snprintf(path, sizeof(path), "%s%s%s", above, *above ? "/" : "", command);
        return n < (int)sizeof(path) ? look_for(root, plan, path) : 127;
    }
    while (*directory && status != 0) {
        size_t n = strcspn(directory, ":");
        (void)snprintf(path, sizeof(path), "%.*s/%s", (int)n, directory, command);
        int found = look_for(root, plan, path);
        status = found == 127 ? status : found;
        directory += n + (directory[n] == ':');
    }
    return status;
}
