/* SPDX-License-Identifier: Apache-2.0 */
/* What goes into and comes out of storage drivers (storage.h). Lists are the caller's, to be
 * cleared. */
#pragma once

#include "base/error.h"
#include "spec/names.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#define GENERATION_SIZE 24 /* YYYYmmddTHHMMSSZ[-N], NUL included */

#define GENERATION_IDENTITY_SIZE 48

struct generation {
    char id[GENERATION_SIZE];
    bool current;
    bool pinned;    /* made by `template snapshot`: stays until removed */
    time_t created; /* seconds since 1970 */
    uint64_t bytes; /* on disk, shared layers counted too */
    uint32_t layers;
    /* Of its content: the same wherever it was sent to, and of no other one. */
    char identity[GENERATION_IDENTITY_SIZE];
};

struct generation_list {
    struct generation *items; /* oldest first */
    size_t n;
};

struct template_info {
    char name[NAME_TEMPLATE_MAX + 1];
    char source[256]; /* as `template create --from` was told */
    /* for publish and commit, of a new template: what `defaults` gives from then on (borrowed),
     * or NULL. Nothing that finds a template sets it. */
    json_t *defaults;
};

struct template_list {
    struct template_info *items; /* by name */
    size_t n;
};

struct clone_info {
    char name[CLONE_NAME_SIZE];
    char template_name[NAME_TEMPLATE_MAX + 1]; /* "" for a one-off root */
    char generation[GENERATION_SIZE];
};

struct clone_list {
    struct clone_info *items;
    size_t n;
};

void generation_list_clear(struct generation_list *list);
void template_list_clear(struct template_list *list);
void clone_list_clear(struct clone_list *list);
#define _cleanup_generations_ _cleanup_(generation_list_clear)
#define _cleanup_templates_   _cleanup_(template_list_clear)
#define _cleanup_clones_      _cleanup_(clone_list_clear)

/* What a new clone is made from and for. */
struct clone_request {
    const char *clone;         /* its name: TEMPLATE_<nanoseconds> */
    const char *template_name; /* and generation; or NULL with root_fd and root_path */
    const char *generation;
    int root_fd;
    /* for people, and to open it again for a kept clone; NULL: it comes later
     * (STORAGE_LATE_ROOTS) */
    const char *root_path;
    uint32_t first_id;    /* host id of the sandbox's uid 0 */
    bool shares_ids;      /* it is the template's range (storage_driver.range) */
    bool durable;         /* survives a power cut: kept clones and updates */
    char *ret_generation; /* GENERATION_SIZE bytes: the one that was taken, "" for a root */
};

/* Whom a clone is shown to on the host: the sandbox's 0:0 are its ids there. */
struct storage_viewer {
    uint32_t uid;
    uint32_t gid;
    uint32_t first_id; /* the sandbox's range */
};

/* A range of ids that belongs to a template. A non-zero return ends the listing. */
typedef int (*range_callback)(void *data, const char *template_name, uint32_t first_id);

struct storage_room; /* room.h */

enum diff_kind {
    DIFF_ADDED = 'A',
    DIFF_CHANGED = 'C',
    DIFF_DELETED = 'D',
};

/* Called for each difference in order of path (absolute in the sandbox). A non-zero return ends
 * the walk and becomes its result. */
typedef int (*diff_callback)(void *data, enum diff_kind kind, const char *path);

/* A file that isolate wrote into the clone itself, or anything else that is no change of the
 * user's: `content` must still be what stands there (a link's target for a symlink). */
struct provided_file {
    const char *path;
    const char *content;
};

struct provided_list {
    const struct provided_file *items;
    size_t n;
};
