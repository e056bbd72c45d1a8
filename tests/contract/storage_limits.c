/* SPDX-License-Identifier: Apache-2.0 */
/* Limits of disk space. */
#include "storage_fixture.h"

#include "base/text.h"
#include "spec/limits.h"
#include "storage/room.h"
#include "sys/fd.h"

#include <fcntl.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#define MIB (1U << 20)

/* 4 MiB, as a program writes that knows of no limit. */
#define WRITE_4_MIB(name)                                                                      \
    "dd if=/dev/urandom of=" name " bs=64k count=64 conv=fsync 2>/dev/null"

static int limit(unsigned n, uint64_t bytes, struct error *err)
{
    char name[CLONE_NAME_SIZE];
    clone_name(n, name);
    return fixture.storage.driver->limit(&fixture.storage, name, bytes, err);
}

static void destroy(unsigned n)
{
    char name[CLONE_NAME_SIZE];
    clone_name(n, name);
    assert_ok(fixture.storage.driver->destroy(&fixture.storage, name, &err));
}

/* Of what was written, all is on disk, or refused; ZFS notices some seconds late. */
static bool grows_beyond(unsigned n, unsigned mib)
{
    char script[160];
    (void)snprintf(
        script, sizeof(script),
        "i=0; while [ $i -lt %u ]; do " WRITE_4_MIB("more-$i") " || exit 1; "
                                                               "i=$((i+1)); sync -f .; done",
        mib / 4 + 1);
    return clone_shell(n, script) == 0;
}

/* Those of ZFS and btrfs do not: each file takes space. */
static bool counts_inodes(void)
{
    return fixture.has_images ||
           !(streq(fixture.file_system, "btrfs") || has(STORAGE_DATASETS));
}

#define MAKE_FILES(n)                                                                          \
    "i=0; while [ $i -lt " n " ]; do true > f$i || exit 1; i=$((i+1)); done 2>/dev/null"

static struct storage_room room_of(unsigned n)
{
    struct storage_room room = {0};
    _cleanup_close_ int mount = clone_mount(n);
    int r = storage_room(&fixture.storage, mount, &room);
    if (r < 0)
        fail_msg("room: %s", strerror(-r));
    return room;
}

void limit_disk(void **state)
{
    for (unsigned n = 0; n < 3; n++)
        assert_ok(clone_make(TEMPLATE, NULL, n, NULL, &err));
    assert_ok(limit(0, 8 * MIB, &err));
    assert_ok(limit(1, 8 * MIB, &err));
    assert_int_equal(clone_shell(0, WRITE_4_MIB("first")), 0);
    assert_false(grows_beyond(0, 16));
    /* neither another one that is limited, nor one that is not, has less for that */
    assert_int_equal(clone_shell(1, WRITE_4_MIB("first")), 0);
    assert_true(grows_beyond(2, 16));
    /* what is there can be used, and given back */
    assert_int_equal(clone_shell(0, "test $(cat usr/bin/tool) = tool && rm first more-*"), 0);
}

/* Neither the next that has the same ids, nor what was committed, is limited by it. */
void limit_ends(void **state)
{
    char generation[GENERATION_SIZE];
    char name[CLONE_NAME_SIZE];
    struct template_info info = {.name = "new", .source = "test"};
    clone_name(0, name);
    assert_ok(clone_make(TEMPLATE, NULL, 0, NULL, &err));
    assert_ok(limit(0, 8 * MIB, &err));
    assert_int_equal(clone_shell(0, WRITE_4_MIB("committed")), 0);
    assert_ok(
        fixture.storage.driver->commit(&fixture.storage, name, NULL, &info, generation, &err));
    destroy(0);
    assert_ok(clone_make("new", NULL, 0, NULL, &err));
    assert_true(grows_beyond(0, 16));
    destroy(0);
    /* a new limit begins where the clone does */
    assert_ok(clone_make("new", NULL, 0, NULL, &err));
    assert_ok(limit(0, 8 * MIB, &err));
    assert_int_equal(clone_shell(0, WRITE_4_MIB("first")), 0);
    assert_false(grows_beyond(0, 16));
}

/* Files, however small. */
void limit_files(void **state)
{
    if (!counts_inodes())
        skip();
    for (unsigned n = 0; n < 2; n++)
        assert_ok(clone_make(TEMPLATE, NULL, n, NULL, &err));
    const uint64_t most = limit_inodes(8 * MIB);
    assert_ok(limit(0, 8 * MIB, &err));
    assert_int_equal(clone_shell(0, MAKE_FILES("1000")), 0);
    assert_int_not_equal(clone_shell(0, MAKE_FILES("2100")), 0);
    struct storage_room room = room_of(0);
    assert_true(room.inodes < 8 && most == 2048);
    assert_true(room.bytes > 1 * MIB);
    assert_int_equal(clone_shell(1, MAKE_FILES("3000")), 0);
}

/* What is left is what can be written. */
void limit_room(void **state)
{
    assert_ok(clone_make(TEMPLATE, NULL, 0, NULL, &err));
    assert_ok(limit(0, 16 * MIB, &err));
    uint64_t before = room_of(0).bytes;
    assert_true(before > 12 * MIB && before <= 16 * MIB);
    assert_int_equal(clone_shell(0, WRITE_4_MIB("first")), 0);
    uint64_t then = room_of(0).bytes;
    assert_true(then < before - 3 * MIB && then > before - 6 * MIB);
    assert_false(grows_beyond(0, 16));
    assert_true(room_of(0).bytes < MIB / 4);
}

static uint64_t free_bytes(void)
{
    struct statvfs st = {0};
    _cleanup_close_ int fd = dir_open_at(fixture.state_fd, ".");
    assert_true(fd >= 0 && syncfs(fd) == 0 && fstatvfs(fd, &st) == 0);
    return (uint64_t)st.f_bfree * st.f_frsize;
}

/* Who got an fd of an image's file keeps nothing of it. */
void limit_held(void **state)
{
    char byte;
    if (!fixture.has_images)
        skip();
    assert_ok(clone_make(TEMPLATE, NULL, 0, NULL, &err));
    assert_ok(limit(0, 16 * MIB, &err));
    assert_int_equal(clone_shell(0, WRITE_4_MIB("a") "; " WRITE_4_MIB("b")), 0);
    int root = clone_open(0);
    int file = openat(root, "a", O_RDWR | O_CLOEXEC);
    assert_true(file >= 0);
    uint64_t before = free_bytes();
    destroy(0);
    assert_true(free_bytes() > before + 8 * MIB);
    assert_true(pwrite(file, "x", 1, 8 * MIB) < 0 || fsync(file) < 0);
    assert_true(openat(root, "new", O_WRONLY | O_CREAT | O_CLOEXEC, 0600) < 0);
    (void)!pread(file, &byte, 1, 2 * MIB);
    fd_close(file);
    fd_close(root);
}

void limit_unsupported(void **state)
{
    assert_ok(clone_make(TEMPLATE, NULL, 0, NULL, &err));
    struct error err = {0};
    int r = limit(0, 8 * MIB, &err);
    assert_int_equal(err.code, ERROR_UNSUPPORTED);
    assert_true(r < 0);
    assert_non_null(strstr(err.text, "quota"));
}

/* Counting again takes as long as it takes; nobody waits for it. */
void limit_during_rescan(void **state)
{
    char command[160];
    if (!streq(fixture.file_system, "btrfs"))
        skip();
    (void)snprintf(command, sizeof(command), "btrfs quota rescan %s >/dev/null 2>&1",
                   fixture.mount);
    for (unsigned n = 0; n < 20; n++) {
        (void)!system(command); /* only names made here; one may be going on */
        assert_ok(clone_make(TEMPLATE, NULL, n, NULL, &err));
        assert_ok(limit(n, 8 * MIB, &err));
        assert_int_equal(clone_shell(n, WRITE_4_MIB("first")), 0);
        assert_false(grows_beyond(n, 16));
        destroy(n);
    }
}
