/* SPDX-License-Identifier: Apache-2.0 */
/* Reading ahead while a sandbox is parked. The page cache knows files by their inode: where
 * each clone has inodes of its own (btrfs, reflinks), the first command of a clone would wait
 * for the disk, which half of its time went into. Runs as root of the sandbox's user namespace;
 * the files are hostile: looked at only as far as they are regular, bounded, and nothing of
 * them is executed. */
#include "init/init.h"
#include "init/program.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#define C_LIBRARY    "libc.so.6" /* glibc's; musl's is the dynamic linker itself */
#define LINKER_CACHE "/etc/ld.so.cache"
#define READ_MAX     (4U << 20)
/* no file system is asked for more at a time: the kernel would leave out the rest */
#define READ_STEP    (128U << 10)

static void read_ahead(const char *path)
{
    struct stat st = {0};
    _cleanup_close_ int fd = program_open(path, &st);
    if (fd < 0)
        return;
    off_t end = st.st_size < (off_t)READ_MAX ? st.st_size : (off_t)READ_MAX;
    for (off_t at = 0; at < end; at += READ_STEP)
        (void)posix_fadvise(fd, at, READ_STEP, POSIX_FADV_WILLNEED);
}

void init_warm(const char *program)
{
    char linker[PATH_MAX];
    char path[PATH_MAX];
    if (!program_linker(program, linker) || !realpath(linker, path))
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
