/* SPDX-License-Identifier: Apache-2.0 */
/* Starting the nursery. Runs in isolated as root. */
#include "daemon/nursery.h"

#include "base/log.h"
#include "base/text.h"
#include "daemon/builder.h"
#include "daemon/child.h"
#include "daemon/pool_shape.h"
#include "daemon/sandbox.h"
#include "sys/fd.h"
#include "sys/mount.h"
#include "sys/process.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define HARDENED (MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC)

static int attach_new(const char *type, const char *place)
{
    const char *const options[] = {NULL};
    _cleanup_close_ int mount = mount_new(type, options, HARDENED);
    if (mount < 0 || mkdir(place, 0555) < 0)
        return mount < 0 ? mount : -errno;
    return mount_attach_path(mount, place);
}

/* A root with proc and sysfs, whole and unmasked: the kernel gives new ones only to who sees
 * such. */
static int enter_small_root(void)
{
    const char *const options[] = {"source", "isolate-nursery", "mode", "0555", "size", "4k",
                                   NULL};
    int r = mount_classic(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL);
    _cleanup_close_ int root =
        mount_new("tmpfs", options, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV);
    if (r == 0)
        r = root < 0 ? root : mount_attach_path(root, "/");
    if (r == 0 && fchdir(root) < 0)
        r = -errno;
    if (r == 0)
        r = attach_new("proc", "proc");
    if (r == 0)
        r = attach_new("sysfs", "sys");
    if (r == 0)
        r = mount_pivot_root(".", ".");
    if (r == 0)
        r = mount_detach(".");
    return r == 0 && chdir("/") < 0 ? -errno : r;
}

/* In its child. */
static int enter_nursery(const void *data)
{
    const struct daemon *daemon = data;
    int r = enter_small_root();
    /* sandboxes inherit it */
    return r == 0 && setrlimit(RLIMIT_NOFILE, &daemon->files) < 0 ? -errno : r;
}

static void stop(struct daemon *daemon)
{
    daemon->nursery_io = sd_event_source_unref(daemon->nursery_io);
    if (daemon->nursery_pid > 0 && pidfd_signal(daemon->nursery_pidfd, SIGKILL) == 0)
        (void)waitpid(daemon->nursery_pid, NULL, 0);
    daemon->nursery_pid = 0;
    daemon->nursery_pidfd = fd_close(daemon->nursery_pidfd);
    daemon->nursery_fd = fd_close(daemon->nursery_fd);
}

static int on_exit_of(sd_event_source *source, int fd, uint32_t events, void *data)
{
    struct daemon *daemon = data;
    log_warning("the nursery died (pid %d)", (int)daemon->nursery_pid);
    stop(daemon);
    builder_kill(daemon);
    return 0;
}

int nursery_start(struct daemon *daemon, struct error *err)
{
    stop(daemon);
    char *const argv[] = {(char *)"isolate-nursery", NULL};
    char *const environment[] = {NULL};
    _cleanup_close_ int program_fd = -EBADF;
    int r = daemon_load_program(daemon, "isolate-nursery", &program_fd, err);
    if (r < 0)
        return r;
    const struct child_program program = {
        .what = "nursery",
        .argv = argv,
        .environment = environment,
        .program_fd = program_fd,
        .second_fd = -EBADF,
        .namespaces = CLONE_NEWNS,
        .enter = enter_nursery,
        .data = daemon,
    };
    r = child_start(&program, &daemon->nursery_pid, &daemon->nursery_pidfd, &daemon->nursery_fd,
                    err);
    if (r < 0)
        return r;
    r = sd_event_add_io(daemon->event, &daemon->nursery_io, daemon->nursery_pidfd, EPOLLIN,
                        on_exit_of, daemon);
    return r < 0 ? fail(err, ERROR_SYSTEM, r, "nursery: ") : 0;
}

static bool is_known(const struct daemon *daemon, pid_t pid)
{
    for (const struct sandbox *sandbox = daemon->sandboxes; sandbox; sandbox = sandbox->next)
        if (sandbox->body.instance.pid == pid)
            return true;
    for (const struct shape *shape = daemon->shapes; shape; shape = shape->next)
        for (const struct member *member = shape->members; member; member = member->next)
            if (member->body.instance.pid == pid)
                return true;
    return pid == daemon->nursery_pid;
}

/* A zombie of what the nursery clones, before or after it became init. */
static bool is_lost(pid_t pid)
{
    static const char *const names[] = {"isolate-init", "memfd:isolate-i", "isolate-nursery",
                                        "memfd:isolate-n"};
    char path[40];
    _cleanup_buffer_ struct buffer text = {0};
    (void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    if (file_read_at(AT_FDCWD, path, 4096, &text) < 0 || !text.data)
        return false;
    char *name = strchr(text.data, '(');
    char *end = strrchr(text.data, ')');
    if (!name || !end || end[1] != ' ' || end[2] != 'Z')
        return false;
    *end = '\0';
    bool lost = false;
    for (size_t i = 0; i < ELEMENTS(names); i++)
        lost = lost || streq(name + 1, names[i]);
    return lost;
}

void nursery_reap_lost(struct daemon *daemon)
{
    _cleanup_buffer_ struct buffer text = {0};
    if (file_read_at(AT_FDCWD, "/proc/thread-self/children", 1U << 20, &text) < 0 || !text.data)
        return;
    char *end = text.data;
    for (char *at = end;; at = end) {
        pid_t pid = (pid_t)strtol(at, &end, 10);
        if (end == at)
            return;
        if (!is_known(daemon, pid) && is_lost(pid))
            (void)waitpid(pid, NULL, WNOHANG);
    }
}
