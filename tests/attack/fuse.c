/* SPDX-License-Identifier: Apache-2.0 */
/* A file system of a hostile user's: `fuse DIR [UID]` mounts it at DIR with one file, "file",
 * says "mounted", answers until a line comes on stdin, and nothing from then on: not even to
 * close(), of which the last one waits for it, too, where something is written and still only
 * in memory. Its end aborts the connection, which frees everybody who waits. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define FILE_NODE 2

static int device;

static void answer(uint64_t unique, int error, const void *data, size_t length)
{
    struct fuse_out_header header = {
        .len = (uint32_t)(sizeof(header) + length), .error = error, .unique = unique};
    struct iovec parts[] = {{&header, sizeof(header)}, {(void *)data, length}};
    if (writev(device, parts, length ? 2 : 1) < 0)
        errno = 0; /* it was interrupted */
}

static struct fuse_attr attributes(uint64_t node)
{
    return (struct fuse_attr){
        .ino = node,
        .mode = node == FILE_NODE ? S_IFREG | 0666 : S_IFDIR | 0777,
        .nlink = 1,
        .blksize = 4096,
    };
}

static void serve(const struct fuse_in_header *in)
{
    const struct fuse_init_out init = {
        .major = 7, .minor = 31, .flags = FUSE_WRITEBACK_CACHE, .max_write = 4096};
    const struct fuse_open_out opened = {.fh = 1};
    const struct fuse_statfs_out whole = {.st = {.bsize = 4096, .namelen = 255}};
    struct fuse_attr_out attr = {.attr = attributes(in->nodeid)};
    const struct fuse_write_out written = {.size = 4096};
    struct fuse_entry_out entry = {.nodeid = FILE_NODE, .attr = attributes(FILE_NODE)};
    switch (in->opcode) {
    case FUSE_INIT:
        answer(in->unique, 0, &init, sizeof(init));
        return;
    case FUSE_STATFS:
        answer(in->unique, 0, &whole, sizeof(whole));
        return;
    case FUSE_GETATTR:
        answer(in->unique, 0, &attr, sizeof(attr));
        return;
    case FUSE_LOOKUP:
        answer(in->unique, 0, &entry, sizeof(entry));
        return;
    case FUSE_OPEN:
    case FUSE_OPENDIR:
        answer(in->unique, 0, &opened, sizeof(opened));
        return;
    case FUSE_WRITE:
        answer(in->unique, 0, &written, sizeof(written));
        return;
    case FUSE_SETATTR:
        answer(in->unique, 0, &attr, sizeof(attr));
        return;
    case FUSE_FLUSH:
    case FUSE_RELEASE:
    case FUSE_RELEASEDIR:
        answer(in->unique, 0, NULL, 0);
        return;
    case FUSE_FORGET:
    case FUSE_BATCH_FORGET:
    case FUSE_INTERRUPT:
        return;
    default:
        answer(in->unique, -ENOSYS, NULL, 0);
    }
}

int main(int argc, char **argv)
{
    static char request[1 << 18];
    char options[128];
    int silent = 0;
    if (argc < 2)
        return 2;
    device = open("/dev/fuse", O_RDWR | O_CLOEXEC);
    (void)snprintf(options, sizeof(options),
                   "fd=%d,rootmode=40000,user_id=%s,group_id=0,allow_other", device,
                   argc > 2 ? argv[2] : "0");
    if (device < 0 ||
        mount("isolate-attack", argv[1], "fuse", MS_NOSUID | MS_NODEV, options) < 0) {
        (void)printf("cannot %s\n", strerror(errno));
        return 1;
    }
    (void)printf("mounted\n");
    (void)fflush(stdout);
    for (;;) {
        struct pollfd fds[] = {{.fd = 0, .events = POLLIN}, {.fd = device, .events = POLLIN}};
        char line[16];
        if (poll(fds, 2, -1) < 0)
            return 1;
        if (fds[0].revents && read(0, line, sizeof(line)) <= 0)
            return 0;
        if (fds[0].revents)
            silent = 1;
        if (fds[1].revents && read(device, request, sizeof(request)) > 0 && !silent)
            serve((const struct fuse_in_header *)request);
        if (fds[1].revents & POLLERR)
            return 0; /* unmounted */
    }
}
