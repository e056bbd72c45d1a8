/* SPDX-License-Identifier: Apache-2.0 */
/* Processes by pidfd: made by clone3, watched and ended without a race on their number.
 * Source: clone(2), pidfd_open(2), pidfd_send_signal(2). */
#pragma once

#include "base/error.h"

#include <stdint.h>
#include <sys/types.h>

/* fork with CLONE_NEW* flags, a pidfd, and the child born inside cgroup_fd when that is ≥ 0
 * (CLONE_INTO_CGROUP, kernel 5.7). Returns the pid, 0 in the child, -errno. The child has a
 * copy of the parent's memory; until it executes something it may only use async-signal-safe
 * calls. *ret_pidfd is written in the parent only. Needs CAP_SYS_ADMIN for the namespaces. */
pid_t process_clone(uint64_t flags, int cgroup_fd, int *ret_pidfd) _must_check_;

int pidfd_open_pid(pid_t pid) _must_check_;

/* 0 or -errno; -ESRCH where the process is gone. */
int pidfd_signal(int pidfd, int signal) _must_check_;

/* Waits at most timeout_ms (-1: for ever) for the process to end: 1 ended, 0 not yet, -errno.
 */
int pidfd_wait(int pidfd, int timeout_ms) _must_check_;

/* execveat of a file by its fd, with AT_EMPTY_PATH. Returns only on failure: -errno. */
int exec_fd(int fd, char *const *argv, char *const *environment) _must_check_;

/* Closes every fd from first up. Safe between fork and exec. */
int close_from(int first) _must_check_;
/* Closes every fd from 3 up but these n, which are sorted; -EBADF among them is nothing. */
int close_others(int *fds, size_t n) _must_check_;

/* Monotonic time. */
uint64_t time_now_ms(void);
uint64_t time_now_us(void);
/* What this process has computed. */
uint64_t time_cpu_us(void);
/* Since 1970, for people. */
uint64_t time_wall_us(void);
