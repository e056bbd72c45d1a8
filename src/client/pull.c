/* SPDX-License-Identifier: Apache-2.0 */
/* Pulls by skopeo. Runs as the caller. What a registry sends lands in the cache by skopeo's
 * hand, and is checked when it is imported. */
#include "client/pull.h"

#include "base/log.h"
#include "base/text.h"
#include "sys/fd.h"
#include "sys/tree.h"

#include <fcntl.h>
#include <pwd.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define SAID_MAX 65536

/* ---- the place ---- */

/* Whether others can change it. The base may be root's, or, as /tmp, keep others from what is
 * not theirs. */
static bool is_of_others(const struct stat *st, bool own)
{
    bool of_root = !own && st->st_uid == 0;
    bool is_sticky = !own && (st->st_mode & S_ISVTX);
    return (st->st_uid != geteuid() && !of_root) || ((st->st_mode & 022) && !is_sticky);
}

/* One directory of the way; what others could change is no place for what root will read. */
static int enter(int at_fd, const char *name, bool own, struct error *err)
{
    struct stat st;
    _cleanup_close_ int fd = -EBADF;
    if (mkdirat(at_fd, name, 0700) < 0 && errno != EEXIST)
        return fail(err, ERROR_SYSTEM, errno, "cache for images: make %s: ", name);
    fd = openat(at_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | (own ? O_NOFOLLOW : 0));
    if (fd < 0 || fstat(fd, &st) < 0)
        return fail(err, ERROR_SYSTEM, errno, "cache for images: open %s: ", name);
    if (is_of_others(&st, own))
        return fail(err, ERROR_DENIED, EPERM,
                    "cache for images: %s belongs to somebody else, or others may write to it; "
                    "set XDG_CACHE_HOME to a directory of your own",
                    name);
    return TAKE_FD(fd);
}

/* By the user's own entry and not by HOME, which sudo may have kept from somebody else. */
static int cache_base(char *ret, size_t size, struct error *err)
{
    const char *given = getenv("XDG_CACHE_HOME");
    const struct passwd *user = getpwuid(geteuid());
    int n = given && *given == '/' ? snprintf(ret, size, "%s", given)
            : user                 ? snprintf(ret, size, "%s/.cache", user->pw_dir)
                                   : -1;
    return n < 0 || (size_t)n >= size
               ? fail(err, ERROR_NOT_FOUND, ENOENT,
                      "cache for images: your home directory is not known; set XDG_CACHE_HOME")
               : 0;
}

/* What of a reference a name may hold; the number keeps two apart that would be the same. */
static void name_of(const char *reference, char *ret, size_t size)
{
    uint64_t hash = 0xcbf29ce484222325; /* FNV-1a */
    size_t n = 0;
    for (const char *p = reference; *p; p++) {
        bool plain = (*p >= 'a' && *p <= 'z') || (*p >= '0' && *p <= '9') || *p == '-';
        hash = (hash ^ (unsigned char)*p) * 0x100000001b3;
        if (n < 80)
            ret[n++] = (char)(plain ? *p : '_');
    }
    (void)snprintf(ret + n, size - n, "-%016llx", (unsigned long long)hash);
}

/* What a skopeo that was killed was about to write. */
static void remove_unfinished(int dir_fd)
{
    _cleanup_closedir_ DIR *dir = dir_stream(dir_open_at(dir_fd, "."));
    struct dirent *entry = NULL;
    while (dir && dir_next(dir, &entry) > 0)
        if (text_after(entry->d_name, "oci-put-blob"))
            (void)unlinkat(dir_fd, entry->d_name, 0);
}

static int prepare(const char *reference, struct pull *pull, struct error *err)
{
    char base[PATH_MAX];
    char name[128];
    name_of(reference, name, sizeof(name));
    int r = cache_base(base, sizeof(base), err);
    if (r < 0)
        return r;
    _cleanup_close_ int cache = enter(AT_FDCWD, base, false, err);
    _cleanup_close_ int own = cache < 0 ? cache : enter(cache, "isolate", true, err);
    _cleanup_close_ int images = own < 0 ? own : enter(own, "images", true, err);
    _cleanup_close_ int dir = images < 0 ? images : enter(images, name, true, err);
    if (dir < 0)
        return dir;
    int n =
        snprintf(pull->directory, sizeof(pull->directory), "%s/isolate/images/%s", base, name);
    if (n < 0 || (size_t)n >= sizeof(pull->directory) || strchr(pull->directory, ':'))
        return fail(err, ERROR_INVALID, EINVAL,
                    "cache for images: the path %.200s is too long or has a \":\"; set "
                    "XDG_CACHE_HOME to another",
                    base);
    if (flock(dir, LOCK_EX | LOCK_NB) < 0)
        return fail(err, ERROR_BUSY, EBUSY,
                    "docker://%.200s: another isolate fetches it now; wait for that",
                    reference);
    remove_unfinished(dir);
    pull->lock_fd = TAKE_FD(dir);
    return 0;
}

/* ---- skopeo ---- */

/* It has the lock, too: where it outlives us, nobody clears up behind its back. */
static int start(const char *const *argv, int stderr_fd, int lock_fd, pid_t *ret_pid)
{
    posix_spawn_file_actions_t actions;
    int r = posix_spawn_file_actions_init(&actions);
    if (r != 0)
        return -r;
    /* its bars are no output of ours */
    r = posix_spawn_file_actions_adddup2(&actions, STDERR_FILENO, STDOUT_FILENO);
    if (r == 0)
        r = posix_spawn_file_actions_adddup2(&actions, stderr_fd, STDERR_FILENO);
    if (r == 0) /* which takes FD_CLOEXEC from it */
        r = posix_spawn_file_actions_adddup2(&actions, lock_fd, lock_fd);
    if (r == 0)
        r = posix_spawnp(ret_pid, argv[0], &actions, NULL, (char *const *)argv, environ);
    (void)posix_spawn_file_actions_destroy(&actions);
    return -r;
}

/* Its last line, without time and level; false where there is none. */
static bool last_words(int said_fd, struct buffer *ret)
{
    _cleanup_buffer_ struct buffer text = {0};
    off_t size = lseek(said_fd, 0, SEEK_END);
    if (size < 0 || lseek(said_fd, size > SAID_MAX ? size - SAID_MAX : 0, SEEK_SET) < 0 ||
        fd_read_all(said_fd, SAID_MAX, &text) < 0 || !text.data)
        return false;
    while (text.length > 0 && text.data[text.length - 1] == '\n')
        text.data[--text.length] = '\0';
    const char *line = strrchr(text.data, '\n');
    line = line ? line + 1 : text.data;
    const char *message = strstr(line, "msg=\"");
    line = message ? message + strlen("msg=\"") : line;
    size_t length = strlen(line);
    if (message && length > 0 && line[length - 1] == '"')
        length--;
    buffer_append(ret, line, length);
    buffer_append_char(ret, '\0');
    return !ret->failed && length > 0;
}

static const char *advice(const char *words)
{
    static const struct {
        const char *word;
        const char *advice;
    } known[] = {
        {"authentication required", "; log in first: skopeo login REGISTRY"},
        {"unauthorized", "; log in first: skopeo login REGISTRY"},
        {"manifest unknown", "; there is no image of that name and tag"},
        {"HTTP response to HTTPS",
         "; if it is to be trusted without TLS, say insecure = true in "
         "registries.conf(5)"},
        {"no space left", "; the cache is full: set XDG_CACHE_HOME to another place"},
        {"policy.json", "; see containers-policy.json(5)"},
    };
    for (size_t i = 0; i < ELEMENTS(known); i++)
        if (strstr(words, known[i].word))
            return known[i].advice;
    return "; what has been fetched is kept: try again";
}

/* Why, in words that end where it says so: what is too long loses its beginning. */
static int complain(const char *reference, int said_fd, struct error *err)
{
    char words[240];
    _cleanup_buffer_ struct buffer said = {0};
    const char *all = last_words(said_fd, &said) ? said.data : "ended without a word";
    size_t length = strlen(all);
    size_t most = sizeof(words) / 2;
    text_escape(words, sizeof(words), length > most ? all + length - most : all);
    return fail(err, ERROR_SYSTEM, EIO, "docker://%.120s: skopeo: %s%s%s", reference,
                length > most ? "…" : "", words, advice(all));
}

static int copy(const char *reference, const struct pull *pull, bool quiet, struct error *err)
{
    char from[1100];
    char to[PATH_MAX + 16];
    int status = 0;
    pid_t pid = -1;
    const char *argv[] = {"skopeo", "copy", from, to, quiet ? "--quiet" : NULL, NULL};
    int n = snprintf(from, sizeof(from), "docker://%s", reference);
    if (n < 0 || (size_t)n >= sizeof(from))
        return fail(err, ERROR_INVALID, ENAMETOOLONG, "docker://%.100s…: is too long",
                    reference);
    (void)snprintf(to, sizeof(to), "oci:%s:%s", pull->directory, PULL_TAG);
    _cleanup_close_ int said = memfd_create("skopeo-said", MFD_CLOEXEC);
    int r = said < 0 ? -errno : start(argv, said, pull->lock_fd, &pid);
    if (r == -ENOENT)
        return fail(
            err, ERROR_NOT_FOUND, ENOENT,
            "docker://%.200s: needs the program skopeo, which is not installed (package "
            "skopeo)",
            reference);
    if (r < 0)
        return fail(err, ERROR_SYSTEM, r, "start skopeo: ");
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return fail(err, ERROR_SYSTEM, errno, "wait for skopeo: ");
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return 0;
    return complain(reference, said, err);
}

static void forget(struct pull *pull)
{
    pull->lock_fd = fd_close(pull->lock_fd);
    pull->directory[0] = '\0';
}

int pull_image(const char *reference, bool quiet, struct pull *ret, struct error *err)
{
    *ret = (struct pull){.lock_fd = -EBADF};
    int r = *reference ? prepare(reference, ret, err)
                       : fail(err, ERROR_INVALID, EINVAL,
                              "docker:// needs the name of an image behind it");
    if (r == 0)
        r = copy(reference, ret, quiet, err);
    if (r < 0)
        forget(ret);
    return r;
}

void pull_end(struct pull *pull, bool is_used)
{
    if (is_used && *pull->directory && tree_remove(AT_FDCWD, pull->directory) < 0)
        log_warning("%s: cannot be removed; do so yourself", pull->directory);
    forget(pull);
}
