/* SPDX-License-Identifier: Apache-2.0 */
/* Runs one of the machine's programs: no shell, a fixed environment (only TMPDIR is taken over,
 * if absolute, else /var/tmp), default signals, stdin from /dev/null unless said otherwise. */
#pragma once

#include "base/buffer.h"
#include "base/error.h"

#include <stdint.h>
#include <sys/types.h>

/* Starts argv[0], a bare name looked for in the system's own directories, with these fds as
 * stdout and stderr. ERROR_NOT_FOUND where there is no such program. */
int program_start(const char *const *argv, int stdout_fd, int stderr_fd, pid_t *ret_pid,
                  struct error *err) _must_check_;

/* Waits: 0 where it ended with status 0, else -errno and how it ended in err. */
int program_wait(pid_t pid, const char *name, struct error *err) _must_check_;

/* Runs argv to its end and appends what it printed, at most max bytes. */
int program_capture(const char *const *argv, size_t max, struct buffer *ret,
                    struct error *err) _must_check_;

/* What is asked five times a second while a process runs; -errno with err set gives it up. */
struct program_watch {
    int (*look)(void *data, uint64_t running_ms, struct error *err);
    void *data;
};

/* Waits for a child to end, or until the watch gives it up: then it is killed, and where it
 * does not end at once, because it waits in the kernel for something that does not come, it is
 * left alone. 0 and its wait status, or -errno. */
int program_wait_watched(pid_t pid, const struct program_watch *watch, int *ret_status,
                         struct error *err) _must_check_;
/* program_capture with such a watch. stdin_fd: -EBADF for /dev/null. */
int program_capture_watched(const char *const *argv, size_t max, int stdin_fd,
                            const struct program_watch *watch, struct buffer *ret,
                            struct error *err) _must_check_;

/* The lines of a log that say why it went wrong ("E: …", "Err:…", "cannot …"), the last three
 * of them, else its last line, joined with "; " into out. Pure. */
void program_complaint(const char *log, char *out, size_t size);
