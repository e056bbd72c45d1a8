/* SPDX-License-Identifier: Apache-2.0 */
/* A reader: one file of an image becomes a stream of bytes, and has the digest that it should
 * have. Runs in a confined child as root without capabilities, which may open nothing;
 * everything that it reads is hostile. libarchive decompresses, and finds files in archives. */
#include "base/text.h"
#include "image/beneath.h"
#include "image/digest.h"
#include "image/oci.h"
#include "image/progress.h"
#include "sys/fd.h"

#include <archive.h>
#include <archive_entry.h>
#include <string.h>
#include <sys/stat.h>

#define BLOCK_BYTES       (128 * 1024)
#define ARCHIVE_FILES_MAX 100000
#define ARCHIVE_LINKS_MAX 4
#define BOMB_BYTES        (UINT64_C(1) << 30) /* below, nothing is said to be one */
#define BOMB_RATIO        500

struct stream {
    const struct oci_ask *ask;
    int file_fd;
    int pipe_fd;
    uint64_t offset;       /* in the file */
    struct archive *outer; /* the archive that holds it; NULL: it is the file */
    struct progress *progress;
    struct sha256_ctx stored;
    uint64_t stored_bytes;
    uint64_t content_bytes;
    struct error *err;
    char outer_block[BLOCK_BYTES];
    char block[BLOCK_BYTES];
};

static const char *name_of(const struct oci_ask *ask)
{
    return *ask->name ? ask->name : ask->digest;
}

static ssize_t file_read(struct stream *stream, char *block)
{
    ssize_t n = 0;
    do
        n = pread(stream->file_fd, block, BLOCK_BYTES, (off_t)stream->offset);
    while (n < 0 && errno == EINTR);
    if (n > 0)
        stream->offset += (uint64_t)n;
    return n < 0 ? -errno : n;
}

/* ---- a file in an archive ---- */

static la_ssize_t outer_read(struct archive *archive, void *data, const void **ret_block)
{
    struct stream *stream = data;
    ssize_t n = file_read(stream, stream->outer_block);
    if (n < 0)
        archive_set_error(archive, (int)-n, "it cannot be read");
    *ret_block = stream->outer_block;
    return n < 0 ? -1 : n;
}

/* Behind the end there is nothing to be read, as if it had been cut off. */
static la_int64_t outer_skip(struct archive *archive, void *data, la_int64_t request)
{
    struct stream *stream = data;
    (void)archive;
    stream->offset += (uint64_t)request;
    return request;
}

static int outer_failed(struct stream *stream)
{
    const char *why = stream->outer ? archive_error_string(stream->outer) : NULL;
    return fail(stream->err, ERROR_INVALID, EBADMSG,
                "the archive is damaged, cut off or no tar archive (%.200s); make it anew",
                why ? why : "no reason given");
}

static int outer_open(struct stream *stream)
{
    if (stream->outer)
        (void)archive_read_free(stream->outer);
    stream->offset = 0;
    stream->outer = archive_read_new();
    if (!stream->outer)
        return fail(stream->err, ERROR_SYSTEM, ENOMEM, "read the archive: ");
    bool ready = archive_read_support_format_tar(stream->outer) == ARCHIVE_OK &&
                 archive_read_set_read_callback(stream->outer, outer_read) == ARCHIVE_OK &&
                 archive_read_set_skip_callback(stream->outer, outer_skip) == ARCHIVE_OK &&
                 archive_read_set_callback_data(stream->outer, stream) == ARCHIVE_OK &&
                 archive_read_open1(stream->outer) == ARCHIVE_OK;
    return ready ? 0 : outer_failed(stream);
}

/* What a link in the directory of `name` means, without a look at any other link. */
static int resolve_link(const char *name, const char *link, char ret[static OCI_NAME_SIZE])
{
    const char *slash = strrchr(name, '/');
    size_t length = slash ? (size_t)(slash - name) : 0;
    char path[OCI_NAME_SIZE];
    (void)snprintf(path, sizeof(path), "%.*s", (int)length, name);
    for (const char *p = link; *p; p += strspn(p, "/")) {
        size_t n = strcspn(p, "/");
        if (n == 2 && memcmp(p, "..", 2) == 0) {
            char *last = strrchr(path, '/');
            if (length == 0)
                return -EPERM;
            length = last ? (size_t)(last - path) : 0;
            path[length] = '\0';
        } else if (!(n == 1 && *p == '.')) {
            int added = snprintf(path + length, sizeof(path) - length, "%s%.*s",
                                 length > 0 ? "/" : "", (int)n, p);
            if (added < 0 || (size_t)added >= sizeof(path) - length)
                return -ENAMETOOLONG;
            length += (size_t)added;
        }
        p += n;
    }
    memcpy(ret, path, sizeof(path));
    return 0;
}

static bool entry_is(struct archive_entry *entry, const char *wanted)
{
    char path[OCI_NAME_SIZE];
    const char *name = archive_entry_pathname(entry);
    return name && strlen(name) < sizeof(path) && beneath_normalize(name, path, NULL) == 0 &&
           streq(path, wanted);
}

/* Goes to the entry of that name: 0, or 1 with the name of the one that it is a link of. */
static int outer_seek(struct stream *stream, char name[static OCI_NAME_SIZE])
{
    struct archive_entry *entry = NULL;
    int r = outer_open(stream);
    for (unsigned n = 0; r == 0; n++) {
        int next = archive_read_next_header(stream->outer, &entry);
        if (next == ARCHIVE_EOF)
            return fail(stream->err, ERROR_NOT_FOUND, ENOENT,
                        "the archive has no file \"%.200s\"; it was not made by `docker save`, "
                        "or is cut off",
                        name);
        if (next != ARCHIVE_OK && next != ARCHIVE_WARN)
            return outer_failed(stream);
        if (n > ARCHIVE_FILES_MAX)
            return fail(stream->err, ERROR_INVALID, E2BIG, "the archive has more than %d files",
                        ARCHIVE_FILES_MAX);
        if (!entry_is(entry, name))
            continue;
        const char *hard = archive_entry_hardlink(entry);
        const char *link = hard ? hard : archive_entry_symlink(entry);
        if (link && resolve_link(hard ? "" : name, link, name) == 0)
            return 1;
        return archive_entry_filetype(entry) == AE_IFREG && !link
                   ? 0
                   : fail(stream->err, ERROR_INVALID, EINVAL,
                          "\"%.200s\" in the archive is no regular file", name);
    }
    return r;
}

/* An archive of docker's is little else than its layers. */
static void expect_all(struct stream *stream)
{
    struct stat st;
    if (stream->ask->is_layer && fstat(stream->file_fd, &st) == 0)
        progress_expect(stream->progress, (uint64_t)st.st_size);
}

static int outer_find(struct stream *stream)
{
    char name[OCI_NAME_SIZE];
    memcpy(name, stream->ask->name, sizeof(name));
    int r = 1;
    for (int links = 0; r > 0 && links <= ARCHIVE_LINKS_MAX; links++)
        r = outer_seek(stream, name);
    if (r == 0)
        expect_all(stream);
    return r > 0 ? fail(stream->err, ERROR_INVALID, ELOOP,
                        "\"%.200s\" in the archive is a link of links", stream->ask->name)
                 : r;
}

static ssize_t outer_block(struct stream *stream, const void **ret)
{
    size_t n = 0;
    la_int64_t offset = 0;
    do {
        int r = archive_read_data_block(stream->outer, ret, &n, &offset);
        if (r == ARCHIVE_EOF)
            return 0;
        if (r != ARCHIVE_OK)
            return outer_failed(stream);
        if (offset < 0 || (uint64_t)offset != stream->stored_bytes)
            return fail(stream->err, ERROR_INVALID, EBADMSG,
                        "\"%.200s\" in the archive has holes; make it anew", stream->ask->name);
    } while (n == 0);
    return (ssize_t)n;
}

/* ---- what is stored ---- */

/* The next bytes of it, which all go through its digest: their number, 0 at the end. */
static ssize_t stored_read(struct stream *stream, const void **ret)
{
    ssize_t n = 0;
    if (stream->outer) {
        n = outer_block(stream, ret);
    } else {
        n = file_read(stream, stream->block);
        *ret = stream->block;
        if (n < 0)
            return fail(stream->err, ERROR_SYSTEM, (int)n, "%s: read: ", name_of(stream->ask));
    }
    if (n > 0) {
        sha256_update(&stream->stored, (size_t)n, *ret);
        stream->stored_bytes += (uint64_t)n;
        if (stream->ask->is_layer)
            progress_input(stream->progress, (uint64_t)n);
    }
    return n;
}

static int put(struct stream *stream, const void *data, size_t n)
{
    int r = fd_write_all(stream->pipe_fd, data, n);
    return r < 0 ? fail(stream->err, ERROR_SYSTEM, r,
                        "%s: write what is in it to the storage: ", name_of(stream->ask))
                 : 0;
}

static int copy_stored(struct stream *stream)
{
    const void *data = NULL;
    ssize_t n = 0;
    int r = 0;
    while (r == 0 && (n = stored_read(stream, &data)) > 0) {
        if (stream->stored_bytes > stream->ask->size)
            return fail(stream->err, ERROR_INVALID, EFBIG, "%s: has more than %llu bytes",
                        name_of(stream->ask), (unsigned long long)stream->ask->size);
        r = put(stream, data, (size_t)n);
    }
    return n < 0 ? (int)n : r;
}

static la_ssize_t inner_read(struct archive *archive, void *data, const void **ret_block)
{
    ssize_t n = stored_read(data, ret_block);
    if (n < 0)
        archive_set_error(archive, (int)-n, "it cannot be read");
    return n < 0 ? -1 : n;
}

static int inner_failed(struct stream *stream, struct archive *inner)
{
    const char *why = archive_error_string(inner);
    if (stream->err->code != ERROR_NONE) /* of what is below */
        return -stream->err->errnum;
    return fail(stream->err, ERROR_INVALID, EBADMSG,
                "%s: is damaged, cut off or not compressed as it should be (%.150s); fetch the "
                "image again",
                name_of(stream->ask), why ? why : "no reason given");
}

static int decompress_block(struct stream *stream, const void *data, size_t n)
{
    stream->content_bytes += n;
    if (stream->content_bytes > BOMB_BYTES &&
        stream->content_bytes / BOMB_RATIO > stream->stored_bytes)
        return fail(stream->err, ERROR_INVALID, E2BIG,
                    "%s: unpacks to more than %d times its size and is no honest layer",
                    name_of(stream->ask), BOMB_RATIO);
    return put(stream, data, n);
}

static int decompress_from(struct stream *stream, struct archive *inner)
{
    struct archive_entry *entry = NULL;
    const void *data = NULL;
    size_t n = 0;
    la_int64_t offset = 0;
    (void)archive_read_support_filter_gzip(inner);
    (void)archive_read_support_filter_bzip2(inner);
    (void)archive_read_support_filter_xz(inner);
    (void)archive_read_support_filter_zstd(inner);
    if (archive_read_support_format_raw(inner) != ARCHIVE_OK ||
        archive_read_support_format_empty(inner) != ARCHIVE_OK ||
        archive_read_open(inner, stream, NULL, inner_read, NULL) != ARCHIVE_OK)
        return inner_failed(stream, inner);
    int next = archive_read_next_header(inner, &entry);
    bool is_plain = archive_filter_count(inner) == 1;
    if (next == ARCHIVE_EOF || (stream->ask->kind == OCI_ASK_ARCHIVE && is_plain))
        return 0;
    int r = next == ARCHIVE_OK ? 0 : inner_failed(stream, inner);
    while (r == 0) {
        next = archive_read_data_block(inner, &data, &n, &offset);
        if (next == ARCHIVE_EOF)
            break;
        r = next == ARCHIVE_OK ? decompress_block(stream, data, n)
                               : inner_failed(stream, inner);
    }
    return r;
}

static int decompress(struct stream *stream)
{
    const void *data = NULL;
    struct archive *inner = archive_read_new();
    if (!inner)
        return fail(stream->err, ERROR_SYSTEM, ENOMEM, "read a layer: ");
    int r = decompress_from(stream, inner);
    (void)archive_read_free(inner);
    /* the digest is of all of it; an archive has none */
    ssize_t n = stream->ask->kind == OCI_ASK_ARCHIVE ? 0 : 1;
    while (r == 0 && n > 0)
        n = stored_read(stream, &data);
    return n < 0 ? (int)n : r;
}

/* ---- what it should be ---- */

static int check(struct stream *stream)
{
    const struct oci_ask *ask = stream->ask;
    char digest[DIGEST_TEXT];
    if (ask->kind == OCI_ASK_BLOB && ask->size > 0 && stream->stored_bytes != ask->size)
        return fail(stream->err, ERROR_INVALID, EBADMSG,
                    "%s: has %llu bytes where the image says %llu; fetch the image again",
                    name_of(ask), (unsigned long long)stream->stored_bytes,
                    (unsigned long long)ask->size);
    digest_text(&stream->stored, digest);
    if (*ask->digest && !streq(ask->digest, digest))
        return fail(stream->err, ERROR_INVALID, EBADMSG,
                    "%s: has the digest %s: it is damaged, or not what it was; fetch the image "
                    "again",
                    name_of(ask), digest);
    return 0;
}

int oci_stream(int file_fd, bool is_archive, const struct oci_ask *ask, int pipe_fd,
               struct progress *progress, struct error *err)
{
    struct stream *stream = calloc(1, sizeof(*stream));
    if (!stream)
        return fail(err, ERROR_SYSTEM, ENOMEM, "read the image: ");
    stream->ask = ask;
    stream->file_fd = file_fd;
    stream->pipe_fd = pipe_fd;
    stream->progress = progress;
    stream->err = err;
    sha256_init(&stream->stored);
    int r = is_archive ? outer_find(stream) : 0;
    if (r == 0)
        r = ask->is_layer && !ask->is_as_stored ? decompress(stream) : copy_stored(stream);
    if (r == 0)
        r = check(stream);
    if (stream->outer)
        (void)archive_read_free(stream->outer);
    free(stream);
    return r;
}
