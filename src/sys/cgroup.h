/* SPDX-License-Identifier: Apache-2.0 */
/* Control groups, version 2 only: one leaf per sandbox. Needs root. Paths are made by isolate.
 * Source: Documentation/admin-guide/cgroup-v2.rst; cgroup.kill since kernel 5.14. */
#pragma once

#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>

/* Where cgroup2 is mounted on this machine ("/sys/fs/cgroup", or ".../unified" on a hybrid
 * one), copied into path. -ENOENT where it is nowhere. */
int cgroup_find_mount(char *path, size_t size) _must_check_;

/* Where the sandboxes' leaves lie unless something else is configured: the cgroup of
 * isolate-sandboxes.service while that unit runs, which shows in the subgroup of its keeper;
 * else a group of isolate's own. */
#define CGROUP_UNIT   "system.slice/isolate-sandboxes.service"
#define CGROUP_KEEPER "keeper"
#define CGROUP_OWN    "isolate"

/* Makes (if needed) and opens the parent of the sandboxes' leaves: `path` below the cgroup2
 * mount, or with "" the one of the two defaults that this machine uses. All processes that
 * ask agree: CGROUP_OWN goes on once it is there, until the keeper, when it starts, finds it
 * empty and removes it. O_PATH fd or -errno. A group that is removed under the fd gives -ENOENT
 * when a leaf is made there. */
int cgroup_open_parent(const char *path, struct error *err) _must_check_;

/* The one group that may be in a leaf: of what makes the sandbox's network. It goes with it. */
#define CGROUP_NETWORK "network"

/* Makes and opens the leaf `name`. -EEXIST where it is there already. */
int cgroup_create(int parent_fd, const char *name) _must_check_;
int cgroup_open(int parent_fd, const char *name) _must_check_;

/* Lets everybody look into the leaf, which as it is made is root's alone. */
int cgroup_show(int leaf_fd) _must_check_;

/* Lets the user make a few groups below the leaf and move its processes between them, as
 * cgroup-v2.rst says of delegation; limits stay root's. */
int cgroup_delegate(int leaf_fd, uint32_t uid) _must_check_;

/* Kills every process in the leaf, all at once (cgroup.kill). */
int cgroup_kill(int leaf_fd) _must_check_;

/* 1 if a process is in the leaf or below it, 0 if none, -errno. */
int cgroup_is_populated(int leaf_fd) _must_check_;

/* An fd of the leaf that has POLLPRI when that may have changed since it was last asked. */
int cgroup_open_events(int leaf_fd) _must_check_;
int cgroup_events_populated(int events_fd) _must_check_;

/* Kills, waits for at most timeout_ms until the leaf is empty, then removes it with what is
 * below. 0 also where it
 * does not exist; -EBUSY where processes stay (uninterruptible sleep). */
int cgroup_destroy(int parent_fd, const char *name, int timeout_ms) _must_check_;

/* The number behind `key` ("usage_usec ", or "" for a file that holds only that) in a file of
 * the group. 0 or -errno. */
int cgroup_read_value(int leaf_fd, const char *file, const char *key,
                      uint64_t *ret) _must_check_;

/* Whether a controller ("memory") can be used in the group, and given to those below it: 1, 0
 * or -errno. */
int cgroup_has_controller(int group_fd, const char *controller) _must_check_;

/* Whether the groups right below it have the controller: 1, 0 or -errno. */
int cgroup_gives_controller(int group_fd, const char *controller) _must_check_;

/* Gives a controller to all groups right below the group. 0 also where they have it; -ENOENT
 * where the group has none to give, -EBUSY where processes are directly in it. */
int cgroup_enable_controller(int group_fd, const char *controller) _must_check_;

/* How many processes are in it and in groups right below, those of the host's view. */
int cgroup_count_processes(int leaf_fd, uint64_t *ret) _must_check_;
