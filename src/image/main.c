/* SPDX-License-Identifier: Apache-2.0 */
/* isolate-image: fills, copies and hashes the directories that templates are made of. Started
 * by isolated as root, in a mount and pid namespace and a cgroup of its own, so that killing it
 * kills all below it. SOURCE comes from an administrator; what it leads to is hostile. Exit
 * status 0, or 1 after one line on stderr. */
#include "base/log.h"
#include "base/parse.h"
#include "base/text.h"
#include "image/export.h"
#include "image/image.h"
#include "image/progress.h"
#include "image/send.h"
#include "image/take.h"
#include "sys/fd.h"

#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <sys/stat.h>

#define USAGE                                                                                  \
    "usage: isolate-image import SOURCE FD | isolate-image import-layers SOURCE FD FD | "      \
    "isolate-image hash FD | isolate-image copy FD "                                           \
    "FD | isolate-image export-tar FD FD | isolate-image export-oci FD FD TAG CREATED "        \
    "DEFAULTS | "                                                                              \
    "isolate-image send FD FD FD|- tar|btrfs ABOUT | isolate-image receive-header FD | "       \
    "isolate-image receive FD FD tree|layer|btrfs HEADER | isolate-image send-native FD "      \
    "HEADER PROGRAM… | "                                                                     \
    "isolate-image receive-native FD FD FD HEADER | isolate-image take NAME FD MASK"

static int fd_argument(const char *text, struct stat *ret, int *ret_fd, struct error *err)
{
    uint32_t number = 0;
    int r = parse_u32(text, 3, INT_MAX, &number, "FD", err);
    if (r < 0)
        return r;
    if (fstat((int)number, ret) < 0)
        return fail(err, ERROR_INVALID, errno, "FD %u: ", number);
    *ret_fd = (int)number;
    return 0;
}

static int directory_argument(const char *text, int *ret_fd, struct error *err)
{
    struct stat st;
    int r = fd_argument(text, &st, ret_fd, err);
    if (r == 0 && !S_ISDIR(st.st_mode))
        return fail(err, ERROR_INVALID, ENOTDIR, "FD %d: ", *ret_fd);
    return r;
}

static int run_hash(char **argv, struct progress *progress, struct error *err)
{
    char text[IMAGE_HASH_TEXT + 1];
    int fd = -EBADF;
    int r = directory_argument(argv[0], &fd, err);
    if (r < 0)
        return r;
    progress_begin(progress, "hash");
    image_expect(fd, progress);
    r = image_hash(fd, text, progress, err);
    if (r < 0)
        return r;
    text[IMAGE_HASH_TEXT - 1] = '\n';
    progress_clear(progress); /* stdout may be the same terminal */
    r = fd_write_all(STDOUT_FILENO, text, IMAGE_HASH_TEXT);
    return r < 0 ? fail(err, ERROR_SYSTEM, r, "write the hash to stdout: ") : 0;
}

static int run_copy(char **argv, struct progress *progress, struct error *err)
{
    int from = -EBADF;
    int to = -EBADF;
    int r = directory_argument(argv[0], &from, err);
    if (r == 0)
        r = directory_argument(argv[1], &to, err);
    if (r < 0)
        return r;
    progress_begin(progress, "copy");
    r = image_check_empty(to, err);
    return r < 0 ? r : image_copy(from, to, progress, err);
}

/* What an image says of its commands is for isolated, or for who tries this by hand. */
static int run_import(char **argv, struct progress *progress, struct error *err)
{
    struct stat st;
    int target = -EBADF;
    int layers = -EBADF;
    _cleanup_buffer_ struct buffer defaults = {0};
    int r = directory_argument(argv[1], &target, err);
    if (r == 0 && argv[2])
        r = fd_argument(argv[2], &st, &layers, err);
    if (r == 0)
        r = image_import(argv[0], target, layers, progress, &defaults, err);
    if (r < 0 || defaults.length == 0)
        return r;
    buffer_append_char(&defaults, '\n');
    progress_clear(progress);
    r = defaults.failed ? -ENOMEM : fd_write_all(STDOUT_FILENO, defaults.data, defaults.length);
    return r < 0 ? fail(err, ERROR_SYSTEM, r, "write the image's defaults to stdout: ") : 0;
}

static int run_export_tar(char **argv, struct progress *progress, struct error *err)
{
    struct stat st;
    int root = -EBADF;
    int out = -EBADF;
    (void)signal(SIGPIPE, SIG_IGN); /* who reads may end */
    int r = directory_argument(argv[0], &root, err);
    if (r == 0)
        r = fd_argument(argv[1], &st, &out, err);
    return r < 0 ? r : image_export_tar(root, out, progress, err);
}

static int run_export_oci(char **argv, struct progress *progress, struct error *err)
{
    uint32_t created = 0;
    int root = -EBADF;
    int layout = -EBADF;
    int r = directory_argument(argv[0], &root, err);
    if (r == 0)
        r = directory_argument(argv[1], &layout, err);
    if (r == 0)
        r = parse_u32(argv[3], 0, UINT32_MAX, &created, "CREATED", err);
    const struct image_oci about = {.tag = argv[2], .created = created, .defaults = argv[4]};
    return r < 0 ? r : image_export_oci(root, layout, &about, progress, err);
}

static int run_send(char **argv, struct progress *progress, struct error *err)
{
    struct stat st;
    struct image_sending sending = {
        .base_fd = -EBADF, .is_btrfs = streq(argv[3], "btrfs"), .about = argv[4]};
    (void)signal(SIGPIPE, SIG_IGN); /* who reads may end */
    int r = fd_argument(argv[0], &st, &sending.out_fd, err);
    if (r == 0)
        r = directory_argument(argv[1], &sending.root_fd, err);
    if (r == 0 && !streq(argv[2], "-"))
        r = directory_argument(argv[2], &sending.base_fd, err);
    return r < 0 ? r : image_send(&sending, progress, err);
}

static int run_receive_header(char **argv, struct progress *progress, struct error *err)
{
    struct stat st;
    int stream = -EBADF;
    int r = fd_argument(argv[0], &st, &stream, err);
    return r < 0 ? r : image_receive_header(stream, err);
}

static int run_receive(char **argv, struct progress *progress, struct error *err)
{
    struct stat st;
    struct image_receiving receiving = {.is_layer = streq(argv[2], "layer"), .header = argv[3]};
    struct image_native native = {.is_btrfs = streq(argv[2], "btrfs"), .header = argv[3]};
    int r = fd_argument(argv[0], &st, &receiving.stream_fd, err);
    if (r == 0)
        r = directory_argument(argv[1], &receiving.tree_fd, err);
    if (r == 0 && !receiving.is_layer && !native.is_btrfs && !streq(argv[2], "tree"))
        r = fail(err, ERROR_INVALID, 0, "receive into tree, layer or btrfs, not \"%.40s\"",
                 argv[2]);
    if (r < 0 || !native.is_btrfs)
        return r < 0 ? r : image_receive(&receiving, progress, err);
    native.stream_fd = receiving.stream_fd;
    native.dir_fd = receiving.tree_fd;
    return image_receive_native(&native, progress, err);
}

static int run_send_native(char **argv, struct progress *progress, struct error *err)
{
    struct stat st;
    int out = -EBADF;
    (void)signal(SIGPIPE, SIG_IGN); /* who reads may end */
    int r = fd_argument(argv[0], &st, &out, err);
    return r < 0
               ? r
               : image_send_native(out, argv[1], (const char *const *)argv + 2, progress, err);
}

static int run_receive_native(char **argv, struct progress *progress, struct error *err)
{
    struct stat st;
    struct image_native native = {.header = argv[3]};
    int r = fd_argument(argv[0], &st, &native.stream_fd, err);
    if (r == 0)
        r = fd_argument(argv[1], &st, &native.payload_fd, err);
    if (r == 0)
        r = directory_argument(argv[2], &native.dir_fd, err);
    return r < 0 ? r : image_receive_native(&native, progress, err);
}

/* The only one that callers start, as themselves. */
static int run_take(char **argv, struct progress *progress, struct error *err)
{
    uint32_t mask = 0;
    int fd = -EBADF;
    int r = directory_argument(argv[1], &fd, err);
    if (r == 0)
        r = parse_u32(argv[2], 0, 0777, &mask, "MASK", err);
    return r < 0 ? r : image_take(STDIN_FILENO, fd, argv[0], (mode_t)mask, err);
}

static int run(int argc, char **argv, struct progress *progress, struct error *err)
{
    static const struct {
        const char *name;
        int arguments; /* of send-native at least so many */
        int (*run)(char **argv, struct progress *progress, struct error *err);
    } jobs[] = {
        {"import", 2, run_import},
        {"import-layers", 3, run_import},
        {"hash", 1, run_hash},
        {"copy", 2, run_copy},
        {"export-tar", 2, run_export_tar},
        {"export-oci", 5, run_export_oci},
        {"send", 5, run_send},
        {"receive-header", 1, run_receive_header},
        {"receive", 4, run_receive},
        {"send-native", 3, run_send_native},
        {"receive-native", 4, run_receive_native},
        {"take", 3, run_take},
    };
    for (size_t i = 0; i < ELEMENTS(jobs); i++)
        if (argc > 1 && streq(argv[1], jobs[i].name) &&
            (argc == 2 + jobs[i].arguments ||
             (argc > 2 + jobs[i].arguments && jobs[i].run == run_send_native)))
            return jobs[i].run(argv + 2, progress, err);
    return fail(err, ERROR_INVALID, 0, USAGE);
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
