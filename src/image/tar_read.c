/* SPDX-License-Identifier: Apache-2.0 */
/* The loop over a tar archive's entries. Runs in the confined child of image_extract as root
 * without a way out; the archive is hostile. libarchive does the parsing, with only those
 * filters that are part of it; gzip goes through zlib, because libarchive does not check its
 * CRC. */
#include "image/beneath.h"
#include "image/progress.h"
#include "image/tar.h"

#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <string.h>
#include <zlib.h>

#define TAR_BLOCK   512
#define BLOCK_BYTES (128 * 1024)

/* Reads through zlib, which passes on unchanged what is not gzip. */
struct tar_input {
    gzFile file;
    z_off_t offset; /* of what is compressed, as far as it counts as progress */
    struct progress *progress;
    char block[BLOCK_BYTES];
};

static la_ssize_t input_read(struct archive *archive, void *data, const void **ret_block)
{
    struct tar_input *input = data;
    int n = gzread(input->file, input->block, sizeof(input->block));
    int error = Z_OK;
    const char *text = n <= 0 ? gzerror(input->file, &error) : NULL;
    if (n < 0 || (n == 0 && error != Z_OK && error != Z_STREAM_END)) {
        archive_set_error(archive, error == Z_ERRNO ? errno : EBADMSG, "%s",
                          error == Z_BUF_ERROR ? "it is cut off" : text);
        return -1;
    }
    z_off_t offset = gzoffset(input->file);
    progress_input(input->progress,
                   offset > input->offset ? (uint64_t)(offset - input->offset) : 0);
    input->offset = offset;
    *ret_block = input->block;
    return n;
}

int tar_damaged(struct archive *archive, struct error *err)
{
    const char *why = archive_error_string(archive);
    return fail(err, ERROR_INVALID, EBADMSG,
                "the archive is damaged, cut off or no tar archive (%.200s); fetch it again",
                why ? why : "no reason given");
}

static int input_open(struct archive *archive, struct tar_input *input, struct error *err)
{
    bool ready = archive_read_support_format_tar(archive) == ARCHIVE_OK &&
                 /* read to the very end, so that the last check sums are looked at */
                 archive_read_set_format_option(archive, "tar", "read_concatenated_archives",
                                                "1") == ARCHIVE_OK;
    if (!ready)
        return fail(err, ERROR_UNSUPPORTED, 0, "libarchive: %.200s",
                    archive_error_string(archive));
    (void)archive_read_support_filter_bzip2(archive);
    (void)archive_read_support_filter_compress(archive);
    (void)archive_read_support_filter_lzma(archive);
    (void)archive_read_support_filter_xz(archive);
    (void)archive_read_support_filter_zstd(archive);
    if (archive_read_open(archive, input, NULL, input_read, NULL) != ARCHIVE_OK)
        return tar_damaged(archive, err);
    return 0;
}

/* A warning about a name says that it is not ASCII and was left as it is (see confine.c);
 * one about attributes, that they are not what the archive holds. */
static int check_warning(struct archive *archive, struct error *err)
{
    const char *text = archive_error_string(archive);
    if (text && (strstr(text, "xattr") || strstr(text, "ACL") || strstr(text, "parse")))
        return fail(err, ERROR_INVALID, EILSEQ, "%.200s; repack the archive", text);
    return 0;
}

static int read_entries(struct archive *archive, struct tar_target *target, struct error *err)
{
    struct archive_entry *entry = NULL;
    for (;;) {
        int r = archive_read_next_header(archive, &entry);
        if (r == ARCHIVE_EOF)
            break;
        if (r != ARCHIVE_OK && r != ARCHIVE_WARN)
            return tar_damaged(archive, err);
        if (++target->entries > TAR_ENTRIES_MAX)
            return fail(err, ERROR_INVALID, E2BIG, "it has more than %llu entries",
                        (unsigned long long)TAR_ENTRIES_MAX);
        int e = r == ARCHIVE_WARN ? check_warning(archive, err) : 0;
        if (e == 0)
            e = tar_entry_make(target, archive, entry, err);
        if (e < 0) {
            const char *name = archive_entry_pathname(entry);
            return e == -EBADMSG
                       ? e
                       : error_prefix(err, e, "entry \"%.150s\": ", name ? name : "?");
        }
        progress_add(target->progress, 1, 0);
    }
    /* The end is marked by blocks of zeros. Where they lack the archive was cut between two
     * entries, which libarchive takes for an end. Some who make layers leave them out; of these
     * the digests say that nothing is missing. */
    if (!target->layered &&
        archive_filter_bytes(archive, 0) < archive_read_header_position(archive) + 512)
        return fail(err, ERROR_INVALID, EBADMSG,
                    "the archive is cut off: its end mark is missing; fetch it again");
    return 0;
}

int tar_read(int archive_fd, const char *what, int root_fd, struct progress *progress,
             struct error *err)
{
    struct tar_target target = TAR_TARGET_NEW(root_fd, progress);
    struct tar_input *input = calloc(1, sizeof(*input));
    struct archive *archive = archive_read_new();
    int copy = fcntl(archive_fd, F_DUPFD_CLOEXEC, 3);
    int r = 0;
    if (input && copy >= 0)
        input->file = gzdopen(copy, "rb");
    if (!input || !archive || !input->file) {
        fd_close(copy);
        r = fail(err, ERROR_SYSTEM, ENOMEM, "prepare: ");
    } else {
        input->progress = progress;
        (void)gzbuffer(input->file, BLOCK_BYTES);
        xattrs_remove_others(root_fd, &(struct xattrs){0});
        r = input_open(archive, input, err);
    }
    if (r == 0)
        r = read_entries(archive, &target, err);
    if (r == 0)
        r = tar_target_finish(&target, err);
    if (archive)
        (void)archive_read_free(archive);
    if (input && input->file)
        (void)gzclose_r(input->file);
    free(input);
    tar_target_clear(&target);
    return r < 0 ? error_prefix(err, r, "unpack %.150s: ", what) : 0;
}

struct layer_input {
    int fd;
    size_t used; /* of the block of 512 bytes that came last */
    char block[BLOCK_BYTES];
};

/* Some who make layers leave out what fills the last block; the digest says that it was so. */
static la_ssize_t pad(struct layer_input *input)
{
    size_t missing = input->used > 0 ? TAR_BLOCK - input->used : 0;
    memset(input->block, 0, missing);
    input->used = 0;
    return (la_ssize_t)missing;
}

static la_ssize_t layer_read(struct archive *archive, void *data, const void **ret_block)
{
    struct layer_input *input = data;
    ssize_t n = 0;
    do
        n = read(input->fd, input->block, sizeof(input->block));
    while (n < 0 && errno == EINTR);
    if (n < 0)
        archive_set_error(archive, errno, "it cannot be read");
    else
        input->used = n > 0 ? (input->used + (size_t)n) % TAR_BLOCK : input->used;
    *ret_block = input->block;
    return n == 0 ? pad(input) : n;
}

static int layer_open(struct archive *archive, struct layer_input *input, struct error *err)
{
    if (archive_read_support_format_tar(archive) != ARCHIVE_OK ||
        archive_read_support_format_empty(archive) != ARCHIVE_OK)
        return fail(err, ERROR_UNSUPPORTED, 0, "libarchive: %.200s",
                    archive_error_string(archive));
    return archive_read_open(archive, input, NULL, layer_read, NULL) == ARCHIVE_OK
               ? 0
               : tar_damaged(archive, err);
}

/* What is behind the end mark belongs to what was signed, and to nothing else. */
static int drain(struct layer_input *input)
{
    ssize_t n = 0;
    do
        n = read(input->fd, input->block, sizeof(input->block));
    while (n > 0 || (n < 0 && errno == EINTR));
    return n < 0 ? -errno : 0;
}

int tar_read_layer(int stream_fd, struct tar_target *target, struct error *err)
{
    struct layer_input *input = calloc(1, sizeof(*input));
    struct archive *archive = archive_read_new();
    int r = input && archive ? 0 : fail(err, ERROR_SYSTEM, ENOMEM, "prepare: ");
    if (r == 0) {
        input->fd = stream_fd;
        r = layer_open(archive, input, err);
    }
    if (r == 0)
        r = read_entries(archive, target, err);
    if (r == 0) {
        r = drain(input);
        r = r < 0 ? fail(err, ERROR_SYSTEM, r, "read to its end: ") : 0;
    }
    if (archive)
        (void)archive_read_free(archive);
    free(input);
    return r;
}
