/* SPDX-License-Identifier: Apache-2.0 */
/* One layer of an image: from its file through reader, checker and maker into a tree (oci.h).
 * Runs in isolate-image as root; all that is read is read in confined children. */
#include "base/text.h"
#include "image/beneath.h"
#include "image/child.h"
#include "image/confine.h"
#include "image/image.h"
#include "image/oci.h"
#include "image/progress.h"
#include "image/tar.h"
#include "sys/fd.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>

#define BLOCK_BYTES (128 * 1024)
#define PIPE_BYTES  (1 << 20)

/* ---- the checker ---- */

/* Bytes are copied, not moved: who has written a page into a pipe could still change it. to_fd
 * -EBADF: to nowhere. */
static int check_stream(int from_fd, int to_fd, const char *wanted, struct error *err)
{
    static char block[BLOCK_BYTES];
    char digest[DIGEST_TEXT];
    struct sha256_ctx context;
    ssize_t n = 0;
    sha256_init(&context);
    for (;;) {
        n = read(from_fd, block, sizeof(block));
        if (n == 0 || (n < 0 && errno != EINTR))
            break;
        if (n < 0)
            continue;
        sha256_update(&context, (size_t)n, (const uint8_t *)block);
        int r = to_fd < 0 ? 0 : fd_write_all(to_fd, block, (size_t)n);
        if (r < 0)
            return fail(err, ERROR_SYSTEM, r, "%s: pass it on: ", wanted);
    }
    if (n < 0)
        return fail(err, ERROR_SYSTEM, errno, "%s: read: ", wanted);
    digest_text(&context, digest);
    return streq(digest, wanted) ? 0
                                 : fail(err, ERROR_INVALID, EBADMSG,
                                        "what is in it has the digest %s, where the image says "
                                        "%s; fetch the image "
                                        "again",
                                        digest, wanted);
}

static _Noreturn void check_in_child(const struct oci_files *files,
                                     const struct image_child *child, int from_fd, int to_fd,
                                     const char *wanted)
{
    struct error err = {0};
    const int keep[] = {from_fd, child->error_fd, to_fd};
    (void)signal(SIGPIPE, SIG_IGN); /* the maker may have enough of it */
    int r = confine(CONFINE_STREAMS, keep, to_fd < 0 ? 2 : ELEMENTS(keep), files->root_fd, NULL,
                    &err);
    if (r == 0)
        r = check_stream(from_fd, to_fd, wanted, &err);
    image_child_exit(child, r, &err);
}

static int start_checker(const struct oci_files *files, int from_fd, int to_fd,
                         const char *wanted, struct image_child *ret, struct error *err)
{
    int r = image_child_fork(files->container->what, ret, err);
    if (r == 0 && ret->pid == 0)
        check_in_child(files, ret, from_fd, to_fd, wanted);
    return r;
}

/* ---- makers ---- */

static int make_layer(int from_fd, struct tar_target *target, struct error *err)
{
    if (!target->has_lower)
        xattrs_remove_others(target->root_fd, &(struct xattrs){0});
    int r = tar_read_layer(from_fd, target, err);
    return r < 0 ? r : tar_target_finish(target, err);
}

/* What is there already is not touched. */
static int make_workdir(const char *text, struct tar_target *target, struct error *err)
{
    int at = -EBADF;
    const char *name = NULL;
    const char *relative = text + strspn(text, "/");
    /* as if something were to be made in it */
    _cleanup_free_ char *path = calloc(1, strlen(relative) + sizeof("/x"));
    int r = path ? beneath_normalize(relative, path, err)
                 : fail(err, ERROR_SYSTEM, ENOMEM, "make it: ");
    _cleanup_close_ int there = r < 0 ? r : tar_target_open(target, path);
    if (there >= 0)
        return 0;
    if (r == 0) {
        memcpy(path + strlen(path), "/x", sizeof("/x"));
        r = tar_target_parent(target, path, &name, &at, err);
    }
    if (r == 0)
        r = tar_target_finish(target, err);
    return r < 0 ? error_prefix(err, r, "its working directory \"%.100s\": ", text) : 0;
}

/* What a maker makes: a layer that comes from from_fd, or, where that is -EBADF, a directory.
 */
struct making {
    int target_fd;
    bool has_lower;
    int from_fd;
    const char *workdir;
};

static _Noreturn void make_in_child(const struct oci_files *files,
                                    const struct image_child *child,
                                    const struct making *making)
{
    struct error err = {0};
    int root = -EBADF;
    const int keep[] = {child->error_fd, making->from_fd};
    if (files->progress)
        files->progress->draws = false;
    int r = confine(CONFINE_WRITES_TREE, keep, making->from_fd < 0 ? 1 : 2, making->target_fd,
                    &root, &err);
    struct tar_target target = TAR_TARGET_NEW(root, files->progress);
    target.layered = true;
    target.has_lower = making->has_lower;
    if (r == 0)
        r = making->workdir ? make_workdir(making->workdir, &target, &err)
                            : make_layer(making->from_fd, &target, &err);
    image_child_exit(child, r, &err);
}

static int start_maker(const struct oci_files *files, const struct making *making,
                       struct image_child *ret, struct error *err)
{
    int r = image_child_fork(files->container->what, ret, err);
    if (r == 0 && ret->pid == 0)
        make_in_child(files, ret, making);
    return r;
}

int oci_workdir_make(const struct oci_files *files, const char *path, int target_fd,
                     bool has_lower, struct error *err)
{
    const struct making making = {target_fd, has_lower, -EBADF, path};
    struct image_child maker = {.error_fd = -EBADF};
    int r = start_maker(files, &making, &maker, err);
    return r < 0 ? r : image_child_wait(&maker, files->container->what, files->progress, err);
}

/* ---- all of them ---- */

enum { READER, CHECKER, MAKER, CHILDREN };

#define CHILDREN_NONE                                                                          \
    {                                                                                          \
        {.error_fd = -EBADF}, {.error_fd = -EBADF},                                            \
        {                                                                                      \
            .error_fd = -EBADF                                                                 \
        }                                                                                      \
    }

/* Who failed first has the reason, which is neither the one who was cut off by the one before
 * nor who was not read to the end by the next. */
static int wait_for(const struct oci_files *files, struct image_child *children, int n,
                    struct error *err)
{
    struct error said[CHILDREN] = {{0}};
    int results[CHILDREN] = {0};
    for (int i = n - 1; i >= 0; i--)
        results[i] =
            image_child_wait(&children[i], files->container->what, files->progress, &said[i]);
    for (int i = 0; i < n; i++)
        if (results[i] < 0 && (results[i] != -EPIPE || i + 1 == n)) {
            if (err)
                *err = said[i];
            return results[i];
        }
    return results[READER] < 0 || results[CHECKER] < 0
               ? fail(err, ERROR_SYSTEM, EIO, "it was not read to its end")
               : 0;
}

static int end(const struct oci_files *files, struct image_child *children, int n, int started,
               struct error *err)
{
    if (started == 0)
        return wait_for(files, children, n, err);
    for (int i = 0; i < n; i++)
        image_child_kill(&children[i]);
    return started;
}

static int start_reader(const struct oci_files *files, const struct oci_layer *layer,
                        bool as_stored, struct image_child *ret, struct error *err)
{
    struct oci_ask ask = {
        .kind = *layer->name ? OCI_ASK_FILE : OCI_ASK_BLOB,
        .is_layer = 1,
        .is_as_stored = as_stored,
        .size = layer->size,
    };
    memcpy(ask.name, layer->name, sizeof(ask.name));
    memcpy(ask.digest, layer->digest, sizeof(ask.digest));
    return oci_files_read(files, &ask, ret, err);
}

int oci_layer_check(const struct oci_files *files, const struct oci_layer *layer, bool by_blob,
                    struct error *err)
{
    struct image_child children[CHILDREN] = CHILDREN_NONE;
    _cleanup_close_ int stored = start_reader(files, layer, by_blob, &children[READER], err);
    if (stored < 0)
        return stored;
    int r = start_checker(files, stored, -EBADF, by_blob ? layer->digest : layer->diff_digest,
                          &children[CHECKER], err);
    fd_closep(&stored);
    return end(files, children, MAKER, r, err);
}

int oci_layer_unpack(const struct oci_files *files, const struct oci_layer *layer,
                     int target_fd, bool has_lower, struct error *err)
{
    int ends[2];
    struct image_child children[CHILDREN] = CHILDREN_NONE;
    if (pipe2(ends, O_CLOEXEC) < 0)
        return fail(err, ERROR_SYSTEM, errno, "read the image: ");
    _cleanup_close_ int out = ends[0];
    _cleanup_close_ int in = ends[1];
    (void)fcntl(in, F_SETPIPE_SZ, PIPE_BYTES); /* so that all work at once */
    const struct making making = {target_fd, has_lower, out, NULL};
    _cleanup_close_ int stored = start_reader(files, layer, false, &children[READER], err);
    int r = stored < 0
                ? stored
                : start_checker(files, stored, in, layer->diff_digest, &children[CHECKER], err);
    if (r == 0)
        r = start_maker(files, &making, &children[MAKER], err);
    fd_closep(&stored);
    fd_closep(&in);
    fd_closep(&out);
    return end(files, children, CHILDREN, r, err);
}
