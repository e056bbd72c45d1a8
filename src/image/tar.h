/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of image_extract, which all run in its confined child: "/" is the target, nothing
 * can be executed, the archive is hostile. Functions return 0 or -errno with err set; errors
 * about one entry do not name it: tar_read puts its name in front. */
#pragma once

#include "base/error.h"
#include "sys/xattrs.h"

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

struct archive;
struct archive_entry;
struct progress;

#define TAR_ENTRIES_MAX UINT64_C(50000000)

struct tar_metadata {
    uint32_t uid;
    uint32_t gid;
    uint32_t mode;            /* 07777 */
    struct timespec times[2]; /* accessed, modified */
    struct xattrs xattrs;
};

#define _cleanup_tar_metadata_ _cleanup_(tar_metadata_clear)
void tar_metadata_clear(struct tar_metadata *metadata);

/* Reads an entry's owner, mode, times, attributes and ACLs. */
int tar_metadata_read(struct archive_entry *entry, struct tar_metadata *ret,
                      struct error *err) _must_check_;

/* A directory whose metadata is set at the end, when nothing is made in it any more. */
struct tar_directory {
    char *path;
    struct tar_metadata metadata;
};

/* The tree as far as it is unpacked. */
struct tar_target {
    int root_fd;
    int parent_fd; /* of the entry before, -EBADF at first */
    char *parent_path;
    struct tar_directory
        *directories; /* in the order of the archive: the last one of a path counts */
    size_t n_directories;
    size_t directories_capacity;
    struct progress *progress;
};

void tar_target_clear(struct tar_target *target);

/* The directory that is to hold the entry `path` (normalized, not ""), made with mode 0755
 * where the archive has not mentioned it. The fd stays the target's. *ret_name points into
 * path. ERROR_DENIED where the way leads through a symlink or another non-directory. */
int tar_target_parent(struct tar_target *target, const char *path, const char **ret_name,
                      int *ret_fd, struct error *err) _must_check_;
/* To be called when a directory was removed. */
void tar_target_forget_parent(struct tar_target *target);

/* Notes metadata (consumed) for the end. */
int tar_target_add_directory(struct tar_target *target, const char *path,
                             struct tar_metadata *take_metadata,
                             struct error *err) _must_check_;
/* Sets the metadata of all directories. On failure err names the directory. */
int tar_target_finish(struct tar_target *target, struct error *err) _must_check_;

/* Makes one entry, with content read from archive, over whatever has its name. */
int tar_entry_make(struct tar_target *target, struct archive *archive,
                   struct archive_entry *entry, struct error *err) _must_check_;

/* Sets metadata on an open file or directory; where fd < 0, on `name` in parent_fd, which
 * becomes the working directory. */
int tar_metadata_apply(const struct tar_metadata *metadata, int fd, int parent_fd,
                       const char *name, bool is_symlink, struct error *err) _must_check_;

/* The error of a damaged archive: -EBADMSG. */
int tar_damaged(struct archive *archive, struct error *err);

/* Reads the archive to its end into root_fd. */
int tar_read(int archive_fd, const char *what, int root_fd, struct progress *progress,
             struct error *err) _must_check_;
