/* SPDX-License-Identifier: Apache-2.0 */
/* What a process that reads what is hostile may still do when it has been taken over. Needs
 * root, as the confinement does. */
#include "image/confine.h"

#include "sys/fd.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <linux/btrfs.h>
#include <linux/fs.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define QUOTACTL_FD 443
#define FCHMODAT2   452

static bool is_denied(long result)
{
    return result < 0 && errno == EPERM;
}

/* The number of the first that is not as it should be; 0 for none. */
static int attempts(int root_fd, bool opens)
{
    struct btrfs_ioctl_search_args search = {0};
    struct btrfs_ioctl_vol_args_v2 destroy = {.flags = BTRFS_SUBVOL_SPEC_BY_ID};
    struct file_clone_range range = {.src_fd = -1};
    int flags = 0;
    const bool good[] = {
        is_denied(ioctl(root_fd, BTRFS_IOC_TREE_SEARCH, &search)),
        is_denied(ioctl(root_fd, BTRFS_IOC_SNAP_DESTROY_V2, &destroy)),
        is_denied(ioctl(root_fd, FS_IOC_GETFLAGS, &flags)),
        is_denied(syscall(SYS_ioctl, root_fd, FICLONERANGE | UINT64_C(1) << 32, &range)),
        !is_denied(ioctl(root_fd, FICLONERANGE, &range)),
        is_denied(syscall(QUOTACTL_FD, root_fd, 0, 0, NULL)),
        is_denied(syscall(SYS_fanotify_init, 0, 0)),
        is_denied(sethostname("taken", 5)),
        is_denied(socket(AF_UNIX, SOCK_STREAM, 0)),
        is_denied(shmget(IPC_PRIVATE, 4096, 0600)),
        is_denied(syscall(SYS_keyctl, 0, -1, 0)),
        is_denied(chroot(".")),
        is_denied(syscall(SYS_unshare, 0)),
        mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) ==
            MAP_FAILED,
        is_denied(execl("/bin/true", "true", NULL)),
        is_denied(openat(root_fd, "new", O_CREAT | O_WRONLY | O_CLOEXEC, 0600)) != opens,
        is_denied(renameat(root_fd, "none", root_fd, "one")) != opens,
        is_denied(syscall(FCHMODAT2, root_fd, "none", 0700, 0)) != opens,
    };
    for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++)
        if (!good[i])
            return (int)i + 1;
    return 0;
}

/* The exit status of one that is confined to a directory, and tries. */
static int run(enum confine_rights rights)
{
    char path[] = "/tmp/confine-XXXXXX";
    int status = 0;
    assert_non_null(mkdtemp(path));
    int dir = dir_open_at(AT_FDCWD, path);
    pid_t pid = fork();
    assert_true(dir >= 0 && pid >= 0);
    if (pid == 0) {
        struct error err = {0};
        int root = -EBADF;
        /* what is not denied shall change nothing here */
        int r = unshare(CLONE_NEWUTS) < 0 ? -errno : 0;
        if (r == 0)
            r = confine(rights, &dir, 1, dir, &root, &err);
        _exit(r < 0 ? 100 : attempts(root, rights == CONFINE_WRITES_TREE));
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    (void)unlinkat(dir, "new", 0);
    fd_close(dir);
    assert_int_equal(rmdir(path), 0);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void who_writes_a_tree(void **state)
{
    if (geteuid() != 0)
        skip();
    assert_int_equal(run(CONFINE_WRITES_TREE), 0);
}

static void who_only_streams(void **state)
{
    if (geteuid() != 0)
        skip();
    assert_int_equal(run(CONFINE_STREAMS), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_writes_a_tree),
        cmocka_unit_test(who_only_streams),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
