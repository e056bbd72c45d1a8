/* SPDX-License-Identifier: Apache-2.0 */
/* See usage.h. Runs in isolated as root; reads kernel files of the sandbox's own cgroup.
 * Source: Documentation/admin-guide/cgroup-v2.rst. */
#include "daemon/usage.h"

#include "base/buffer.h"
#include "base/text.h"
#include "daemon/body.h"
#include "spec/message.h"
#include "storage/room.h"
#include "sys/cgroup.h"
#include "sys/fd.h"
#include "sys/process.h"
#include "sys/program.h"

#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define IO_STAT_MAX 65536

/* Of what is left. A writer is refused where the next piece, and what describes it, has no
 * place; a few inodes are isolate's own. */
#define DISK_FULL_BYTES  (256U << 10)
#define DISK_FULL_PART   16
#define DISK_FULL_INODES 4
#define DISK_LOOK_MS     1000

enum full { FULL_DISK = 1, FULL_INODES = 2, FULL_UNKNOWN = 4 };

void usage_want(int parent_fd)
{
    static const char *const controllers[] = {"memory", "io", "pids"};
    for (size_t i = 0; i < ELEMENTS(controllers); i++)
        if (cgroup_has_controller(parent_fd, controllers[i]) == 1)
            (void)!cgroup_enable_controller(parent_fd, controllers[i]);
}

/* The sum of all disks: "8:0 rbytes=1 wbytes=2 rios=…" a line. */
static uint64_t sum_of(const char *text, const char *key)
{
    uint64_t sum = 0;
    for (const char *at = strstr(text, key); at; at = strstr(at, key)) {
        at += strlen(key);
        sum += strtoull(at, NULL, 10);
    }
    return sum;
}

static void add(json_t *object, const char *key, uint64_t value)
{
    (void)json_object_set_new(object, key, json_integer((json_int_t)value));
}

void usage_add(int leaf_fd, json_t *usage)
{
    uint64_t peak = 0;
    _cleanup_buffer_ struct buffer io = {0};
    if (leaf_fd < 0)
        return;
    if (cgroup_read_value(leaf_fd, "memory.peak", "", &peak) == 0)
        add(usage, "memory_peak_bytes", peak);
    if (file_read_at(leaf_fd, "io.stat", IO_STAT_MAX, &io) < 0)
        return;
    add(usage, "io_read_bytes", io.data ? sum_of(io.data, " rbytes=") : 0);
    add(usage, "io_written_bytes", io.data ? sum_of(io.data, " wbytes=") : 0);
}

json_t *usage_reached(int leaf_fd, int exit_kind)
{
    static const struct {
        const char *name;
        const char *file;
        const char *key;
    } counted[] = {{"oom", "memory.events", "oom_kill "}, {"pids", "pids.events", "max "}};
    json_t *list = json_array();
    for (size_t i = 0; i < ELEMENTS(counted) && leaf_fd >= 0; i++) {
        uint64_t n = 0;
        if (cgroup_read_value(leaf_fd, counted[i].file, counted[i].key, &n) == 0 && n > 0)
            (void)json_array_append_new(list, json_string(counted[i].name));
    }
    if (exit_kind == EXIT_KIND_TIMEOUT || exit_kind == EXIT_KIND_CPU_TIME)
        (void)json_array_append_new(
            list, json_string(exit_kind == EXIT_KIND_TIMEOUT ? "time" : "cpu_time"));
    return list;
}

static int fullness(const struct body *body)
{
    struct storage_room room;
    uint64_t least = body->record.disk_bytes / DISK_FULL_PART;
    if (storage_room(&body->storage, body->root_fd, &room) < 0)
        return FULL_UNKNOWN;
    least = least < DISK_FULL_BYTES ? least : DISK_FULL_BYTES;
    return (room.bytes < least ? FULL_DISK : 0) |
           (room.inodes < DISK_FULL_INODES ? FULL_INODES : 0);
}

static int look(void *data, uint64_t running_ms, struct error *err)
{
    return running_ms < DISK_LOOK_MS
               ? 0
               : fail(err, ERROR_BUSY, ETIMEDOUT, "the file system does not answer");
}

/* Only the clone's fd is to be open as long as its file system takes: not the locks and
 * connections of isolated. */
static _Noreturn void look_at_disk(const struct body *body)
{
    int fds[] = {body->root_fd};
    _exit(close_others(fds, ELEMENTS(fds)) < 0 ? FULL_UNKNOWN : fullness(body));
}

/* In a fork, because a file system may take its time, or not answer at all. While one hangs so,
 * nobody waits for another. */
static int ask_disk(const struct body *body)
{
    static pid_t hanging;
    int status = 0;
    int pidfd = -EBADF;
    struct error ignored = {0};
    const struct program_watch watch = {look, NULL};
    if (hanging > 0 && waitpid(hanging, NULL, WNOHANG) == 0)
        return FULL_UNKNOWN;
    hanging = 0;
    pid_t pid = process_clone(0, -EBADF, &pidfd);
    if (pid == 0)
        look_at_disk(body);
    if (pid < 0)
        return FULL_UNKNOWN;
    fd_close(pidfd);
    if (program_wait_watched(pid, &watch, &status, &ignored) == 0)
        return WIFEXITED(status) ? WEXITSTATUS(status) : FULL_UNKNOWN;
    if (waitpid(pid, NULL, WNOHANG) == 0)
        hanging = pid;
    return FULL_UNKNOWN;
}

void usage_add_disk(const struct body *body, json_t *reached)
{
    if (body->record.disk_bytes == 0 || body->root_fd < 0)
        return;
    int full = ask_disk(body);
    if (full & FULL_UNKNOWN)
        return;
    if (full & FULL_DISK)
        (void)json_array_append_new(reached, json_string("disk"));
    if (full & FULL_INODES)
        (void)json_array_append_new(reached, json_string("inodes"));
}
