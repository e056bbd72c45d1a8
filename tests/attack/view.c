/* SPDX-License-Identifier: Apache-2.0 */
/* A mount that somebody was handed (the clone that their hook is to see), attached in
 * namespaces of their own: view DIRECTORY ATTEMPT FD. What isolate has closed in it stays
 * closed. The control, as root: view DIRECTORY ATTEMPT SOURCE UID makes such a mount of SOURCE,
 * with the same flags, and becomes UID. */
#include "attempt.h"

#include <linux/mount.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>

static int view;
static const char *place;

static int write_text(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    ssize_t n = write(fd, text, strlen(text));
    (void)close(fd);
    return n < 0 ? -1 : 0;
}

/* Root of a user namespace of one's own, with the caller's own id. */
static int enter(void)
{
    char map[64];
    uid_t uid = getuid();
    if (unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0 ||
        write_text("/proc/self/setgroups", "deny") < 0)
        return -1;
    (void)snprintf(map, sizeof(map), "0 %u 1", uid);
    return write_text("/proc/self/uid_map", map);
}

static int attach(void)
{
    return enter() < 0 || syscall(SYS_move_mount, view, "", AT_FDCWD, place,
                                  MOVE_MOUNT_F_EMPTY_PATH) < 0
               ? -1
               : 0;
}

static int clear(int dir_fd, const char *path, unsigned flags, unsigned attributes)
{
    struct mount_attr attr = {.attr_clr = attributes};
    return (int)syscall(SYS_mount_setattr, dir_fd, path, flags, &attr, sizeof(attr));
}

static long open_below(const char *name, int flags)
{
    char path[4096];
    (void)snprintf(path, sizeof(path), "%s/%s", place, name);
    return open_and_close(path, flags);
}

static long device(void)
{
    return attach() < 0 || clear(AT_FDCWD, place, 0, MOUNT_ATTR_NODEV) < 0
               ? -1
               : open_below("dev/node", O_RDWR);
}

static long device_of_a_copy(void)
{
    if (enter() < 0)
        return -1;
    int copy = (int)syscall(SYS_open_tree, view, "",
                            AT_EMPTY_PATH | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);
    if (copy < 0 || clear(copy, "", AT_EMPTY_PATH, MOUNT_ATTR_NODEV) < 0)
        return -1;
    int fd = openat(copy, "dev/node", O_RDWR | O_CLOEXEC);
    return fd < 0 ? -1 : close(fd);
}

static long set_id(void)
{
    return attach() < 0 ? -1 : clear(AT_FDCWD, place, 0, MOUNT_ATTR_NOSUID);
}

static int make_view(const char *source, uid_t uid)
{
    struct mount_attr attr = {.attr_set = MOUNT_ATTR_NODEV | MOUNT_ATTR_NOSUID};
    view = (int)syscall(SYS_open_tree, AT_FDCWD, source, OPEN_TREE_CLONE);
    return view < 0 ||
                   syscall(SYS_mount_setattr, view, "", AT_EMPTY_PATH, &attr, sizeof(attr)) <
                       0 ||
                   setresgid(uid, uid, uid) < 0 || setresuid(uid, uid, uid) < 0 ||
                   prctl(PR_SET_DUMPABLE, 1) < 0
               ? -1
               : 0;
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        long (*attack)(void);
    } attacks[] = {
        {"device", device}, {"device_of_a_copy", device_of_a_copy}, {"set_id", set_id}};
    if (argc < 4)
        return 2;
    place = argv[1];
    view = atoi(argv[3]);
    if (argc > 4 && make_view(argv[3], (uid_t)atoi(argv[4])) < 0)
        return 1;
    for (size_t i = 0; i < sizeof(attacks) / sizeof(*attacks); i++)
        if (strcmp(argv[2], attacks[i].name) == 0)
            attempt(attacks[i].name, attacks[i].attack);
    return 0;
}
