/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of image_extract, which all run in its confined child: "/" is the target, nothing
 * can be executed, the archive is hostile. Functions return 0 or -errno with err set; errors
 * about one entry do not name it: tar_read puts its name in front. */
#pragma once

#include "base/error.h"
#include "image/key_map.h"
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

/* Reads an entry's owner, mode, times, attributes and ACLs. of_layer: without the attributes
 * that are the business of the machine that the layer came from. */
int tar_metadata_read(struct archive_entry *entry, bool of_layer, struct tar_metadata *ret,
                      struct error *err) _must_check_;

/* A directory whose metadata is set at the end, when nothing is made in it any more. */
struct tar_directory {
    char *path;
    uint64_t inode;
    bool times_only; /* it is a lower layer's, and only its content changes */
    struct tar_metadata metadata;
};

/* The tree as far as it is unpacked. An archive on its own makes all of it, and its entries
 * pass through no symlinks; the layers of an image (OCI image-spec, layer.md) each change what
 * is there, and their entries may pass through symlinks, as the files' paths will later. */
struct tar_target {
    int root_fd;
    bool layered;
    bool has_lower; /* there are layers below */
    uint64_t entries;
    int parent_fd; /* of the entry before, -EBADF at first */
    char *parent_path;
    uint64_t parent_inode;
    struct tar_directory *directories; /* the last entry of each counts */
    size_t n_directories;
    size_t directories_capacity;
    struct key_map by_inode; /* where in directories */
    struct key_map names;    /* of this layer, where there are layers below: tar_layer.c */
    struct progress *progress;
};

#define TAR_TARGET_NEW(root, drawn)                                                            \
    {                                                                                          \
        .root_fd = (root), .parent_fd = -EBADF, .progress = (drawn)                            \
    }

void tar_target_clear(struct tar_target *target);

/* The directory that is to hold the entry `path` (normalized, not ""), made with mode 0755
 * where the archive has not mentioned it. The fd stays the target's. *ret_name points into
 * path. ERROR_DENIED where the way leads through a symlink or another non-directory. */
int tar_target_parent(struct tar_target *target, const char *path, const char **ret_name,
                      int *ret_fd, struct error *err) _must_check_;
/* Opens a directory of the target (O_PATH) by a normalized path, as entries are found. */
int tar_target_open(const struct tar_target *target, const char *path) _must_check_;

/* Notes metadata (consumed) for the end. */
int tar_target_add_directory(struct tar_target *target, const char *path, uint64_t inode,
                             struct tar_metadata *take_metadata,
                             struct error *err) _must_check_;
/* Before the content of a directory changes: where that is a lower layer's, it is to have the
 * times again at the end that it has now. */
int tar_target_keep_times(struct tar_target *target, const char *path, int fd,
                          struct error *err) _must_check_;
/* Sets the metadata of all directories. On failure err names the directory. */
int tar_target_finish(struct tar_target *target, struct error *err) _must_check_;

/* tar_layer.c. Whether an entry says that something of the layers below is gone: 1 where that
 * is done, 0 where it is a file of its own, -errno. */
int tar_layer_whiteout(struct tar_target *target, const char *path,
                       struct error *err) _must_check_;
/* `name` in the directory of that inode number is the present layer's, so that its whiteouts do
 * not mean it. */
int tar_layer_note(struct tar_target *target, uint64_t directory, const char *name,
                   struct error *err) _must_check_;
/* The same of all directories that lead to a path. */
int tar_layer_note_way(struct tar_target *target, const char *path,
                       struct error *err) _must_check_;

/* Makes one entry, with content read from archive, over whatever has its name. */
int tar_entry_make(struct tar_target *target, struct archive *archive,
                   struct archive_entry *entry, struct error *err) _must_check_;

/* Sets metadata on an open file or directory; where fd < 0, on `name` in parent_fd, which
 * becomes the working directory. */
int tar_metadata_apply(const struct tar_metadata *metadata, int fd, int parent_fd,
                       const char *name, bool is_symlink, struct error *err) _must_check_;

/* The error of a damaged archive: -EBADMSG. */
int tar_damaged(struct archive *archive, struct error *err);

/* Reads a layer, an uncompressed tar archive, from a pipe to its end, into a target that is
 * layered. The caller finishes it. */
int tar_read_layer(int stream_fd, struct tar_target *target, struct error *err) _must_check_;

/* Reads the archive to its end into root_fd. */
int tar_read(int archive_fd, const char *what, int root_fd, struct progress *progress,
             struct error *err) _must_check_;
