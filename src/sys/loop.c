/* SPDX-License-Identifier: Apache-2.0 */
/* Runs in isolated as root. Two devices of one file are two file systems that destroy each
 * other: who attaches one that may be attached already asks loop_find first, under a lock. */
#include "sys/loop.h"

#include "base/parse.h"
#include "base/text.h"
#include "sys/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/loop.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#define TRIES 64 /* others look for a free one, too */

static int device_open(uint32_t number, int flags, char ret_path[static LOOP_PATH_SIZE])
{
    (void)snprintf(ret_path, LOOP_PATH_SIZE, "/dev/loop%" PRIu32, number);
    int fd = open(ret_path, flags | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

int loop_attach(int file_fd, char ret_path[static LOOP_PATH_SIZE])
{
    const struct loop_config config = {
        .fd = (uint32_t)file_fd,
        .info = {.lo_flags = LO_FLAGS_AUTOCLEAR},
    };
    _cleanup_close_ int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
    if (control < 0)
        return -errno;
    for (int i = 0; i < TRIES; i++) {
        int number = ioctl(control, LOOP_CTL_GET_FREE);
        if (number < 0)
            return -errno;
        _cleanup_close_ int device = device_open((uint32_t)number, O_RDWR, ret_path);
        if (device < 0)
            return device;
        if (ioctl(device, LOOP_CONFIGURE, &config) == 0)
            return TAKE_FD(device);
        if (errno != EBUSY)
            return -errno;
    }
    return -EBUSY;
}

/* Whether the device, which cannot let go of its file while it is open, has this one. */
static bool has_file(int device, const struct stat *file)
{
    struct loop_info64 info = {0};
    return ioctl(device, LOOP_GET_STATUS64, &info) == 0 && info.lo_device == file->st_dev &&
           info.lo_inode == file->st_ino;
}

int loop_find(int file_fd, char ret_path[static LOOP_PATH_SIZE])
{
    struct stat file;
    if (fstat(file_fd, &file) < 0)
        return -errno;
    int block = dir_open_at(AT_FDCWD, "/sys/block");
    _cleanup_closedir_ DIR *dir = dir_stream(block);
    if (!dir)
        return -errno;
    struct dirent *entry = NULL;
    int r = dir_next(dir, &entry);
    for (; r > 0; r = dir_next(dir, &entry)) {
        char attached[64];
        uint32_t number = 0;
        (void)snprintf(attached, sizeof(attached), "%.32s/loop", entry->d_name);
        if (strncmp(entry->d_name, "loop", 4) != 0 ||
            parse_u32(entry->d_name + 4, 0, UINT32_MAX, &number, "", NULL) < 0 ||
            faccessat(block, attached, F_OK, 0) < 0)
            continue;
        /* not for writing: whoever watches it would think that it has changed */
        _cleanup_close_ int device = device_open(number, O_RDONLY, ret_path);
        if (device >= 0 && has_file(device, &file))
            return TAKE_FD(device);
    }
    return r < 0 ? r : -ENOENT;
}
