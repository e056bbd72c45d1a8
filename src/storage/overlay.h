/* SPDX-License-Identifier: Apache-2.0 */
/* The overlay driver's inside. Its directory holds:
 *
 *   templates/NAME/template.json       {"source"}
 *   templates/NAME/generations/GEN     {"created","pinned","layers":[ID…]}, top layer last
 *   templates/NAME/current             the id of the current generation
 *   templates/NAME/publishing          the id of one that is on its way to become it
 *   layers/ID/{layer.json,tree/}       {"first_id","bytes"}: files of the tree are stored with
 *                                      first_id added, as the sandbox that made them left them
 *   clones/CLONE/{clone.json,upper/,work/}
 *   clones/CLONE/{commit.json,next/}   while a commit is going on (overlay_commit.c)
 *   trash/CLONE/                       being removed: somebody may still hold fds of it
 *   imports/KEY/tree/                  being filled
 *   lock                               shared while something is resolved, exclusive to change
 *
 * Every file is replaced by rename; a layer is complete before a generation names it; what no
 * generation and no clone names is garbage. */
#pragma once

#include "storage/storage.h"

#include <jansson.h>

#define LAYERS_MAX    128 /* of one generation; the kernel's limit is 500 */
#define LAYER_ID_SIZE 40

struct layer {
    char id[LAYER_ID_SIZE]; /* "" for a one-off root, which root_path names */
    uint32_t first_id;
};

struct layer_stack {
    struct layer items[LAYERS_MAX]; /* bottom first */
    size_t n;
};

/* Which directory a one-off root is. A device may have another number after a boot: the file
 * system's own id, where it has one, will do instead. */
struct root_identity {
    uint64_t device;
    uint64_t file_system;
    uint64_t inode; /* 0: not known */
};

/* What clone.json says. */
struct overlay_clone {
    char name[CLONE_NAME_SIZE];
    char template_name[NAME_TEMPLATE_MAX + 1];
    char generation[GENERATION_SIZE];
    uint32_t first_id;
    bool durable;
    char *root_path; /* of a one-off root, else NULL */
    struct root_identity root;
    struct layer_stack stack;
};
void overlay_clone_clear(struct overlay_clone *clone);
#define _cleanup_overlay_clone_ _cleanup_(overlay_clone_clear)

/* overlay_store.c: templates, generations, layers */
int overlay_lock(struct storage *storage, bool exclusive, struct error *err) _must_check_;
int overlay_generation_read(struct storage *storage, const char *template_name, const char *id,
                            struct generation *ret, struct layer_stack *ret_stack,
                            struct error *err) _must_check_;
/* Writes a generation and makes it current: both or neither, whatever fails. Until `publishing`
 * is gone from the template's directory, a crash is settled by overlay_publish_settle. */
int overlay_generation_publish(struct storage *storage, const struct template_info *info,
                               const char *id, const struct layer_stack *stack, bool pinned,
                               struct error *err) _must_check_;
int overlay_publish_settle(struct storage *storage, const char *template_name) _must_check_;
/* An unused name for a generation of the template, from the clock. */
int overlay_generation_new(struct storage *storage, const char *template_name,
                           char ret[static GENERATION_SIZE], struct error *err) _must_check_;
int overlay_layer_write(int layer_fd, uint32_t first_id, struct error *err) _must_check_;

/* overlay_import.c: new layers, and the end of old ones. An import holds a lock on its
 * directory for as long as it is being filled, so that only what was left is collected. */
void overlay_layer_key(char *key, size_t size); /* a new, unused name */
int overlay_import(struct storage *storage, char *ret_key, size_t key_size, int *ret_tree_fd,
                   struct error *err);
int overlay_publish(struct storage *storage, const char *key, const struct template_info *info,
                    char ret_generation[static GENERATION_SIZE], struct error *err);
int overlay_abort(struct storage *storage, const char *key, struct error *err);
int overlay_collect(struct storage *storage, struct error *err);

/* overlay_json.c: small JSON files, and layer stacks in them */
json_t *overlay_json_read(int dir_fd, const char *name);
int overlay_json_write(int dir_fd, const char *name, json_t *take_value) _must_check_;
json_t *layer_stack_to_json(const struct layer_stack *stack);
int layer_stack_from_json(const json_t *value, struct layer_stack *ret) _must_check_;

/* overlay_mount.c: mounts of stacks. A userns_fd that maps 0… to first_id… serves the layers
 * that are stored with 0; first_id is where all layers' ids are mapped to. */
int overlay_mount_stack(struct storage *storage, const struct overlay_clone *clone,
                        int userns_fd, int root_fd, int *ret_mount,
                        struct error *err) _must_check_;
/* root_fd: of a stack that is a one-off root, else -EBADF. */
int overlay_mount_read_only(struct storage *storage, const struct layer_stack *stack,
                            int root_fd, int *ret_mount, struct error *err) _must_check_;

/* overlay_root.c: the directories that one-off roots are */
int root_identify(int root_fd, struct root_identity *ret) _must_check_;
/* An fd of the clone's root, the caller's: a copy of root_fd, or where that is negative its
 * path opened again. -ESTALE where it is not the directory that the clone was made with. */
int overlay_root_open(const struct overlay_clone *clone, int root_fd,
                      struct error *err) _must_check_;

/* overlay_clone.c */
int overlay_clone_read(struct storage *storage, const char *name, struct overlay_clone *ret,
                       struct error *err) _must_check_;
int overlay_clone_write(int clone_fd, const struct overlay_clone *clone) _must_check_;
int overlay_clone_open(struct storage *storage, const char *name,
                       struct error *err) _must_check_; /* O_PATH fd */
/* Makes empty upper and work directories, the upper like the root of the layer below. */
int overlay_upper_make(struct storage *storage, int clone_fd, const struct overlay_clone *clone,
                       int root_fd, struct error *err) _must_check_;
int overlay_clone_make(struct storage *storage, const struct clone_request *request,
                       struct error *err);
int overlay_clone_mount(struct storage *storage, const char *name, int userns_fd, int root_fd,
                        int *ret_mount, struct error *err);
int overlay_clone_destroy(struct storage *storage, const char *name, struct error *err);
int overlay_clones(struct storage *storage, struct clone_list *ret, struct error *err);
int overlay_trash(struct storage *storage, struct clone_list *ret, struct error *err);
int overlay_trash_empty(struct storage *storage, struct error *err);
int overlay_clone_usage(struct storage *storage, const char *name, uint64_t *ret_bytes,
                        struct error *err);

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
/* Finishes commits that a crash interrupted. */
int overlay_commit_recover(struct storage *storage, struct error *err) _must_check_;
/* Whether the file at path below dir_fd is exactly what isolate provided. */
bool overlay_is_provided(int dir_fd, const char *path, const struct provided_list *provided);
