/* SPDX-License-Identifier: Apache-2.0 */
/* See store_image.h. Runs in isolated as root. Two loop devices of one image would be two file
 * systems that destroy each other: they are looked for and made under a lock, of the directory
 * that the image lies in. Source: mke2fs(8), ext4(5), linux/fs/ext4/super.c. */
#include "storage/store_image.h"

#include "base/text.h"
#include "spec/limits.h"
#include "sys/fd.h"
#include "sys/loop.h"
#include "sys/mount.h"
#include "sys/program.h"
#include "sys/tree.h"

#include <endian.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define BLOCK      4096U
#define INODE_SIZE 256U
#define JOURNAL    (4U << 20) /* the smallest that mke2fs makes */
#define OWN_BLOCKS 64U        /* for what isolate itself makes in a full one */
#define OWN_INODES 32U        /* the same, with a few that every ext4 has */
#define SPARE      16U
#define SLACK      (10U * BLOCK)
#define RESERVE    (4096ULL * BLOCK) /* ext4 lends itself a fiftieth, at most this */

#define EXT4_SHUTDOWN          _IOR('X', 125, uint32_t) /* EXT4_IOC_SHUTDOWN */
#define EXT4_SHUTDOWN_NO_FLUSH 2U

/* The beginning of an ext4 superblock, as it is on disk. */
struct superblock {
    uint32_t inodes;
    uint32_t unused[13];
    uint16_t magic;
    uint16_t state;
};
#define SUPERBLOCK_OFFSET 1024
#define EXT4_MAGIC        0xEF53
#define EXT4_HAS_ERRORS   2

struct shape {
    uint64_t bytes; /* of the whole file */
    uint64_t inodes;
};

static int superblock_read(int fd, struct superblock *ret)
{
    ssize_t n = pread(fd, ret, sizeof(*ret), SUPERBLOCK_OFFSET);
    if (n < 0)
        return -errno;
    return n == (ssize_t)sizeof(*ret) && le16toh(ret->magic) == EXT4_MAGIC ? 0 : -EUCLEAN;
}

/* What ext4 needs besides: tables of inodes, bitmaps and descriptors of groups, what it lends
 * itself, the journal. */
static struct shape shape_for(uint64_t bytes, bool durable)
{
    struct shape shape = {.inodes = limit_inodes(bytes) + OWN_INODES};
    uint64_t needed = bytes + shape.inodes * INODE_SIZE + bytes / 8192 + SLACK +
                      OWN_BLOCKS * BLOCK + (durable ? JOURNAL : 0);
    uint64_t reserve = needed / 49;
    shape.bytes = needed + (reserve < RESERVE ? reserve : RESERVE);
    shape.bytes -= shape.bytes % BLOCK;
    return shape;
}

/* What cannot be written for want of space is told as an error of the device. */
static int blame(int dir_fd, int r, struct error *err)
{
    struct statvfs disk;
    if (fstatvfs(dir_fd, &disk) < 0 || disk.f_bavail * disk.f_frsize >= LIMIT_DISK_MIN)
        return error_prefix(err, r, "an image: ");
    return fail(err, ERROR_NO_SPACE, ENOSPC, "an image for its disk space: ");
}

int store_image_sync(int dir_fd, int mount_fd, struct error *err)
{
    _cleanup_close_ int top = dir_open_at(mount_fd, ".");
    if (top >= 0 && syncfs(top) == 0)
        return 0;
    return blame(dir_fd, fail(err, ERROR_SYSTEM, top < 0 ? top : errno, "write to it: "), err);
}

static int make_file_system(int fd, const struct shape *shape, bool durable, struct error *err)
{
    char path[48];
    char inodes[24];
    char percent[24];
    char features[160];
    _cleanup_buffer_ struct buffer printed = {0};
    (void)snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)getpid(), fd);
    (void)snprintf(inodes, sizeof(inodes), "%" PRIu64, shape->inodes);
    (void)snprintf(percent, sizeof(percent), "%.9f",
                   100.0 * OWN_BLOCKS * BLOCK / (double)shape->bytes);
    (void)snprintf(features, sizeof(features),
                   "none,%sextent,filetype,sparse_super,large_file,huge_file,flex_bg,dir_index,"
                   "dir_nlink,extra_isize,metadata_csum,64bit",
                   durable ? "has_journal," : "");
    /* neither tables nor journal are written, because the file is all zeros */
    const char *const argv[] = {
        "mke2fs",
        "-q",
        "-F",
        "-t",
        "ext4",
        "-O",
        features,
        "-b",
        "4096",
        "-I",
        "256",
        "-N",
        inodes,
        "-m",
        percent,
        "-E",
        "lazy_itable_init=1,lazy_journal_init=1,nodiscard,root_owner=0:0",
        path,
        durable ? "-J" : NULL,
        "size=4",
        NULL};
    return program_capture(argv, 4096, &printed, err);
}

/* A sparse file is damaged by a disk that is full when it is written to: what is kept has all
 * of its space from the beginning, where the file system around it can do that. */
static int reserve(int fd, const struct shape *shape)
{
    int r = fallocate(fd, 0, 0, (off_t)shape->bytes) < 0 ? -errno : 0;
    return r == -EOPNOTSUPP ? 0 : r;
}

static int make(int dir_fd, const char *name, const struct shape *shape, bool durable,
                struct error *err)
{
    (void)unlinkat(dir_fd, name, 0);
    _cleanup_close_ int fd =
        openat(dir_fd, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    int r = fd < 0 || ftruncate(fd, (off_t)shape->bytes) < 0 ? -errno : 0;
    if (r == 0 && durable)
        r = reserve(fd, shape);
    if (r < 0)
        return fail(err, error_code_of_errno(-r), r,
                    "an image of %" PRIu64 " bytes for its disk space: ", shape->bytes);
    r = make_file_system(fd, shape, durable, err);
    if (r == -ENOENT)
        return fail(
            err, ERROR_UNSUPPORTED, EOPNOTSUPP,
            "a limit of disk space needs project quotas, or mke2fs for an image of that "
            "size, which is not installed (package e2fsprogs)");
    if (r < 0)
        return blame(dir_fd, r, err);
    return durable && fsync(fd) < 0 ? fail(err, ERROR_SYSTEM, errno, "an image: ") : 0;
}

int store_image_make(int dir_fd, const char *name, uint64_t bytes, bool durable,
                     struct error *err)
{
    struct statvfs disk;
    if (fstatvfs(dir_fd, &disk) < 0)
        return fail(err, ERROR_SYSTEM, errno, "an image: ");
    /* of a sparse one, what does not fit on the disk is to be refused by the image's file
     * system, which tells the writer, not by the disk below, when it is too late */
    uint64_t available = (uint64_t)disk.f_bavail * disk.f_frsize;
    available -= available / 16;
    if (available < LIMIT_DISK_MIN)
        return fail(err, ERROR_NO_SPACE, ENOSPC,
                    "an image of %" PRIu64 " bytes for its disk space: ", bytes);
    struct shape shape = shape_for(durable || bytes < available ? bytes : available, durable);
    return make(dir_fd, name, &shape, durable, err);
}

int store_image_make_like(int dir_fd, const char *name, int like_dir_fd, bool durable,
                          struct error *err)
{
    struct stat st = {0};
    struct superblock superblock = {0};
    _cleanup_close_ int like =
        openat(like_dir_fd, STORE_IMAGE, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    int r = like < 0 || fstat(like, &st) < 0 ? -errno : superblock_read(like, &superblock);
    if (r < 0)
        return fail(err, ERROR_SYSTEM, r, "the image: ");
    struct shape shape = {(uint64_t)st.st_size, le32toh(superblock.inodes)};
    return make(dir_fd, name, &shape, durable, err);
}

int store_image_spare_make(int mount_fd)
{
    char name[32];
    if (mkdirat(mount_fd, "spare", 0700) < 0 && errno != EEXIST)
        return -errno;
    for (unsigned i = 1; i < SPARE; i++) {
        (void)snprintf(name, sizeof(name), "spare/%u", i);
        if (mknodat(mount_fd, name, S_IFREG | 0600, 0) < 0 && errno != EEXIST)
            return -errno;
    }
    return 0;
}

int store_image_spare_take(int mount_fd)
{
    return tree_remove(mount_fd, "spare");
}

/* The device that has it, or a new one. */
static int attach(int file, char path[static LOOP_PATH_SIZE], struct error *err)
{
    int device = loop_find(file, path);
    if (device == -ENOENT)
        device = loop_attach(file, path);
    if (device == -ENOENT || device == -EACCES || device == -EPERM || device == -ENXIO)
        return fail(err, ERROR_UNSUPPORTED, device,
                    "a limit of disk space needs the file system's project quotas (ext4: "
                    "`tune2fs -O quota,project` and the mount option prjquota; XFS: prjquota "
                    "alone; no other project around the storage's directory), or loop devices, "
                    "as containers often have none: ");
    return device < 0 ? fail(err, ERROR_SYSTEM, device, "a loop device for the image: ")
                      : device;
}

static int mount_device(const char *path, bool durable, struct error *err)
{
    const char *const options[] = {
        "source", path, "errors", "remount-ro", "noinit_itable", NULL,
        /* what is deleted of a sparse one is the disk's again */
        durable ? "nodiscard" : "discard", NULL, durable ? "barrier" : "nobarrier", NULL, NULL};
    int r = mount_new("ext4", options, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV);
    return r < 0 ? fail(err, ERROR_SYSTEM, r, "mount the image (ext4 on %s): ", path) : r;
}

static int mount_file(int file, bool durable, struct error *err)
{
    char path[LOOP_PATH_SIZE];
    struct superblock superblock = {0};
    int r = superblock_read(file, &superblock);
    if (r < 0 || le16toh(superblock.state) & EXT4_HAS_ERRORS)
        return fail(err, ERROR_SYSTEM, EUCLEAN,
                    "the image of its disk space is damaged, as happens when the disk that it "
                    "lies on is full; what is in it cannot be used any more: ");
    _cleanup_close_ int device = attach(file, path, err);
    return device < 0 ? device : mount_device(path, durable, err);
}

/* Its fd, and a lock on the image's directory; -ENOENT without err. */
static int open_locked(int clone_fd, const char *name, int *ret_lock, struct error *err)
{
    _cleanup_close_ int file = openat(clone_fd, name, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
    if (file < 0)
        return errno == ENOENT ? -ENOENT : fail(err, ERROR_SYSTEM, errno, "the image: ");
    _cleanup_close_ int lock = dir_open_at(clone_fd, ".");
    if (lock < 0 || flock(lock, LOCK_EX) < 0)
        return fail(err, ERROR_SYSTEM, lock < 0 ? lock : errno, "lock the image: ");
    *ret_lock = TAKE_FD(lock);
    return TAKE_FD(file);
}

int store_image_mount(int clone_fd, const char *name, bool durable, struct error *err)
{
    _cleanup_close_ int lock = -EBADF;
    _cleanup_close_ int file = open_locked(clone_fd, name, &lock, err);
    return file < 0 ? file : mount_file(file, durable, err);
}

void store_image_release(struct storage *storage, const char *name)
{
    char path[LOOP_PATH_SIZE];
    uint32_t how = EXT4_SHUTDOWN_NO_FLUSH;
    _cleanup_close_ int lock = -EBADF;
    _cleanup_close_ int clone_fd = store_clone_open(storage, name, NULL);
    _cleanup_close_ int file =
        clone_fd < 0 ? clone_fd : open_locked(clone_fd, STORE_IMAGE, &lock, NULL);
    _cleanup_close_ int device = file < 0 ? file : loop_find(file, path);
    if (device < 0)
        return; /* nobody has anything of it */
    _cleanup_close_ int mount = mount_device(path, false, NULL);
    _cleanup_close_ int root = mount < 0 ? mount : dir_open_at(mount, ".");
    if (root >= 0 && ioctl(root, EXT4_SHUTDOWN, &how) == 0)
        (void)!ftruncate(file, 0);
}
