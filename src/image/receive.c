/* SPDX-License-Identifier: Apache-2.0 */
/* Receiving. Runs in isolate-image as root. A stream is hostile: one confined child reads its
 * records, removes what they say is gone and passes the archive on, another one unpacks that.
 * What they made is used by nobody before the digest was right, and then compared with the
 * header's hash. */
#include "image/beneath.h"
#include "image/child.h"
#include "image/confine.h"
#include "image/image.h"
#include "image/progress.h"
#include "image/send.h"
#include "image/stream.h"
#include "sys/fd.h"
#include "sys/tree.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

int image_receive_header(int stream_fd, struct error *err)
{
    _cleanup_free_ struct stream_reader *reader = malloc(sizeof(*reader));
    if (!reader)
        return fail(err, ERROR_SYSTEM, ENOMEM, "read the stream: ");
    stream_open(reader, stream_fd);
    int r = stream_read_header(reader, err);
    if (r == 0) {
        r = fd_write_all(STDOUT_FILENO, reader->block, reader->length);
        r = r < 0 ? fail(err, ERROR_SYSTEM, r, "write the header to stdout: ") : 0;
    }
    return r;
}

/* In a layer the directories on the way to what is marked as gone may be missing; the archive
 * says of each what it is like. */
static int make_way(int root_fd, char *path)
{
    for (char *slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/')) {
        const char *name = NULL;
        *slash = '\0';
        _cleanup_close_ int at = beneath_open_parent(root_fd, path, &name);
        int r = at < 0 ? at : mkdirat(at, name, 0755) < 0 && errno != EEXIST ? -errno : 0;
        *slash = '/';
        if (r < 0)
            return r;
    }
    return 0;
}

static int remove_path(const struct image_receiving *receiving, int root_fd, char *path,
                       bool is_replaced)
{
    const char *name = NULL;
    if (receiving->is_layer && is_replaced)
        return 0; /* what takes its place hides it */
    int r = receiving->is_layer ? make_way(root_fd, path) : 0;
    _cleanup_close_ int parent = r < 0 ? r : beneath_open_parent(root_fd, path, &name);
    _cleanup_close_ int at = parent < 0 ? parent : dir_open_at(parent, ".");
    if (at < 0)
        return at;
    if (receiving->is_layer) /* overlayfs's whiteout */
        return mknodat(at, name, S_IFCHR, makedev(0, 0)) < 0 ? -errno : 0;
    return tree_remove(at, name);
}

static int take_path(const struct image_receiving *receiving, int root_fd, const char *text,
                     bool is_replaced, struct error *err)
{
    _cleanup_free_ char *path = malloc(strlen(text) + 1);
    if (!path)
        return fail(err, ERROR_SYSTEM, ENOMEM, "read the stream: ");
    int r = beneath_normalize(text, path, err);
    if (r == 0 && !*path)
        r = fail(err, ERROR_INVALID, EBADMSG, "it is the root directory");
    if (r < 0)
        return error_prefix(err, r, "the stream says that \"%.200s\" is gone: ", text);
    r = remove_path(receiving, root_fd, path, is_replaced);
    return r == -ENOENT ? 0 : r < 0 ? beneath_write_failed(root_fd, r, path, 0, err) : 0;
}

/* To the end of the stream. */
static int read_records(const struct image_receiving *receiving, int root_fd, int tar_fd,
                        struct progress *progress, struct error *err)
{
    bool in_tar = false;
    _cleanup_free_ struct stream_reader *reader = malloc(sizeof(*reader));
    if (!reader)
        return fail(err, ERROR_SYSTEM, ENOMEM, "read the stream: ");
    stream_open(reader, receiving->stream_fd);
    stream_resume(reader, receiving->header);
    for (;;) {
        int type = stream_read(reader, err);
        if (type < 0 || type == STREAM_END)
            return type < 0 ? type : 0;
        int r = 0;
        progress_input(progress, reader->length);
        if (type == STREAM_TAR) {
            in_tar = true;
            r = fd_write_all(tar_fd, reader->block, reader->length);
            r = r < 0 ? fail(err, ERROR_SYSTEM, r, "unpack the stream: ") : 0;
        } else if (in_tar) {
            r = fail(err, ERROR_INVALID, EBADMSG,
                     "the stream is damaged: its records are in no order; send it again");
        } else {
            r = take_path(receiving, root_fd, reader->block, type == STREAM_REPLACED, err);
        }
        if (r < 0)
            return r;
    }
}

static _Noreturn void read_in_child(const struct image_child *child,
                                    const struct image_receiving *receiving, int tar_fd,
                                    struct progress *progress)
{
    struct error err = {0};
    int root = -EBADF;
    if (progress)
        progress->draws = false;
    const int keep[] = {receiving->stream_fd, tar_fd, child->error_fd};
    int r = confine(CONFINE_WRITES_TREE, keep, ELEMENTS(keep), receiving->tree_fd, &root, &err);
    if (r == 0)
        r = read_records(receiving, root, tar_fd, progress, &err);
    image_child_exit(child, r, &err);
}

int image_receive(const struct image_receiving *receiving, struct progress *progress,
                  struct error *err)
{
    struct image_child child = {.error_fd = -EBADF};
    struct error of_reader = {0};
    struct stat st;
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0)
        return fail(err, ERROR_SYSTEM, errno, "receive: ");
    _cleanup_close_ int from = ends[0];
    _cleanup_close_ int to = ends[1];
    (void)signal(SIGPIPE, SIG_IGN); /* who unpacks may end */
    progress_begin(progress, "receive");
    if (fstat(receiving->stream_fd, &st) == 0 && S_ISREG(st.st_mode))
        progress_expect(progress, (uint64_t)st.st_size);
    int r = image_child_fork("the stream", &child, err);
    if (r < 0)
        return r;
    if (child.pid == 0)
        read_in_child(&child, receiving, to, progress);
    fd_closep(&to);
    r = image_extract(from, "the stream", receiving->tree_fd, progress, err);
    fd_closep(&from); /* one that could not be unpacked is read no further */
    int reader = image_child_wait(&child, "the stream", progress, &of_reader);
    if (reader == -EPIPE && r == 0)
        return fail(err, ERROR_INVALID, EBADMSG,
                    "the stream is damaged: its archive ends before it does; send it again");
    /* who unpacks sees only an archive that is cut off */
    if (reader < 0 && reader != -EPIPE) {
        if (err)
            *err = of_reader;
        return reader;
    }
    return r;
}
