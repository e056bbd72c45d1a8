/* SPDX-License-Identifier: Apache-2.0 */
/* A walk through a directory tree, one directory a level: sorted names and a few open fds,
 * however deep the tree is. Symlinks are never followed, mount points never crossed. Restores
 * nothing: callers that change the working directory do that themselves. */
#pragma once

#include "base/buffer.h"
#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

/* Directories kept open: the deepest ones. Those above are reopened through ".." and must still
 * be the same ones then. */
#define WALK_OPEN_MAX 32

/* The directories from a root down to the present one, without their content. */
struct dir_level {
    int fd;
    dev_t device;
    ino_t inode;
};

struct dir_stack {
    struct dir_level *levels;
    size_t n;
    size_t capacity;
};

#define _cleanup_dir_stack_ _cleanup_(dir_stack_clear)
void dir_stack_clear(struct dir_stack *stack);

int dir_stack_push(struct dir_stack *stack, int take_fd) _must_check_;
/* Leaves the deepest directory. -ESTALE where the one above is not where it was. */
int dir_stack_pop(struct dir_stack *stack) _must_check_;
/* The fd of the deepest directory, which the stack owns. */
int dir_stack_top(const struct dir_stack *stack);

/* What an entry is. */
struct walk_entry {
    const char *name;    /* "" for the root */
    const char *path;    /* from the root, without a leading "/" */
    int parent_fd;       /* readable; -EBADF for the root */
    bool is_mount_point; /* what is mounted there does not belong to the tree */
    mode_t mode;
    uid_t uid;
    gid_t gid;
    dev_t rdev;
    uint64_t device;
    uint64_t inode;
    uint32_t links;
    uint64_t size;
    struct timespec accessed;
    struct timespec modified;
};

/* The callbacks of one walk. Each returns 0 or -errno with err set, which ends the walk. */
struct walk_visitor {
    /* Any entry but a directory. */
    int (*entry)(void *data, const struct walk_entry *entry, struct error *err);
    /* A directory, before its content; directory_fd is readable. The root is the first of all.
     */
    int (*enter)(void *data, const struct walk_entry *entry, int directory_fd,
                 struct error *err);
    /* The same directory after its content; may be NULL. */
    int (*leave)(void *data, const struct walk_entry *entry, int directory_fd,
                 struct error *err);
    void *data;
};

/* Visits everything below root_fd, the root included. Entries that vanish before they are
 * looked at are left out. A directory that is a mount point is entered and found empty. */
int walk_tree(int root_fd, const struct walk_visitor *visitor, struct error *err) _must_check_;
