/* SPDX-License-Identifier: Apache-2.0 */
/* Files of an image are opened here, and read elsewhere (oci.h). Runs in isolate-image as root;
 * it looks into no file. What is asked for is checked, because what the planner reads may have
 * taken it over. */
#include "base/text.h"
#include "image/child.h"
#include "image/confine.h"
#include "image/image.h"
#include "image/oci.h"
#include "image/progress.h"
#include "sys/fd.h"
#include "sys/mount.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>

#define PIPE_BYTES (1 << 20)

static bool ask_is_valid(const struct oci_files *files, const struct oci_ask *ask)
{
    if (!oci_ask_is_ended(ask))
        return false;
    if (ask->kind == OCI_ASK_BLOB)
        return digest_is_valid(ask->digest);
    return files->container->is_archive || streq(ask->name, "index.json") ||
           streq(ask->name, "oci-layout");
}

/* A file of the layout's directory, which may belong to anybody. */
static int open_in_directory(int dir_fd, const struct oci_ask *ask, struct error *err)
{
    char path[OCI_NAME_SIZE + 16];
    struct stat st;
    bool blob = ask->kind == OCI_ASK_BLOB;
    (void)snprintf(path, sizeof(path), "%s%s", blob ? "blobs/sha256/" : "",
                   blob ? ask->digest + strlen("sha256:") : ask->name);
    /* O_NONBLOCK: a fifo in its place must not stop us */
    _cleanup_close_ int fd =
        open_resolved(dir_fd, path, O_RDONLY | O_NONBLOCK | O_NOCTTY,
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

static _Noreturn void read_in_child(const struct oci_files *files,
                                    const struct image_child *child, int file_fd, int pipe_fd,
                                    const struct oci_ask *ask)
{
    struct error err = {0};
    const int keep[] = {file_fd, pipe_fd, child->error_fd};
    if (files->progress)
        files->progress->draws = false;
    (void)signal(SIGPIPE, SIG_IGN); /* who reads it may have enough of it */
    int r = confine(CONFINE_STREAMS, keep, ELEMENTS(keep), files->root_fd, NULL, &err);
    if (r == 0)
        r = oci_stream(file_fd, files->container->is_archive, ask, pipe_fd, files->progress,
                       &err);
    image_child_exit(child, r, &err);
}

int oci_files_read(const struct oci_files *files, const struct oci_ask *ask,
                   struct image_child *ret_reader, struct error *err)
{
    int ends[2];
    struct oci_ask named = *ask;
    bool is_archive = files->container->is_archive;
    if (!ask_is_valid(files, ask))
        return fail(err, ERROR_PROTOCOL, EPROTO, "read the image: an invalid question");
    if (is_archive && ask->kind == OCI_ASK_BLOB)
        (void)snprintf(named.name, sizeof(named.name), "blobs/sha256/%s",
                       ask->digest + strlen("sha256:"));
    _cleanup_close_ int file = is_archive ? dup_cloexec(files->container->fd)
                                          : open_in_directory(files->container->fd, ask, err);
    if (file < 0)
        return is_archive ? fail(err, ERROR_SYSTEM, file, "read the image: ") : file;
    if (pipe2(ends, O_CLOEXEC) < 0)
        return fail(err, ERROR_SYSTEM, errno, "read the image: ");
    _cleanup_close_ int out = ends[0];
    _cleanup_close_ int in = ends[1];
    (void)fcntl(in, F_SETPIPE_SZ, PIPE_BYTES); /* so that both work at once */
    int r = image_child_fork(files->container->what, ret_reader, err);
    if (r == 0 && ret_reader->pid == 0)
        read_in_child(files, ret_reader, file, in, &named);
    return r < 0 ? r : TAKE_FD(out);
}
