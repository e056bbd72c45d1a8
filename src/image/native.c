/* SPDX-License-Identifier: Apache-2.0 */
/* Streams of a storage driver's own, as T records. Runs in isolate-image as root. What is sent
 * is a program's, or for btrfs the kernel's; what is received is hostile, and is copied, or for
 * btrfs made a tree of, by a confined child. */
#include "image/btrfs_apply.h"
#include "image/child.h"
#include "image/confine.h"
#include "image/progress.h"
#include "image/send.h"
#include "image/stream.h"
#include "sys/fd.h"
#include "sys/program.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static int complain(const char *name, int log, struct error *err)
{
    char why[300];
    _cleanup_buffer_ struct buffer text = {0};
    bool is_there = lseek(log, 0, SEEK_SET) == 0 && fd_read_all(log, 65536, &text) == 0;
    program_complaint(is_there && text.data ? text.data : "", why, sizeof(why));
    return fail(err, ERROR_SYSTEM, EIO, "%s failed: %s", name, why);
}

/* Runs the program; what it wrote counts only where it ended well. */
static int run(const char *const *argv, struct stream_writer *stream, struct progress *progress,
               struct error *err)
{
    int ends[2];
    pid_t pid = -1;
    _cleanup_close_ int log = memfd_create("log", MFD_CLOEXEC);
    if (log < 0 || pipe2(ends, O_CLOEXEC) < 0)
        return fail(err, ERROR_SYSTEM, errno, "start %s: ", argv[0]);
    _cleanup_close_ int from = ends[0];
    _cleanup_close_ int to = ends[1];
    int r = program_start(argv, to, log, &pid, err);
    if (r < 0)
        return r;
    fd_closep(&to);
    r = sink_copy(&stream->sink, from, "read what is sent", progress, err);
    fd_closep(&from); /* one that goes on writing ends by that */
    int ended = program_wait(pid, argv[0], NULL);
    return r < 0 ? r : ended < 0 ? complain(argv[0], log, err) : 0;
}

int image_send_native(int out_fd, const char *header, const char *const *argv,
                      struct progress *progress, struct error *err)
{
    struct sink_fd out = sink_fd(out_fd, "write the stream");
    _cleanup_free_ struct stream_writer *stream = malloc(sizeof(*stream));
    if (!stream)
        return fail(err, ERROR_SYSTEM, ENOMEM, "write the stream: ");
    progress_begin(progress, "send");
    int r = stream_begin(stream, &out.sink, header, err);
    if (r == 0)
        r = run(argv, stream, progress, err);
    return r < 0 ? r : stream_end(stream, err);
}

static int take_payload(const struct image_native *native, int root_fd,
                        struct progress *progress, struct error *err)
{
    struct sink_fd file =
        sink_fd(native->payload_fd, "keep the stream in the state directory until it is whole");
    _cleanup_free_ struct stream_reader *reader = malloc(sizeof(*reader));
    _cleanup_free_ struct btrfs_apply *apply = malloc(sizeof(*apply));
    if (!reader || !apply)
        return fail(err, ERROR_SYSTEM, ENOMEM, "read the stream: ");
    btrfs_apply_begin(apply, root_fd);
    stream_open(reader, native->stream_fd);
    stream_resume(reader, native->header);
    int r = stream_read_payload(reader, native->is_btrfs ? &apply->sink : &file.sink, progress,
                                err);
    if (r == 0 && native->is_btrfs)
        r = btrfs_apply_end(apply, err);
    btrfs_apply_clear(apply);
    return r;
}

static _Noreturn void take_in_child(const struct image_child *child,
                                    const struct image_native *native,
                                    struct progress *progress)
{
    struct error err = {0};
    int root = -EBADF;
    const int keep[] = {native->stream_fd, child->error_fd, native->payload_fd};
    if (progress)
        progress->draws = false;
    int r = confine(native->is_btrfs ? CONFINE_WRITES_TREE : CONFINE_STREAMS, keep,
                    native->is_btrfs ? 2 : 3, native->dir_fd, &root, &err);
    if (r == 0)
        r = take_payload(native, root, progress, &err);
    image_child_exit(child, r, &err);
}

int image_receive_native(const struct image_native *native, struct progress *progress,
                         struct error *err)
{
    struct stat st;
    struct image_child child = {.error_fd = -EBADF};
    progress_begin(progress, "receive");
    if (fstat(native->stream_fd, &st) == 0 && S_ISREG(st.st_mode))
        progress_expect(progress, (uint64_t)st.st_size);
    int r = image_child_fork("the stream", &child, err);
    if (r < 0)
        return r;
    if (child.pid == 0)
        take_in_child(&child, native, progress);
    return image_child_wait(&child, "the stream", progress, err);
}
