/* SPDX-License-Identifier: Apache-2.0 */
/* See take.h. Runs as whoever called `isolate cp`, perhaps as root; every field of the archive
 * is hostile. libarchive reads it and writes the files: it follows no symlink then, nor "..".
 */
#include "image/take.h"

#include "base/log.h"
#include "base/text.h"
#include "image/beneath.h"
#include "image/confine.h"
#include "image/tar.h"

#include <archive.h>
#include <archive_entry.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BLOCK_BYTES 65536
#define WRITE_FLAGS                                                                            \
    (ARCHIVE_EXTRACT_TIME | ARCHIVE_EXTRACT_SECURE_SYMLINKS |                                  \
     ARCHIVE_EXTRACT_SECURE_NODOTDOT | ARCHIVE_EXTRACT_SECURE_NOABSOLUTEPATHS)

struct taking {
    struct archive *from;
    struct archive *to;
    const char *name;
    unsigned left_out;
};

static bool is_below(const char *path, const char *name)
{
    size_t n = strlen(name);
    return streq(name, ".") ||
           (strncmp(path, name, n) == 0 && (path[n] == '\0' || path[n] == '/'));
}

/* In its only form; refused where it is not what was asked for. */
static int read_path(const struct taking *taking, const char *text, char **ret,
                     struct error *err)
{
    _cleanup_free_ char *path = malloc(text ? strlen(text) + 1 : 1);
    if (!path)
        return fail(err, ERROR_SYSTEM, ENOMEM, "read a name: ");
    int r = text ? beneath_normalize(text, path, err)
                 : fail(err, ERROR_INVALID, EILSEQ, "a name cannot be read");
    if (r == 0 && !is_below(path, taking->name))
        r = fail(err, ERROR_DENIED, EPERM,
                 "the sandbox sends \"%.200s\", and \"%.200s\" was asked for", path,
                 taking->name);
    if (r == 0)
        *ret = TAKE_PTR(path);
    return r;
}

static int write_failed(const struct taking *taking, const char *path, struct error *err)
{
    const char *why = archive_error_string(taking->to);
    return fail(err, ERROR_SYSTEM, archive_errno(taking->to),
                "write \"%.200s\" (%.200s): ", path, why ? why : "no reason given");
}

static int write_content(const struct taking *taking, const char *path, struct error *err)
{
    const void *block = NULL;
    size_t length = 0;
    la_int64_t offset = 0;
    for (;;) {
        int r = archive_read_data_block(taking->from, &block, &length, &offset);
        if (r == ARCHIVE_EOF)
            return 0;
        if (r != ARCHIVE_OK)
            return tar_damaged(taking->from, err);
        if (archive_write_data_block(taking->to, block, length, offset) < ARCHIVE_WARN)
            return write_failed(taking, path, err);
    }
}

static bool can_be_made(struct archive_entry *entry)
{
    mode_t type = archive_entry_filetype(entry);
    return archive_entry_hardlink(entry) || type == AE_IFREG || type == AE_IFDIR ||
           type == AE_IFLNK;
}

static int take_entry(struct taking *taking, struct archive_entry *entry, struct error *err)
{
    _cleanup_free_ char *path = NULL;
    _cleanup_free_ char *target = NULL;
    int r = read_path(taking, archive_entry_pathname(entry), &path, err);
    if (r == 0 && archive_entry_hardlink(entry))
        r = read_path(taking, archive_entry_hardlink(entry), &target, err);
    if (r < 0 || !*path) /* the directory itself */
        return r;
    if (!can_be_made(entry)) {
        log_error("cp: \"%.200s\" is left out: a device, FIFO or socket", path);
        taking->left_out++;
        return 0;
    }
    archive_entry_copy_pathname(entry, path);
    if (target)
        archive_entry_copy_hardlink(entry, target);
    archive_entry_set_perm(entry, archive_entry_perm(entry) & 0777);
    if (archive_write_header(taking->to, entry) < ARCHIVE_WARN)
        return write_failed(taking, path, err);
    r = archive_entry_size(entry) > 0 ? write_content(taking, path, err) : 0;
    if (r == 0 && archive_write_finish_entry(taking->to) < ARCHIVE_WARN)
        r = write_failed(taking, path, err);
    return r;
}

static int take_entries(struct taking *taking, struct error *err)
{
    struct archive_entry *entry = NULL;
    int r = 0;
    while (r == 0) {
        int next = archive_read_next_header(taking->from, &entry);
        if (next == ARCHIVE_EOF)
            break;
        r = next < ARCHIVE_WARN ? tar_damaged(taking->from, err)
                                : take_entry(taking, entry, err);
    }
    /* the modes and times of directories */
    if (archive_write_close(taking->to) < ARCHIVE_WARN && r == 0)
        r = write_failed(taking, taking->name, err);
    if (r == 0 && taking->left_out > 0)
        r = fail(err, ERROR_UNSUPPORTED, 0, "%u devices, FIFOs or sockets are left out",
                 taking->left_out);
    return r;
}

/* Who sends may have filled its last block, and is not to see an error. */
static void drain(int fd)
{
    char block[BLOCK_BYTES];
    ssize_t n = 0;
    do
        n = read(fd, block, sizeof(block));
    while (n > 0 || (n < 0 && errno == EINTR));
}

/* The format "empty" is nothing at all: whoever was to send says why. */
static int open_archives(struct taking *taking, int stream_fd, struct error *err)
{
    if (!taking->from || !taking->to)
        return fail(err, ERROR_SYSTEM, ENOMEM, "prepare: ");
    if (archive_read_support_format_tar(taking->from) != ARCHIVE_OK ||
        archive_read_support_format_empty(taking->from) != ARCHIVE_OK ||
        archive_write_disk_set_options(taking->to, WRITE_FLAGS) != ARCHIVE_OK)
        return fail(err, ERROR_UNSUPPORTED, 0, "libarchive: %.200s",
                    archive_error_string(taking->from));
    return archive_read_open_fd(taking->from, stream_fd, BLOCK_BYTES) == ARCHIVE_OK
               ? 0
               : tar_damaged(taking->from, err);
}

int image_take(int stream_fd, int directory_fd, const char *name, mode_t mask,
               struct error *err)
{
    if (fchdir(directory_fd) < 0)
        return fail(err, ERROR_SYSTEM, errno, "the directory to copy to: ");
    int r = confine_caller(err);
    if (r < 0)
        return r;
    (void)umask(mask); /* which libarchive reads when the writer is made */
    struct taking taking = {
        .from = archive_read_new(), .to = archive_write_disk_new(), .name = name};
    r = open_archives(&taking, stream_fd, err);
    if (r == 0)
        r = take_entries(&taking, err);
    if (r == 0)
        drain(stream_fd);
    (void)archive_read_free(taking.from);
    (void)archive_write_free(taking.to);
    return r < 0 ? error_prefix(err, r, "cp: ") : 0;
}
