/* SPDX-License-Identifier: Apache-2.0 */
/* Attack 38: leave a set-id or capable program of root's where a user of the host can execute
 * it. `setid DIR` tries every call that sets a mode or an attribute, in DIR; `setid --who` is
 * such a program itself and says as whom it runs. */
#include "attempt.h"

#include <linux/capability.h>
#include <linux/openat2.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#ifndef SYS_fchmodat2
#define SYS_fchmodat2 452
#endif
#ifndef SYS_setxattrat
#define SYS_setxattrat 463
#endif

#define SUID 04755
#define SGID 02755

static const char *dir;
static char file[4096];

static const char *in_dir(const char *name)
{
    (void)snprintf(file, sizeof(file), "%s/%s", dir, name);
    (void)unlink(file);
    return file;
}

static int plain(const char *name)
{
    return open(in_dir(name), O_RDWR | O_CREAT | O_EXCL, 0755);
}

/* A call that went through but left no bit behind has won nothing. */
static long has_bits(void)
{
    struct stat st;
    if (stat(file, &st) < 0)
        return -1;
    return st.st_mode & 06000 ? 0 : fail_with(EPERM);
}

static long by_chmod(void)
{
    if (plain("chmod") < 0 || chmod(file, SUID) < 0)
        return -1;
    return has_bits();
}

static long by_chmod_sgid(void)
{
    if (plain("chmod-sgid") < 0 || chmod(file, SGID) < 0)
        return -1;
    return has_bits();
}

static long by_chmod_high(void)
{
    if (plain("chmod-high") < 0 || syscall(SYS_chmod, file, HIGH(SUID)) < 0)
        return -1;
    return has_bits();
}

/* umode_t has 16 bits: what is above them is cut off. */
static long by_chmod_wide(void)
{
    if (plain("chmod-wide") < 0 || syscall(SYS_chmod, file, 0x10000UL | SUID) < 0)
        return -1;
    return has_bits();
}

static long by_fchmod(void)
{
    int fd = plain("fchmod");
    if (fd < 0 || fchmod(fd, SUID) < 0)
        return -1;
    return has_bits();
}

static long by_fchmodat(void)
{
    if (plain("fchmodat") < 0 || syscall(SYS_fchmodat, AT_FDCWD, file, SUID) < 0)
        return -1;
    return has_bits();
}

static long by_fchmodat2(void)
{
    if (plain("fchmodat2") < 0 || syscall(SYS_fchmodat2, AT_FDCWD, file, SUID, 0) < 0)
        return -1;
    return has_bits();
}

static long by_creat(void)
{
    return syscall(SYS_creat, in_dir("creat"), SUID) < 0 ? -1 : has_bits();
}

static long by_open(void)
{
    return syscall(SYS_open, in_dir("open"), O_CREAT | O_WRONLY, SUID) < 0 ? -1 : has_bits();
}

static long by_openat(void)
{
    long fd = syscall(SYS_openat, AT_FDCWD, in_dir("openat"), O_CREAT | O_WRONLY, SUID);
    return fd < 0 ? -1 : has_bits();
}

static long by_openat_high(void)
{
    long fd = syscall(SYS_openat, AT_FDCWD, in_dir("openat-high"), HIGH(O_CREAT | O_WRONLY),
                      HIGH(SUID));
    return fd < 0 ? -1 : has_bits();
}

static long by_openat2(void)
{
    struct open_how how = {.flags = O_CREAT | O_WRONLY, .mode = SUID};
    long fd = syscall(SYS_openat2, AT_FDCWD, in_dir("openat2"), &how, sizeof(how));
    return fd < 0 ? -1 : has_bits();
}

static long by_tmpfile(void)
{
    char path[64];
    int fd = open(dir, O_TMPFILE | O_RDWR, SUID);
    if (fd < 0)
        return -1;
    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    if (linkat(AT_FDCWD, path, AT_FDCWD, in_dir("tmpfile"), AT_SYMLINK_FOLLOW) < 0)
        return -1;
    return has_bits();
}

static long by_mknod(void)
{
    return mknod(in_dir("mknod"), S_IFREG | SUID, 0) < 0 ? -1 : has_bits();
}

static long by_mknodat(void)
{
    return syscall(SYS_mknodat, AT_FDCWD, in_dir("mknodat"), S_IFREG | SUID, 0) < 0
               ? -1
               : has_bits();
}

static long by_int80(void)
{
    char *low = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
    long result = 15; /* chmod */
    if (low == MAP_FAILED || plain("int80") < 0)
        return -1;
    (void)snprintf(low, 4096, "%s", file);
    __asm__ volatile("int $0x80"
                     : "+a"(result)
                     : "b"(low), "c"((long)SUID)
                     : "memory", "r8", "r9", "r10", "r11");
    return result < 0 ? fail_with((int)-result) : has_bits();
}

static long by_io_uring(void)
{
    /* IORING_OP_OPENAT would carry the mode in memory: the ring itself must not come to be */
    char params[120] = {0};
    return syscall(SYS_io_uring_setup, 1, params);
}

/* Made where it is allowed, then moved: a copy on write of the clone is no file of the host. */
static long by_rename(void)
{
    char source[4200];
    (void)snprintf(source, sizeof(source), "%s/../setid-source", dir);
    int fd = open(source, O_CREAT | O_WRONLY, 0755);
    if (fd < 0 || chmod(source, SUID) < 0)
        return -1;
    return rename(source, in_dir("renamed")) < 0 ? -1 : has_bits();
}

static long by_capability(void)
{
    const struct vfs_cap_data value = {
        .magic_etc = VFS_CAP_REVISION_2 | VFS_CAP_FLAGS_EFFECTIVE,
        .data = {{.permitted = 0xffffffff}, {.permitted = 0xffffffff}},
    };
    if (plain("capability") < 0)
        return -1;
    return setxattr(file, "security.capability", &value, sizeof(value), 0);
}

static long by_capability_at(void)
{
    const struct vfs_cap_data value = {
        .magic_etc = VFS_CAP_REVISION_2 | VFS_CAP_FLAGS_EFFECTIVE,
        .data = {{.permitted = 0xffffffff}, {.permitted = 0xffffffff}},
    };
    const struct {
        unsigned long value;
        unsigned size;
        unsigned flags;
    } args = {(unsigned long)&value, sizeof(value), 0};
    if (plain("capability-at") < 0)
        return -1;
    return syscall(SYS_setxattrat, AT_FDCWD, file, 0, "security.capability", &args,
                   sizeof(args));
}

static int set_id_is_still_there(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && (st.st_mode & 06000) ? 0 : (int)fail_with(EPERM);
}

/* One that was there before must lose its bit when its content changes. */
static long rewrite_existing(void)
{
    char path[4200];
    (void)snprintf(path, sizeof(path), "%s/existing", dir);
    int fd = open(path, O_RDWR);
    if (fd < 0 || write(fd, "ATTACKED", 8) < 0)
        return -1;
    return set_id_is_still_there(path);
}

static long map_existing(void)
{
    char path[4200];
    (void)snprintf(path, sizeof(path), "%s/existing-map", dir);
    int fd = open(path, O_RDWR);
    char *map = fd < 0 ? MAP_FAILED : mmap(NULL, 8, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED)
        return -1;
    memcpy(map, "ATTACKED", 8);
    (void)msync(map, 8, MS_SYNC);
    return set_id_is_still_there(path);
}

static void try_all(void)
{
    static const struct {
        const char *name;
        long (*attack)(void);
    } attacks[] = {
        {"chmod", by_chmod},
        {"chmod_sgid", by_chmod_sgid},
        {"chmod_high_bits", by_chmod_high},
        {"chmod_wide_mode", by_chmod_wide},
        {"fchmod", by_fchmod},
        {"fchmodat", by_fchmodat},
        {"fchmodat2", by_fchmodat2},
        {"creat", by_creat},
        {"open", by_open},
        {"openat", by_openat},
        {"openat_high_bits", by_openat_high},
        {"openat2", by_openat2},
        {"tmpfile", by_tmpfile},
        {"mknod", by_mknod},
        {"mknodat", by_mknodat},
        {"int80_chmod", by_int80},
        {"io_uring", by_io_uring},
        {"rename", by_rename},
        {"capability", by_capability},
        {"capability_at", by_capability_at},
        {"rewrite_existing", rewrite_existing},
        {"map_existing", map_existing},
    };
    (void)umask(0);
    for (size_t i = 0; i < sizeof(attacks) / sizeof(attacks[0]); i++)
        attempt(attacks[i].name, attacks[i].attack);
}

int main(int argc, char **argv)
{
    char byte = 0;
    if (argc == 2 && strcmp(argv[1], "--who") == 0) {
        report("gained", geteuid() == 0 || getegid() == 0 ? 0 : -1, EPERM);
        return 0;
    }
    if (argc < 2)
        return 2;
    dir = argv[1];
    try_all();
    (void)printf("done: SUCCEEDED\n");
    (void)fflush(stdout);
    while (read(0, &byte, 1) > 0)
        continue;
    return 0;
}
