/* SPDX-License-Identifier: Apache-2.0 */
/* Descriptors and small files. Runs in every process with its rights; the content of files may
 * come from anybody, their names come from isolate itself. */
#include "sys/fd.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/memfd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#ifndef MFD_EXEC
#define MFD_EXEC 0x0010U
#endif

struct fd_path fd_path(int fd)
{
    struct fd_path path;
    (void)snprintf(path.text, sizeof(path.text), "/proc/self/fd/%d", fd);
    return path;
}

struct fd_entry_path fd_entry_path(int dir_fd, const char *name)
{
    struct fd_entry_path path;
    (void)snprintf(path.text, sizeof(path.text), "/proc/self/fd/%d/%.*s", dir_fd, NAME_MAX,
                   name);
    return path;
}

int dup_cloexec(int fd)
{
    int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    return copy < 0 ? -errno : copy;
}

int fd_write_all(int fd, const void *data, size_t length)
{
    const char *p = data;
    while (length > 0) {
        ssize_t n = write(fd, p, length);
        if (n < 0 && errno != EINTR)
            return -errno;
        if (n > 0) {
            p += n;
            length -= (size_t)n;
        }
    }
    return 0;
}

int fd_read_exactly(int fd, void *data, size_t length)
{
    char *p = data;
    while (length > 0) {
        ssize_t n = read(fd, p, length);
        if (n == 0)
            return -ENODATA;
        if (n < 0 && errno != EINTR)
            return -errno;
        if (n > 0) {
            p += n;
            length -= (size_t)n;
        }
    }
    return 0;
}

int fd_read_all(int fd, size_t max, struct buffer *ret)
{
    char block[16384];
    for (;;) {
        ssize_t n = read(fd, block, sizeof(block));
        if (n == 0)
            return ret->failed ? -ENOMEM : 0;
        if (n < 0 && errno != EINTR)
            return -errno;
        if (n > 0)
            buffer_append(ret, block, (size_t)n);
        if (ret->length > max)
            return -EFBIG;
    }
}

int file_read_at(int dir_fd, const char *name, size_t max, struct buffer *ret)
{
    _cleanup_close_ int fd =
        openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0)
        return -errno;
    return fd_read_all(fd, max, ret);
}

int file_replace_at(int dir_fd, const char *name, const void *data, size_t length, bool durable)
{
    char temporary[NAME_MAX + 1];
    if ((size_t)snprintf(temporary, sizeof(temporary), ".%s.new", name) >= sizeof(temporary))
        return -ENAMETOOLONG;
    _cleanup_close_ int fd =
        openat(dir_fd, temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return -errno;
    int r = fd_write_all(fd, data, length);
    if (r == 0 && durable && fsync(fd) < 0)
        r = -errno;
    if (r == 0 && renameat(dir_fd, temporary, dir_fd, name) < 0)
        r = -errno;
    if (r < 0)
        (void)unlinkat(dir_fd, temporary, 0);
    else if (durable) {
        _cleanup_close_ int dir = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (dir < 0 || fsync(dir) < 0)
            r = -errno;
    }
    return r;
}

int file_write_at(int dir_fd, const char *name, const char *text)
{
    _cleanup_close_ int fd = openat(dir_fd, name, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return -errno;
    size_t length = strlen(text);
    ssize_t n = write(fd, text, length);
    if (n < 0)
        return -errno;
    return (size_t)n == length ? 0 : -EIO;
}

int file_exists_at(int dir_fd, const char *name)
{
    if (faccessat(dir_fd, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
        return 1;
    return errno == ENOENT || errno == ENOTDIR ? 0 : -errno;
}

int dir_make_at(int dir_fd, const char *name, unsigned mode)
{
    int flags = O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
    int fd = openat(dir_fd, name, flags); /* it mostly is there */
    if (fd >= 0 || errno != ENOENT)
        return fd < 0 ? -errno : fd;
    if (mkdirat(dir_fd, name, mode) < 0 && errno != EEXIST)
        return -errno;
    fd = openat(dir_fd, name, flags);
    return fd < 0 ? -errno : fd;
}

int dirs_make_at(int dir_fd, const char *const *names, size_t n, unsigned mode)
{
    if (n > 0 && faccessat(dir_fd, names[n - 1], F_OK, AT_SYMLINK_NOFOLLOW) == 0)
        return 0;
    for (size_t i = 0; i < n; i++)
        if (mkdirat(dir_fd, names[i], mode) < 0 && errno != EEXIST)
            return -errno;
    return 0;
}

int dir_open_at(int dir_fd, const char *name)
{
    int fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

DIR *dir_stream(int take_fd)
{
    DIR *dir = take_fd < 0 ? NULL : fdopendir(take_fd);
    if (take_fd < 0)
        errno = -take_fd;
    else if (!dir)
        fd_close(take_fd);
    return dir;
}

int dir_next(DIR *dir, struct dirent **ret)
{
    do {
        errno = 0;
        *ret = readdir(dir);
    } while (*ret && (strcmp((*ret)->d_name, ".") == 0 || strcmp((*ret)->d_name, "..") == 0));
    return *ret ? 1 : -errno;
}

int memfd_of(const char *name, const void *data, size_t length, unsigned mode)
{
    unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
    _cleanup_close_ int fd = (int)syscall(SYS_memfd_create, name, flags | MFD_EXEC);
    if (fd < 0 && errno == EINVAL)
        fd = (int)syscall(SYS_memfd_create, name, flags);
    if (fd < 0)
        return -errno;
    int r = fd_write_all(fd, data, length);
    if (r < 0)
        return r;
    if (fchmod(fd, mode) < 0 ||
        fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
        return -errno;
    return TAKE_FD(fd);
}

int memfd_sealed(const char *name, const void *data, size_t length, unsigned mode)
{
    _cleanup_close_ int fd = memfd_of(name, data, length, mode);
    if (fd < 0)
        return fd;
    int readable = open(fd_path(fd).text, O_RDONLY | O_CLOEXEC);
    return readable < 0 ? -errno : readable;
}

int memfd_map(int fd, size_t max, const void **ret, size_t *ret_length)
{
    int seals = fcntl(fd, F_GET_SEALS);
    if (seals < 0 || (seals & (F_SEAL_WRITE | F_SEAL_SHRINK)) != (F_SEAL_WRITE | F_SEAL_SHRINK))
        return -EINVAL;
    struct stat st;
    if (fstat(fd, &st) < 0)
        return -errno;
    if (st.st_size <= 0 || (uint64_t)st.st_size > max)
        return -EINVAL;
    void *map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (map == MAP_FAILED)
        return -errno;
    *ret = map;
    *ret_length = (size_t)st.st_size;
    return 0;
}

void mapping_clear(struct mapping *mapping)
{
    if (mapping->data)
        (void)munmap((void *)mapping->data, mapping->length);
    *mapping = (struct mapping){0};
}

int fd_open_missing_stdio(void)
{
    for (int fd = 0; fd <= 2; fd++) {
        if (fcntl(fd, F_GETFD) >= 0)
            continue;
        /* the lowest free number is this one: all below are open */
        int opened = open("/dev/null", O_RDWR);
        if (opened < 0)
            return -errno;
        if (opened != fd) {
            (void)close(opened);
            return -EBADF;
        }
    }
    return 0;
}

void random_fill(void *data, size_t length)
{
    char *p = data;
    while (length > 0) {
        ssize_t n = getrandom(p, length, 0);
        if (n < 0 && errno != EINTR)
            abort(); /* a kernel without it (before 3.17): no name of ours may be guessed */
        if (n > 0) {
            p += n;
            length -= (size_t)n;
        }
    }
}
