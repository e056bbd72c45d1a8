/* SPDX-License-Identifier: Apache-2.0 */
/* The overlay driver's inside: a store (store.h) whose generations are lists of layers. A clone
 * is a directory
 *
 *   clones/CLONE/{clone.json,upper/,work/}
 *   clones/CLONE/{clone.json,image}    with upper/ and work/ in the image (store_image.h)
 *   clones/CLONE/{commit.json,next/}   while a commit is going on (overlay_commit.c)
 */
#pragma once

#include "storage/overlay_root.h"
#include "storage/store.h"

/* A clone, and where its upper and work are. */
struct overlay_clone {
    struct store_clone store;
    int clone_fd;
    int image_fd; /* a detached mount; -EBADF: they are in the clone's directory */
};
void overlay_clone_clear(struct overlay_clone *clone);
#define _cleanup_overlay_clone_ _cleanup_(overlay_clone_clear)
#define OVERLAY_CLONE_NONE      ((struct overlay_clone){.clone_fd = -EBADF, .image_fd = -EBADF})

/* overlay_clone.c: reads clone.json and mounts the image, if there is one. */
int overlay_clone_open(struct storage *storage, const char *name, struct overlay_clone *ret,
                       struct error *err) _must_check_;
/* The directory of upper and work, borrowed. */
int overlay_clone_place(const struct overlay_clone *clone);

/* overlay_mount.c: mounts of stacks. A userns_fd that maps 0… to first_id… serves the layers
 * that are stored with 0; first_id is where all layers' ids are mapped to. */
int overlay_mount_stack(struct storage *storage, const struct overlay_clone *clone,
                        int userns_fd, int root_fd, int *ret_mount,
                        struct error *err) _must_check_;
/* The same with all layers id-mapped to a viewer's ids, the upper, too. Not beside the other:
 * two overlays of one upper do not see each other's changes. */
int overlay_mount_view(struct storage *storage, const struct overlay_clone *clone,
                       const struct storage_viewer *viewer, int root_fd, int *ret_mount,
                       struct error *err) _must_check_;
/* root_fd: of a stack that is a one-off root, else -EBADF. */
int overlay_mount_read_only(struct storage *storage, const struct layer_stack *stack,
                            int root_fd, int *ret_mount, struct error *err) _must_check_;

/* What the root of the layer below is like, with the sandbox's ids. */
int overlay_root_below(struct storage *storage, const struct store_clone *clone, int root_fd,
                       struct overlay_root *ret, struct error *err) _must_check_;
/* Makes empty upper and work directories, the upper like that root. */
int overlay_upper_make(int place_fd, const struct store_clone *clone,
                       const struct overlay_root *root, struct error *err) _must_check_;
/* The same in an image of that directory with nothing in it yet. */
int overlay_image_fill(int dir_fd, const char *image, const struct store_clone *clone,
                       const struct overlay_root *root, struct error *err) _must_check_;
int overlay_clone(struct storage *storage, const struct clone_request *request,
                  struct error *err);
int overlay_mount(struct storage *storage, const char *name, int userns_fd, int root_fd,
                  int *ret_mount, struct error *err);
int overlay_view(struct storage *storage, const char *name, const struct storage_viewer *viewer,
                 int root_fd, int *ret_mount, struct error *err);
int overlay_usage(struct storage *storage, const char *name, uint64_t *ret_bytes,
                  struct error *err);
int overlay_limit(struct storage *storage, const char *name, uint64_t bytes, struct error *err);

/* overlay_diff.c, overlay_commit.c */
int overlay_diff(struct storage *storage, const char *name,
                 const struct provided_list *provided, diff_callback callback, void *data,
                 struct error *err);
int overlay_commit(struct storage *storage, const char *name,
                   const struct provided_list *provided, const struct template_info *info,
                   char ret_generation[static GENERATION_SIZE], struct error *err);
/* Whether diff finds anything: 1, 0 or -errno. The caller holds the lock. */
int overlay_is_changed(struct storage *storage, const struct overlay_clone *clone,
                       const struct provided_list *provided, struct error *err) _must_check_;
int overlay_commit_recover(struct storage *storage, const char *clone, struct error *err);
