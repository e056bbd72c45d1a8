/* SPDX-License-Identifier: Apache-2.0 */
/* The parent's side of an image: it opens files for the maker and starts their readers (oci.h).
 * Runs in isolate-image as root. It looks into no file; what the maker asks is checked, because
 * what it reads may have taken it over. */
#include "image/oci.h"

#include "base/text.h"
#include "image/child.h"
#include "image/confine.h"
#include "image/image.h"
#include "image/progress.h"
#include "sys/fd.h"
#include "sys/mount.h"
#include "sys/socket.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#define PIPE_BYTES (1 << 20)
#define TICK_MS    200

struct parent {
    const struct image_container *container;
    int target_fd;
    int socket_fd;
    struct progress *progress;
    struct image_child reader; /* of the file that the maker reads now */
    struct buffer *defaults;
};

static bool ask_is_valid(const struct parent *parent, const struct oci_ask *ask)
{
    bool ended = memchr(ask->name, 0, sizeof(ask->name)) &&
                 memchr(ask->digest, 0, sizeof(ask->digest)) &&
                 memchr(ask->diff_digest, 0, sizeof(ask->diff_digest));
    if (!ended || parent->reader.pid > 0)
        return false;
    if (ask->kind == OCI_ASK_BLOB)
        return digest_is_valid(ask->digest);
    return parent->container->is_archive || streq(ask->name, "index.json") ||
           streq(ask->name, "oci-layout");
}

/* A file of the layout's directory, which may belong to anybody. */
static int open_in_directory(const struct parent *parent, const struct oci_ask *ask,
                             struct error *err)
{
    char path[OCI_NAME_SIZE + 16];
    struct stat st;
    bool blob = ask->kind == OCI_ASK_BLOB;
    (void)snprintf(path, sizeof(path), "%s%s", blob ? "blobs/sha256/" : "",
                   blob ? ask->digest + strlen("sha256:") : ask->name);
    /* O_NONBLOCK: a fifo in its place must not stop us */
    _cleanup_close_ int fd =
        open_resolved(parent->container->fd, path, O_RDONLY | O_NONBLOCK | O_NOCTTY,
                      RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS);
    if (fd == -ENOENT)
        return fail(err, ERROR_NOT_FOUND, ENOENT, "%s: is not there; %s",
                    blob ? ask->digest : ask->name,
                    blob ? "the image is not complete: fetch it again"
                         : "this is no OCI layout");
    if (fd < 0)
        return fail(err, ERROR_SYSTEM, fd, "%s: open: ", path);
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
        return fail(err, ERROR_INVALID, EINVAL, "%s: is no regular file", path);
    return TAKE_FD(fd);
}

static _Noreturn void read_in_child(const struct parent *parent, int file_fd, int pipe_fd,
                                    const struct oci_ask *ask)
{
    struct error err = {0};
    const int keep[] = {file_fd, pipe_fd, parent->reader.error_fd};
    if (parent->progress)
        parent->progress->draws = false;
    (void)signal(SIGPIPE, SIG_IGN); /* the maker may have enough of it */
    int r = confine(CONFINE_STREAMS, keep, ELEMENTS(keep), parent->target_fd, NULL, &err);
    if (r == 0)
        r = oci_stream(file_fd, parent->container->is_archive, ask, pipe_fd, parent->progress,
                       &err);
    image_child_exit(&parent->reader, r, &err);
}

/* The read end of a pipe that a reader fills. */
static int start_reader(struct parent *parent, struct oci_ask *ask, struct error *err)
{
    int ends[2];
    bool is_archive = parent->container->is_archive;
    if (!ask_is_valid(parent, ask))
        return fail(err, ERROR_PROTOCOL, EPROTO, "read the image: an invalid question");
    if (is_archive && ask->kind == OCI_ASK_BLOB)
        (void)snprintf(ask->name, sizeof(ask->name), "blobs/sha256/%s",
                       ask->digest + strlen("sha256:"));
    _cleanup_close_ int file =
        is_archive ? dup_cloexec(parent->container->fd) : open_in_directory(parent, ask, err);
    if (file < 0)
        return is_archive ? fail(err, ERROR_SYSTEM, file, "read the image: ") : file;
    if (pipe2(ends, O_CLOEXEC) < 0)
        return fail(err, ERROR_SYSTEM, errno, "read the image: ");
    _cleanup_close_ int out = ends[0];
    _cleanup_close_ int in = ends[1];
    (void)fcntl(in, F_SETPIPE_SZ, PIPE_BYTES); /* so that both work at once */
    int r = image_child_fork(parent->container->what, &parent->reader, err);
    if (r == 0 && parent->reader.pid == 0)
        read_in_child(parent, file, in, ask);
    return r < 0 ? r : TAKE_FD(out);
}

static int answer(struct parent *parent, const struct error *error, int fd)
{
    return socket_send(parent->socket_fd, error, sizeof(*error), &fd, fd >= 0 ? 1 : 0);
}

static int on_question(struct parent *parent, struct oci_ask *ask)
{
    struct error told = {0};
    if (ask->kind == OCI_ASK_VERDICT) {
        if (parent->reader.pid > 0)
            (void)!image_child_wait(&parent->reader, parent->container->what, parent->progress,
                                    &told);
        return answer(parent, &told, -EBADF);
    }
    _cleanup_close_ int fd = start_reader(parent, ask, &told);
    return answer(parent, &told, fd);
}

/* One message of the maker's: 1, 0 at the end, -errno where it breaks the rules. */
static int on_message(struct parent *parent, char *message, size_t size)
{
    struct oci_ask ask;
    _cleanup_fd_list_ struct fd_list fds = {0};
    ssize_t n = socket_receive(parent->socket_fd, message, size, 0, &fds);
    if (n <= 0)
        return (int)n;
    if ((size_t)n < sizeof(ask) || fds.n > 0)
        return -EPROTO;
    memcpy(&ask, message, sizeof(ask));
    size_t more = (size_t)n - sizeof(ask);
    int r = 0;
    switch (ask.kind) {
    case OCI_ASK_FILE:
    case OCI_ASK_BLOB:
    case OCI_ASK_VERDICT:
        r = more > 0 ? -EPROTO : on_question(parent, &ask);
        break;
    case OCI_ASK_TOTAL:
        progress_expect(parent->progress, ask.size);
        break;
    case OCI_ASK_DEFAULTS:
        if (more != ask.size || more > OCI_DEFAULTS_MAX || parent->defaults->length > 0)
            return -EPROTO;
        buffer_append(parent->defaults, message + sizeof(ask), more);
        break;
    default:
        return -EPROTO;
    }
    return r < 0 ? r : 1;
}

static int serve(struct parent *parent, struct error *err)
{
    size_t size = sizeof(struct oci_ask) + OCI_DEFAULTS_MAX;
    _cleanup_free_ char *message = malloc(size);
    struct pollfd fd = {.fd = parent->socket_fd, .events = POLLIN};
    int r = message ? 1 : -ENOMEM;
    while (r > 0) {
        if (poll(&fd, 1, TICK_MS) > 0)
            r = on_message(parent, message, size);
        progress_tick(parent->progress);
    }
    return r == 0 || r == -EPIPE || r == -ECONNRESET
               ? 0
               : fail(err, ERROR_SYSTEM, r, "read the image: ");
}

static _Noreturn void make_in_child(const struct parent *parent,
                                    const struct image_child *child, int socket_fd)
{
    struct error err = {0};
    int root = -EBADF;
    const int keep[] = {socket_fd, child->error_fd};
    const struct image_container *container = parent->container;
    if (parent->progress)
        parent->progress->draws = false;
    int r = confine(CONFINE_WRITES_TREE, keep, ELEMENTS(keep), parent->target_fd, &root, &err);
    if (r == 0)
        r = oci_make(socket_fd, container->tag, container->is_archive, root, parent->progress,
                     &err);
    if (r < 0)
        (void)error_prefix(&err, r, "%.150s: ", container->what);
    image_child_exit(child, r, &err);
}

int image_unpack_container(const struct image_container *container, int target_fd,
                           struct progress *progress, struct buffer *ret_defaults,
                           struct error *err)
{
    int ends[2];
    int r = socket_pair(SOCK_SEQPACKET, ends);
    if (r < 0)
        return fail(err, ERROR_SYSTEM, r, "%.150s: ", container->what);
    _cleanup_close_ int ours = ends[0];
    _cleanup_close_ int theirs = ends[1];
    struct image_child maker = {.error_fd = -EBADF};
    struct parent parent = {
        .container = container,
        .target_fd = target_fd,
        .socket_fd = ours,
        .progress = progress,
        .reader = {.error_fd = -EBADF},
        .defaults = ret_defaults,
    };
    r = image_child_fork(container->what, &maker, err);
    if (r < 0)
        return r;
    if (maker.pid == 0)
        make_in_child(&parent, &maker, theirs);
    fd_closep(&theirs);
    r = serve(&parent, err);
    image_child_kill(&parent.reader);
    if (r < 0) {
        image_child_kill(&maker);
        return r;
    }
    r = image_child_wait(&maker, container->what, progress, err);
    return r == 0 && ret_defaults->failed
               ? fail(err, ERROR_SYSTEM, ENOMEM, "%.150s: ", container->what)
               : r;
}
