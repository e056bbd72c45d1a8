/* SPDX-License-Identifier: Apache-2.0 */
/* Files whose content is stored in other ways than most: what a sandbox can ask of btrfs. On
 * another file system these tests are not among those that are run. */
#include "storage_fixture.h"

#include "sys/fd.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#define HALF 65536 /* of the most that btrfs compresses into one extent */

static void commit(unsigned n)
{
    char clone[CLONE_NAME_SIZE];
    char generation[GENERATION_SIZE];
    const struct template_info info = {.name = TEMPLATE, .source = "test"};
    clone_name(n, clone);
    assert_ok(
        fixture.storage.driver->commit(&fixture.storage, clone, NULL, &info, generation, &err));
}

static void check_diff(unsigned n, const char *expected)
{
    _cleanup_buffer_ struct buffer diff = {0};
    clone_list_diff(n, NULL, &diff);
    assert_string_equal(diff.data, expected);
}

/* One extent that holds both halves, compressed. */
static void write_compressed(int root, const char *name)
{
    unsigned flags = FS_COMPR_FL;
    char block[2 * HALF];
    _cleanup_close_ int fd = openat(root, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    assert_true(fd >= 0);
    assert_int_equal(ioctl(fd, FS_IOC_SETFLAGS, &flags), 0);
    memset(block, 'a', HALF);
    memset(block + HALF, 'b', HALF);
    assert_int_equal(fd_write_all(fd, block, sizeof(block)), 0);
    assert_int_equal(fsync(fd), 0);
}

/* `part` shares one half with `whole`, and tells nothing of it by its times. */
static void share_half(int root, unsigned half)
{
    const struct timespec times[2] = {{1600000000, 1}, {1600000000, 123456789}};
    _cleanup_close_ int whole = openat(root, "whole", O_RDONLY | O_CLOEXEC);
    _cleanup_close_ int part = openat(root, "part", O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    const struct file_clone_range range = {
        .src_fd = whole,
        .src_offset = (uint64_t)half * HALF,
        .src_length = HALF,
    };
    assert_true(whole >= 0 && part >= 0);
    assert_int_equal(ioctl(part, FICLONERANGE, &range), 0);
    assert_int_equal(futimens(part, times), 0);
}

/* Both halves of a compressed extent are said to lie at the same place. */
void extents_compressed(void **state)
{
    assert_ok(clone_make(TEMPLATE, NULL, 0, NULL, &err));
    _cleanup_close_ int root = clone_open(0);
    write_compressed(root, "whole");
    share_half(root, 0);
    commit(0);
    assert_ok(clone_make(TEMPLATE, NULL, 1, NULL, &err));
    _cleanup_close_ int next = clone_open(1);
    share_half(next, 0);
    check_diff(1, "");
    share_half(next, 1);
    check_diff(1, "C /part\n");
}

/* A file without copy-on-write shares nothing with one that has it. */
void extents_no_cow(void **state)
{
    _cleanup_buffer_ struct buffer before = {0};
    _cleanup_buffer_ struct buffer after = {0};
    assert_ok(clone_make(TEMPLATE, NULL, 0, NULL, &err));
    assert_int_equal(
        clone_shell(0,
                    "touch file; chattr +C file; echo content > file; truncate -s 300000 file; "
                    "echo end >> file; chown 5:6 file; chmod 4751 file"),
        0);
    clone_list_tree(0, &before);
    commit(0);
    check_diff(0, "");
    assert_ok(clone_make(TEMPLATE, NULL, 1, NULL, &err));
    check_diff(1, "");
    clone_list_tree(1, &after);
    assert_string_equal(after.data, before.data);
}
