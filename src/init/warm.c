/* SPDX-License-Identifier: Apache-2.0 */
/* Reading ahead while a sandbox is parked. The page cache knows files by their inode: where
 * each clone has inodes of its own (btrfs, reflinks), the first command of a clone would wait
 * for the disk, which half of its time went into. Runs as root of the sandbox's user namespace;
 * the files are hostile: looked at only as far as they are regular, bounded, and nothing of
 * them is executed. */
#include "init/init.h"

#include <fcntl.h>
#include <limits.h>
#include <link.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define C_LIBRARY    "libc.so.6" /* glibc's; musl's is the dynamic linker itself */
#define LINKER_CACHE "/etc/ld.so.cache"
#define SEGMENTS_MAX 64
#define READ_MAX     (4U << 20)
/* no file system is asked for more at a time: the kernel would leave out the rest */
#define READ_STEP    (128U << 10)

/* O_NONBLOCK: a fifo in its place must not stop us */
static int open_regular(const char *path, struct stat *ret)
{
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0 || fstat(fd, ret) < 0)
        return -errno;
    return S_ISREG(ret->st_mode) ? TAKE_FD(fd) : -EINVAL;
}

static void read_ahead(const char *path)
{
    struct stat st = {0};
    _cleanup_close_ int fd = open_regular(path, &st);
    if (fd < 0)
        return;
    off_t end = st.st_size < (off_t)READ_MAX ? st.st_size : (off_t)READ_MAX;
    for (off_t at = 0; at < end; at += READ_STEP)
        (void)posix_fadvise(fd, at, READ_STEP, POSIX_FADV_WILLNEED);
}

static bool read_at(int fd, uint64_t offset, void *data, size_t length)
{
    return offset <= INT32_MAX && pread(fd, data, length, (off_t)offset) == (ssize_t)length;
}

/* What the program names as its dynamic linker; false where it has none, or is none that this
 * machine runs as it is. Source: elf(5). */
static bool find_linker(const char *program, char ret[static PATH_MAX])
{
    struct stat st;
    ElfW(Ehdr) header;
    ElfW(Phdr) segment;
    _cleanup_close_ int fd = open_regular(program, &st);
    if (fd < 0 || !read_at(fd, 0, &header, sizeof(header)) ||
        memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 || header.e_phentsize != sizeof(segment) ||
        header.e_phnum > SEGMENTS_MAX)
        return false;
    for (unsigned i = 0; i < header.e_phnum; i++) {
        if (!read_at(fd, header.e_phoff + i * sizeof(segment), &segment, sizeof(segment)))
            return false;
        if (segment.p_type != PT_INTERP)
            continue;
        return segment.p_filesz > 1 && segment.p_filesz <= PATH_MAX &&
               read_at(fd, segment.p_offset, ret, segment.p_filesz) && *ret == '/' &&
               ret[segment.p_filesz - 1] == '\0';
    }
    return false;
}

void init_warm(const char *program)
{
    char linker[PATH_MAX];
    char path[PATH_MAX];
    if (!find_linker(program, linker) || !realpath(linker, path))
        return;
    read_ahead(path);
    read_ahead(LINKER_CACHE);
    /* the C library lies beside it */
    char *name = strrchr(path, '/') + 1;
    if ((size_t)(path + sizeof(path) - name) <= sizeof(C_LIBRARY))
        return;
    (void)memcpy(name, C_LIBRARY, sizeof(C_LIBRARY));
    read_ahead(path);
}
