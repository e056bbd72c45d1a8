/* SPDX-License-Identifier: Apache-2.0 */
/* A store: templates, generations and clones as directories below one that only root enters.
 * What drivers have in common that keep their things in directories; each says in its
 * store_ops what it does differently. The directory holds:
 *
 *   templates/NAME/template.json       {"source","defaults"}
 *   templates/NAME/generations/GEN     {"created","pinned","layers":[ID…]}, top layer last, and
 *                                      "identity", where that is not its top layer's id
 *   templates/NAME/current             the id of the current generation
 *   templates/NAME/publishing          the id of one that is on its way to become it
 *   layers/ID/{layer.json,tree/}       {"first_id","bytes"}: files of the tree are stored with
 *                                      first_id added, as the sandbox that made them left them;
 *                                      "chain", "blob": layers.h
 *   clones/CLONE/clone.json            and the driver's own files beside it
 *   trash/CLONE/                       being removed: somebody may still hold fds of it
 *   imports/KEY/tree/                  being filled
 *   imports/KEY/uses                   marks of layers that it needs
 *   lock                               shared while something is resolved, exclusive to change
 *
 * Every file is replaced by rename; a layer is complete before a generation names it. */
#pragma once

#include "storage/layers.h"

#include <jansson.h>

#define LAYERS_MAX    128 /* of one generation; the kernel's limit for overlays is 500 */
#define LAYER_ID_SIZE 40

struct layer {
    char id[LAYER_ID_SIZE]; /* "" for a one-off root, which root_path names */
    uint32_t first_id;
};

struct layer_stack {
    struct layer
        items[LAYERS_MAX]; /* bottom first; one where a driver knows only whole trees */
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
struct store_clone {
    char name[CLONE_NAME_SIZE];
    char template_name[NAME_TEMPLATE_MAX + 1];
    char generation[GENERATION_SIZE];
    uint32_t first_id;
    bool durable;
    bool is_shifted; /* files are stored with first_id added */
    char *root_path; /* of a one-off root, else NULL */
    struct root_identity root;
    struct layer_stack stack;
};
void store_clone_clear(struct store_clone *clone);
#define _cleanup_store_clone_ _cleanup_(store_clone_clear)

struct store_generation {
    struct generation generation;
    struct layer_stack stack;
};

/* What differs between the drivers that keep a store. */
struct store_ops {
    /* An empty tree that can be written, `name` in the directory, mode 0755. */
    int (*tree_make)(int dir_fd, const char *name);
    /* A copy-on-write copy that can be written; of a tree of this store. NULL where clones are
     * made in another way. */
    int (*tree_copy)(int from_fd, int dir_fd, const char *name, struct error *err);
    /* An fd of another tree with the same in it to clone, or -errno: none. May be NULL. */
    int (*tree_source)(struct storage *storage, const char *layer);
    /* A generation may name the tree now: nothing in it changes any more. May be NULL. */
    int (*tree_seal)(int tree_fd);
    /* tree_remove_until (sys/tree.h) of a directory that may contain trees. */
    int (*remove)(int dir_fd, const char *name, uint64_t end_ms);
    /* What store_resolve does; NULL: store_generation_read. */
    int (*resolve)(struct storage *storage, const char *template_name, const char *generation,
                   struct store_generation *ret, struct error *err);
    /* Where a generation is a stack of several layers: shows one read-only; root_fd stands for
     * a layer "". Else NULL: it is one tree. */
    int (*mount_stack)(struct storage *storage, const struct layer_stack *stack, int root_fd,
                       int *ret_mount, struct error *err);
    /* Finishes or takes back the commit of a clone that a crash interrupted; under the
     * exclusive lock. May be NULL. */
    int (*recover)(struct storage *storage, const char *clone, struct error *err);
};

/* store_templates.c: templates, generations, layers */
int store_make(struct storage *storage, struct error *err);
/* A lock of its own, exclusive; where it is not waited for: -EAGAIN if somebody has it. */
int store_lock_named(struct storage *storage, const char *name, bool wait,
                     struct error *err) _must_check_;
/* Starts wait for the exclusive one: nothing that takes long belongs under it. */
int store_lock(struct storage *storage, bool exclusive, struct error *err) _must_check_;
/* The templates that `find` finds among the names in `templates`, in order. */
int store_list_templates(struct storage *storage,
                         int (*find)(struct storage *storage, const char *name,
                                     struct template_info *ret, struct error *err),
                         struct template_list *ret, struct error *err) _must_check_;
int store_templates(struct storage *storage, struct template_list *ret, struct error *err);
int store_find(struct storage *storage, const char *template_name, struct template_info *ret,
               struct error *err);
int store_defaults(struct storage *storage, const char *name, json_t **ret, struct error *err);
int store_generations(struct storage *storage, const char *template_name,
                      struct generation_list *ret, struct error *err);
int store_snapshot(struct storage *storage, const char *template_name,
                   char ret_generation[static GENERATION_SIZE], struct error *err);
int store_rollback(struct storage *storage, const char *template_name, const char *generation,
                   struct error *err);
int store_remove_generation(struct storage *storage, const char *template_name,
                            const char *generation, struct error *err);
int store_remove_template(struct storage *storage, const char *template_name,
                          struct error *err);
int store_generation_read(struct storage *storage, const char *template_name, const char *id,
                          struct generation *ret, struct layer_stack *ret_stack,
                          struct error *err) _must_check_;
int store_resolve(struct storage *storage, const char *template_name, const char *id,
                  struct store_generation *ret, struct error *err) _must_check_;
/* The same, with the lock held: its fd. id NULL: the current one. */
int store_generation_take(struct storage *storage, const char *template_name, const char *id,
                          bool exclusive, struct store_generation *ret,
                          struct error *err) _must_check_;
int store_publish_settle(struct storage *storage, const char *template_name) _must_check_;
/* An unused name for a generation of the template, from the clock. */
int store_generation_new(struct storage *storage, const char *template_name,
                         char ret[static GENERATION_SIZE], struct error *err) _must_check_;
/* Whether the template has had that generation published: 1, 0 or -errno. */
int store_is_published(struct storage *storage, const char *template_name,
                       const char *generation) _must_check_;

/* store_import.c: trees by way of store_ops */
int store_directory_make(int dir_fd, const char *name) _must_check_; /* a tree_make */
/* -EAGAIN where it is the storage's remove_until_ms. */
int store_remove(struct storage *storage, const char *path) _must_check_;
/* Takes it out of the directory; store_trash_empty does the rest. */
int store_discard(struct storage *storage, const char *directory, const char *name);

/* New layers, and the end of old ones. An import holds a lock on its directory for as long as
 * it is being filled, so that only what was left is collected. */
void store_layer_key(char *key, size_t size); /* a new, unused name */
int store_import(struct storage *storage, char *ret_key, size_t key_size, int *ret_tree_fd,
                 struct error *err);
/* Makes imports/KEY and keeps its lock in the storage; whether somebody has that. */
int store_import_begin(struct storage *storage, char *ret_key, size_t key_size,
                       struct error *err) _must_check_;
bool store_import_is_locked(struct storage *storage, const char *key);
/* An import that is a copy of a tree, which may be changed until it is complete. */
int store_import_copy(struct storage *storage, int from_fd, char *ret_key, size_t key_size,
                      struct error *err) _must_check_;
/* Writes layer.json and syncs the file system. */
int store_layer_write(struct storage *storage, int layer_fd, uint32_t first_id,
                      struct error *err) _must_check_;
int store_import_complete(struct storage *storage, const char *key,
                          struct error *err) _must_check_;
int store_publish(struct storage *storage, const char *key, const struct template_info *info,
                  char ret_generation[static GENERATION_SIZE], struct error *err);
int store_abort(struct storage *storage, const char *key, struct error *err);
int store_collect(struct storage *storage, struct error *err);
/* Finishes commits that a crash interrupted; under the exclusive lock. */
int store_recover(struct storage *storage, struct error *err) _must_check_;

/* Calls `each` for every entry of a directory of ours; "." and ".." left out. */
int store_for_each(struct storage *storage, const char *directory,
                   int (*each)(struct storage *storage, const char *name, void *data),
                   void *data) _must_check_;

/* store_clone.c: clone.json, and the names of clones */
/* Makes clones/NAME with its clone.json and has `fill` (may be NULL) put the rest into it; on
 * failure it is gone again. While it is being filled no lock is held. */
typedef int (*store_fill)(struct storage *storage, int clone_fd,
                          const struct store_clone *clone, int root_fd, struct error *err);
int store_clone_make(struct storage *storage, const struct clone_request *request,
                     store_fill fill, struct error *err) _must_check_;
int store_clone_read(struct storage *storage, const char *name, struct store_clone *ret,
                     struct error *err) _must_check_;
/* From and to `file` in clones/NAME; the name is not part of it. */
int store_clone_read_file(int clone_fd, const char *file, struct store_clone *ret) _must_check_;
int store_clone_write(int clone_fd, const char *file,
                      const struct store_clone *clone) _must_check_;
int store_clone_open(struct storage *storage, const char *name,
                     struct error *err) _must_check_; /* O_PATH fd */
int store_clone_destroy(struct storage *storage, const char *name, struct error *err);
int store_clones(struct storage *storage, struct clone_list *ret, struct error *err);
int store_trash(struct storage *storage, struct clone_list *ret, struct error *err);
int store_trash_empty(struct storage *storage, struct error *err);

/* The slots that drivers fill in the same way whose templates are directories of a store. */
#define STORE_SLOTS                                                                            \
    .templates = store_templates, .find = store_find, .defaults = store_defaults,              \
    .import = store_import, .publish = store_publish, .abort = store_abort,                    \
    .generations = store_generations, .snapshot = store_snapshot, .rollback = store_rollback,  \
    .remove_generation = store_remove_generation, .remove_template = store_remove_template,    \
    .arrivals = &store_arrivals, .collect = store_collect, .destroy = store_clone_destroy,     \
    .clones = store_clones, .trash = store_trash
