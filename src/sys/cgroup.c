/* SPDX-License-Identifier: Apache-2.0 */
/* Control groups, version 2. Runs in isolated as root; reads only kernel files. */
#include "sys/cgroup.h"

#include "base/parse.h"
#include "base/text.h"
#include "sys/fd.h"
#include "sys/process.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <sys/stat.h>

#define DESCENDANTS_MAX "256" /* systemd makes one for each of its services */
#define DEPTH_MAX       8     /* of groups below a leaf that is delegated */

int cgroup_find_mount(char *path, size_t size)
{
    _cleanup_fclose_ FILE *mounts = fopen("/proc/self/mounts", "re");
    if (!mounts)
        return -errno;
    char line[1024];
    while (fgets(line, sizeof(line), mounts)) {
        char target[512];
        char type[64];
        if (sscanf(line, "%*s %511s %63s", target, type) == 2 && streq(type, "cgroup2")) {
            (void)snprintf(path, size, "%s", target);
            return 0;
        }
    }
    return -ENOENT;
}

/* CGROUP_OWN where it is, the unit's group where its keeper is, else CGROUP_OWN, made. The
 * keeper may come while this looks: then its group is right, and the one that was made goes
 * again. */
static int open_default(int root)
{
    int fd = cgroup_open(root, CGROUP_OWN);
    if (fd >= 0)
        return fd;
    bool made = false;
    if (faccessat(root, CGROUP_UNIT "/" CGROUP_KEEPER, F_OK, 0) < 0) {
        fd = dir_make_at(root, CGROUP_OWN, 0755);
        made = true;
    }
    if (faccessat(root, CGROUP_UNIT "/" CGROUP_KEEPER, F_OK, 0) < 0)
        return fd;
    if (made && unlinkat(root, CGROUP_OWN, AT_REMOVEDIR) < 0 && errno != ENOENT)
        return fd; /* somebody has made a leaf there */
    fd_close(fd);
    return cgroup_open(root, CGROUP_UNIT);
}

int cgroup_open_parent(const char *path, struct error *err)
{
    char mount[512];
    int r = cgroup_find_mount(mount, sizeof(mount));
    if (r < 0)
        return fail(err, ERROR_UNSUPPORTED, r,
                    "cgroup v2 is not mounted anywhere; mount it with: mount -t cgroup2 none "
                    "/sys/fs/cgroup");
    _cleanup_close_ int root = open(mount, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (root < 0)
        return fail(err, ERROR_SYSTEM, errno, "cgroup: open %s: ", mount);
    int fd = *path ? dir_make_at(root, path, 0755) : open_default(root);
    if (fd < 0)
        return fail(err, ERROR_SYSTEM, fd, "cgroup: make %s/%s: ", mount,
                    *path ? path : CGROUP_OWN);
    return fd;
}

int cgroup_create(int parent_fd, const char *name)
{
    if (mkdirat(parent_fd, name, 0755) < 0)
        return -errno;
    return cgroup_open(parent_fd, name);
}

int cgroup_open(int parent_fd, const char *name)
{
    int fd = openat(parent_fd, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

int cgroup_show(int leaf_fd)
{
    char path[32];
    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", leaf_fd);
    return chmod(path, 0755) < 0 ? -errno : 0;
}

int cgroup_delegate(int leaf_fd, uint32_t uid)
{
    static const char *const files[] = {"cgroup.procs", "cgroup.threads",
                                        "cgroup.subtree_control"};
    char depth[16];
    (void)snprintf(depth, sizeof(depth), "%d", DEPTH_MAX);
    int r = file_write_at(leaf_fd, "cgroup.max.descendants", DESCENDANTS_MAX);
    if (r == 0)
        r = file_write_at(leaf_fd, "cgroup.max.depth", depth);
    for (size_t i = 0; i < ELEMENTS(files) && r == 0; i++)
        if (fchownat(leaf_fd, files[i], uid, uid, AT_SYMLINK_NOFOLLOW) < 0)
            r = -errno;
    if (r == 0 && fchownat(leaf_fd, "", uid, uid, AT_EMPTY_PATH) < 0)
        r = -errno;
    return r;
}

int cgroup_kill(int leaf_fd)
{
    return file_write_at(leaf_fd, "cgroup.kill", "1");
}

static int find_value(const char *text, const char *key, uint64_t *ret)
{
    for (const char *line = text; line && *line;) {
        const char *rest = text_after(line, key);
        if (rest) {
            char number[24];
            (void)snprintf(number, sizeof(number), "%.*s", (int)strcspn(rest, "\n"), rest);
            return parse_u64(number, 0, UINT64_MAX, ret, key, NULL);
        }
        line = strchr(line, '\n');
        line = line ? line + 1 : NULL;
    }
    return -ENODATA;
}

int cgroup_read_value(int leaf_fd, const char *file, const char *key, uint64_t *ret)
{
    _cleanup_buffer_ struct buffer text = {0};
    int r = file_read_at(leaf_fd, file, 65536, &text);
    return r < 0 ? r : find_value(text.data, key, ret);
}

int cgroup_is_populated(int leaf_fd)
{
    uint64_t populated = 0;
    int r = cgroup_read_value(leaf_fd, "cgroup.events", "populated ", &populated);
    return r < 0 ? r : populated != 0;
}

int cgroup_open_events(int leaf_fd)
{
    int fd = openat(leaf_fd, "cgroup.events", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    return fd < 0 ? -errno : fd;
}

int cgroup_events_populated(int events_fd)
{
    char text[256];
    uint64_t populated = 0;
    ssize_t n = pread(events_fd, text, sizeof(text) - 1, 0);
    if (n < 0)
        return -errno;
    text[n] = '\0';
    int r = find_value(text, "populated ", &populated);
    return r < 0 ? r : populated != 0;
}

static int has_word(int group_fd, const char *file, const char *word)
{
    _cleanup_buffer_ struct buffer text = {0};
    int r = file_read_at(group_fd, file, 4096, &text);
    return r < 0 ? r : text.data && text_has_word(text.data, word);
}

int cgroup_has_controller(int group_fd, const char *controller)
{
    return has_word(group_fd, "cgroup.controllers", controller);
}

int cgroup_gives_controller(int group_fd, const char *controller)
{
    return has_word(group_fd, "cgroup.subtree_control", controller);
}

int cgroup_enable_controller(int group_fd, const char *controller)
{
    char order[32];
    int r = cgroup_gives_controller(group_fd, controller);
    if (r != 0)
        return r < 0 ? r : 0;
    (void)snprintf(order, sizeof(order), "+%s", controller);
    return file_write_at(group_fd, "cgroup.subtree_control", order);
}

/* Visits the groups right below a group. Who has them may make and remove more meanwhile. */
static int each_below(int group_fd, int (*visit)(int group_fd, const char *name, void *context),
                      void *context)
{
    _cleanup_closedir_ DIR *dir = dir_stream(dir_open_at(group_fd, "."));
    struct dirent *entry = NULL;
    if (!dir)
        return -errno;
    int r = dir_next(dir, &entry);
    while (r > 0) {
        r = entry->d_type == DT_DIR ? visit(group_fd, entry->d_name, context) : 0;
        r = r == 0 ? dir_next(dir, &entry) : r;
    }
    return r;
}

static int add_processes(int group_fd, const char *name, void *context)
{
    uint64_t *n = context;
    char path[NAME_MAX + 16];
    _cleanup_buffer_ struct buffer text = {0};
    (void)snprintf(path, sizeof(path), "%s/cgroup.procs", name);
    int r = file_read_at(group_fd, path, 1U << 20, &text);
    for (const char *p = text.data; r == 0 && p && *p; p++)
        *n += *p == '\n';
    return 0; /* a group that is gone has none */
}

int cgroup_count_processes(int leaf_fd, uint64_t *ret)
{
    *ret = 0;
    (void)!add_processes(leaf_fd, ".", ret);
    return each_below(leaf_fd, add_processes, ret);
}

static int cgroup_wait_empty(int leaf_fd, int timeout_ms)
{
    uint64_t end = time_now_ms() + (uint64_t)timeout_ms;
    int pause_ms = 1;
    for (;;) {
        int populated = cgroup_is_populated(leaf_fd);
        if (populated <= 0)
            return populated;
        if (time_now_ms() >= end)
            return -EBUSY;
        /* the kernel notifies through cgroup.events, but a kill takes well under a millisecond
         */
        (void)poll(NULL, 0, pause_ms);
        pause_ms = pause_ms < 50 ? pause_ms * 2 : 50;
    }
}

/* Nothing is in it or below. */
static int remove_group(int parent_fd, const char *name, void *context)
{
    const int *depth = context;
    int below = *depth + 1;
    if (unlinkat(parent_fd, name, AT_REMOVEDIR) == 0 || errno != EBUSY || below > DEPTH_MAX)
        return 0;
    _cleanup_close_ int group = cgroup_open(parent_fd, name);
    int r = group < 0 ? group : each_below(group, remove_group, &below);
    (void)unlinkat(parent_fd, name, AT_REMOVEDIR);
    return r;
}

int cgroup_destroy(int parent_fd, const char *name, int timeout_ms)
{
    if (unlinkat(parent_fd, name, AT_REMOVEDIR) == 0 || errno == ENOENT)
        return 0;
    _cleanup_close_ int leaf = cgroup_open(parent_fd, name);
    if (leaf < 0)
        return leaf == -ENOENT ? 0 : leaf;
    int r = cgroup_kill(leaf);
    if (r == 0)
        r = cgroup_wait_empty(leaf, timeout_ms);
    if (r < 0)
        return r;
    for (int tries = 0; r == 0 && tries < 50; tries++) {
        int depth = 0;
        r = each_below(leaf, remove_group, &depth);
        if (unlinkat(parent_fd, name, AT_REMOVEDIR) == 0 || errno == ENOENT)
            return 0;
        if (errno != EBUSY)
            return -errno;
        (void)poll(NULL, 0, 2);
    }
    return r < 0 ? r : -EBUSY;
}
