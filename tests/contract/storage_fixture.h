/* SPDX-License-Identifier: Apache-2.0 */
/* What the contract tests of storage drivers share: a file system of its own for each run, a
 * template with one of everything, and processes that work in a clone as its root. Needs root.
 * All of it is in a private mount namespace: no mount and no loop device outlives the process.
 */
#pragma once

#include "base/buffer.h"
#include "base/error.h"
#include "storage/storage.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

/* behind the four that it needs */
#include <cmocka.h>

#define FIRST_ID 1000000U /* of the n-th clone: FIRST_ID + n * 65536 */
#define TEMPLATE "base"

struct fixture {
    struct storage storage;
    char file_system[16]; /* "ext4", "xfs", "btrfs", "tmpfs", "zfs" */
    char mount[64];       /* where it is mounted */
    char root[80];        /* a one-off root on it */
    int state_fd;
    pid_t zfs_fuse;
    bool has_xattrs;
    bool has_quotas;
    bool has_images;  /* where there are no quotas, a clone that is limited gets an image */
    bool is_limited;  /* every clone is, from its beginning */
    bool has_root;    /* zfs-fuse decides itself who is root, and the sandbox's is not */
    bool shares_ids;  /* the ids of all clones are those of the template */
    bool is_volatile; /* new clones need not be durable, and may be mounted only once */
};

extern struct fixture fixture;

#define assert_ok(expression)                                                                  \
    do {                                                                                       \
        struct error err = {0};                                                                \
        int _r = (expression);                                                                 \
        if (_r < 0)                                                                            \
            fail_msg("%s: %d %s", #expression, _r, err.text);                                  \
    } while (0)

/* Mounts the file system (with "+quota" behind its name: with quotas; with "+image": every
 * clone is limited, by an image) and opens the driver. 0, or 77 where this machine cannot. */
int fixture_open(const char *driver, const char *file_system);
void fixture_close(void);

/* Around every test: the template "base", where the driver keeps templates; afterwards
 * everything is destroyed, and the test fails if something is left in the driver's directory.
 */
int fixture_setup(void **state);
int fixture_teardown(void **state);

bool has(enum storage_capability capability);

/* One of everything that a system root can contain. */
void populate(int root_fd);

/* The value of system.posix_acl_access: little-endian, as this machine is. */
struct acl {
    uint32_t version;
    struct acl_entry {
        uint16_t tag;
        uint16_t permissions;
        uint32_t id;
    } entries[5];
};
#define ACL_NAMED_USER 1 /* the entry that has an id */
void acl_fill(struct acl *acl, uint32_t uid);

/* import + populate + publish; -errno. */
int template_make(const char *name, char ret_generation[static GENERATION_SIZE],
                  struct error *err);

/* The n-th clone of a generation (NULL: the current one) of the template, or of the one-off
 * root where template_name is NULL. ret_name, if not NULL, is CLONE_NAME_SIZE long. */
int clone_make(const char *template_name, const char *generation, unsigned n, char *ret_name,
               struct error *err);
void clone_name(unsigned n, char ret[static CLONE_NAME_SIZE]);
uint32_t clone_first_id(unsigned n);

/* Its mount; fails the test. */
int clone_mount(unsigned n);

/* Its root, in which the host's root may write: an id-mapped mount does not know that one. */
int clone_open(unsigned n);

/* Runs a shell script in the clone, as its root, in its root directory. Returns its exit
 * status. */
int clone_shell(unsigned n, const char *script);

/* The same as a user of the host in what storage_view shows of the clone, which is settled
 * afterwards. */
int clone_view_shell(unsigned n, uint32_t uid, const char *script);

/* Destroys all clones and templates, collects, and checks that nothing is left. */
void destroy_everything(void);

/* Text of everything below the directory: type, mode, owner (first_id subtracted), size, time,
 * content, attributes; one entry a line, in order. */
void tree_list(int dir_fd, uint32_t first_id, struct buffer *ret);

/* The same of a clone, or of the template's generation (NULL: current). */
void clone_list_tree(unsigned n, struct buffer *ret);
void template_list_tree(const char *name, const char *generation, struct buffer *ret);

/* "A /x\nC /y\n…" */
void clone_list_diff(unsigned n, const struct provided_list *provided, struct buffer *ret);

/* Calls step(data) in a child that is killed after its n-th system call. True if it ended
 * before that. */
bool killed_at(unsigned n, int (*step)(void *data), void *data);

/* So many are tried at most; ISOLATE_CONTRACT_EVERY=10 takes only every tenth step, for a quick
 * look. */
#define CRASH_STEPS_MAX 5000
unsigned crash_every(void);

/* The tests, by file */
void clones_isolated(void **state);
void clone_ids_and_flags(void **state);
void clone_volatile(void **state);
void clone_viewed(void **state);
void clones_many(void **state);
void clone_root_swapped(void **state);
void clone_root_later(void **state);
void clone_destroy_twice(void **state);
void clone_destroy_busy(void **state);
void clone_unsupported(void **state);
void clone_dataset_missing(void **state);
void template_updated_below_clones(void **state);
void template_removed_below_clones(void **state);
void template_removed_in_a_hurry(void **state);
void template_rollback_and_snapshot(void **state);
void template_published_by_two(void **state);
void arrival_whole(void **state);
void arrival_follows(void **state);
void arrival_named_earlier(void **state);
void arrival_refused(void **state);
void crash_arrival(void **state);
void native_whole_and_next(void **state);
void native_refused(void **state);
void crash_native(void **state);
void layers_same_tree(void **state);
void layers_shared(void **state);
void layers_packed_otherwise(void **state);
void layers_held(void **state);
void layers_gone(void **state);
void layers_made_twice(void **state);
void layers_own(void **state);
void layers_crash(void **state);
void diff_exact(void **state);
void diff_nothing(void **state);
void diff_opaque_and_renamed(void **state);
void diff_deep(void **state);
void diff_provided(void **state);
void diff_of_root(void **state);
void commit_same_tree(void **state);
void commit_twice(void **state);
void commit_new_template(void **state);
void commit_refused(void **state);
void diff_attributes(void **state);
void commit_limit(void **state);
void commit_nothing(void **state);
void commit_volatile(void **state);
void commit_provided(void **state);
void extents_compressed(void **state);
void extents_no_cow(void **state);
void destroy_never_ends(void **state);
void destroy_in_parts(void **state);
void destroy_deep(void **state);
void destroy_while_written(void **state);
void crash_publish(void **state);
void crash_clone(void **state);
void crash_commit(void **state);
void crash_destroy(void **state);
void limit_disk(void **state);
void limit_ends(void **state);
void limit_held(void **state);
void limit_files(void **state);
void limit_room(void **state);
void limit_unsupported(void **state);
void limit_during_rescan(void **state);
void space_clone(void **state);
void space_mountpoint(void **state);
void space_publish(void **state);
void space_commit(void **state);
void space_destroy(void **state);
