/* SPDX-License-Identifier: Apache-2.0 */
/* What a sandbox has used, and which limits it met, as its cgroup has counted: for receipts. */
#pragma once

#include <jansson.h>

/* Turns on what counts memory and disk traffic for groups below parent_fd, where it can be;
 * from then on every group that is made costs more. As root. */
void usage_want(int parent_fd);

/* Adds memory_peak_bytes, io_read_bytes and io_written_bytes, each only where the group counts
 * them. All its processes are dead, and the group still there. */
void usage_add(int leaf_fd, json_t *usage);

struct body;

/* New: "oom" where the kernel killed a process for want of memory, "pids" where a fork failed;
 * exit_kind says the rest. */
json_t *usage_reached(int leaf_fd, int exit_kind);

/* Adds "disk" and "inodes" where a clone that is limited is full. Waits for its file system,
 * but not for long. */
void usage_add_disk(const struct body *body, json_t *reached);
