/* SPDX-License-Identifier: Apache-2.0 */
/* isolate-image: fills, copies and hashes the directories that templates are made of. Started
 * by isolated as root, in a mount and pid namespace and a cgroup of its own, so that killing it
 * kills all below it. SOURCE comes from an administrator; what it leads to is hostile. Exit
 * status 0, or 1 after one line on stderr. */
#include "base/log.h"
#include "base/parse.h"
#include "base/text.h"
#include "image/image.h"
#include "image/progress.h"
#include "sys/fd.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>

#define USAGE                                                                                  \
    "usage: isolate-image import SOURCE FD | isolate-image hash FD | isolate-image copy FD FD"

static int directory_argument(const char *text, int *ret_fd, struct error *err)
{
    uint32_t number = 0;
    struct stat st;
    int r = parse_u32(text, 3, INT_MAX, &number, "FD", err);
    if (r < 0)
        return r;
    if (fstat((int)number, &st) < 0)
        return fail(err, ERROR_INVALID, errno, "FD %u: ", number);
    if (!S_ISDIR(st.st_mode))
        return fail(err, ERROR_INVALID, ENOTDIR, "FD %u: ", number);
    *ret_fd = (int)number;
    return 0;
}

static int run_hash(int fd, struct progress *progress, struct error *err)
{
    char text[IMAGE_HASH_TEXT + 1];
    progress_begin(progress, "hash");
    int r = image_hash(fd, text, progress, err);
    if (r < 0)
        return r;
    text[IMAGE_HASH_TEXT - 1] = '\n';
    progress_clear(progress); /* stdout may be the same terminal */
    r = fd_write_all(STDOUT_FILENO, text, IMAGE_HASH_TEXT);
    return r < 0 ? fail(err, ERROR_SYSTEM, r, "write the hash to stdout: ") : 0;
}

static int run_copy(int from_fd, int to_fd, struct progress *progress, struct error *err)
{
    progress_begin(progress, "copy");
    int r = image_check_empty(to_fd, err);
    return r < 0 ? r : image_copy(from_fd, to_fd, progress, err);
}

static int run(int argc, char **argv, struct progress *progress, struct error *err)
{
    bool import = argc == 4 && streq(argv[1], "import");
    bool copy = argc == 4 && streq(argv[1], "copy");
    bool hash = argc == 3 && streq(argv[1], "hash");
    int first = -EBADF;
    int second = -EBADF;
    int r = 0;
    if (!import && !copy && !hash)
        return fail(err, ERROR_INVALID, 0, USAGE);
    if (copy || hash)
        r = directory_argument(argv[2], &first, err);
    if (r == 0 && (copy || import))
        r = directory_argument(argv[3], &second, err);
    if (r < 0)
        return r;
    if (hash)
        return run_hash(first, progress, err);
    return copy ? run_copy(first, second, progress, err)
                : image_import(argv[2], second, progress, err);
}

int main(int argc, char **argv)
{
    struct error err = {0};
    struct progress progress;
    /* programs started from here get none of the caller's fds */
    if (fd_open_missing_stdio() < 0 || close_range(3, ~0U, CLOSE_RANGE_CLOEXEC) < 0)
        return 1;
    (void)umask(022);
    log_set_quiet(getenv("ISOLATE_QUIET") != NULL);
    progress_init(&progress);
    int r = run(argc, argv, &progress, &err);
    progress_clear(&progress);
    /* isolated reads our stdout and answers its caller with what it finds there */
    if (r < 0 && getenv("ISOLATE_WORKER"))
        (void)printf("%d %s\n", err.errnum, err.text);
    else if (r < 0)
        log_error("%s", err.text);
    return r < 0 ? 1 : 0;
}
