/* SPDX-License-Identifier: Apache-2.0 */
/* The ZFS driver's inside. The storage `zfs:PARENT` keeps as datasets
 *
 *   PARENT/NAME               a template; its snapshots @YYYYmmddTHHMMSSZ are generations
 *   PARENT/NAME_<ns>          a clone
 *   PARENT/NAME:GEN           an intermediate: GEN with its ids shifted to a range of its own,
 *                             @shifted; only where ZFS cannot be id-mapped (zfs_shift.c)
 *   PARENT/IMPORT-KEY         being filled
 *   PARENT/GONE-<ns>          a removed template whose clones are still there
 *
 * all marked with user properties (io.isolate:…): what is not marked is never destroyed. A
 * store's directory (store.h) below the state directory says what must be known without asking
 * ZFS: templates/NAME/template.json, clones/CLONE/clone.json, imports/KEY, ranges/NAME, and
 * templates/NAME/rolled, as long as an older generation is the current one.
 *
 * Runs in isolated as root; names of datasets are an administrator's, checked. */
#pragma once

#include "base/buffer.h"
#include "storage/store_publish.h"
#include "sys/program.h"

#define ZFS_NAME_SIZE 256
#define ZFS_PATH_SIZE 512

/* What `zfs get all` says of a dataset or snapshot. */
struct zfs_dataset {
    char type[16]; /* "" where there is none */
    char mountpoint[ZFS_PATH_SIZE];
    char origin[ZFS_NAME_SIZE];
    char used[24];
    bool mounted;
    bool locked; /* encrypted, and its key is not loaded */
    /* only those that are set on itself */
    char template_name[NAME_TEMPLATE_MAX + 1];
    char clone[CLONE_NAME_SIZE];
    char import[LAYER_ID_SIZE];
    bool made; /* by isolate: it may be destroyed with its template */
};

/* zfs_pool.c */
/* -EIO with a message where the dataset's pool is suspended. */
int zfs_check_pool(const char *dataset, struct error *err) _must_check_;
/* Gives up what waits for the dataset's pool when that is suspended, or does not answer for two
 * minutes. The name is borrowed. */
struct program_watch zfs_watch(const char *dataset);
/* Gives up nothing but what waits for a suspended pool. */
struct program_watch zfs_watch_patiently(const char *dataset);

/* zfs_command.c. Blocks for as long as the zfs command takes. */
/* PARENT of the storage. */
const char *zfs_parent(const struct storage *storage);
/* -EINVAL with a message unless it is a name that ZFS can have. */
int zfs_check_name(const char *dataset, struct error *err) _must_check_;
/* PARENT/format…; */
void zfs_name(const struct storage *storage, char ret[static ZFS_NAME_SIZE], const char *format,
              ...) _printf_(3, 4);
/* Runs `zfs ARGUMENTS…` (NULL-ended, "zfs" first); out may be NULL. -ENOENT, -EEXIST, -EBUSY,
 * -ENOSPC as far as its message tells, -ENXIO where there is no ZFS to ask, else -EIO. */
int zfs_run(const char *const *argv, struct buffer *out, struct error *err) _must_check_;
/* The same with a file as stdin, however long that takes. */
int zfs_run_from(const char *const *argv, int stdin_fd, struct error *err) _must_check_;
#define ZFS(err, ...) zfs_run((const char *const[]){"zfs", __VA_ARGS__, NULL}, NULL, err)
/* 0 also where there is none; then ret->type is "". */
int zfs_get(const char *dataset, struct zfs_dataset *ret, struct error *err) _must_check_;
/* The same, of a filesystem that can be used: exists, no volume, not locked. */
int zfs_get_filesystem(const char *dataset, struct zfs_dataset *ret,
                       struct error *err) _must_check_;
/* The same, of one that an administrator has named, and may still have to make. */
int zfs_get_chosen(const char *dataset, struct zfs_dataset *ret,
                   struct error *err) _must_check_;
/* Why one of isolate's is not there: -ENODEV its pool is not imported, -ENOENT it is gone. */
int zfs_explain_missing(const char *dataset, struct error *err) _must_check_;
/* Takes over lines of PROPERTY, value and source. */
void zfs_take(char *text, struct zfs_dataset *ret);
/* `zfs VERB FIRST SECOND`, tried again for a while where something is busy. */
int zfs_again(struct error *err, const char *verb, const char *first,
              const char *second) _must_check_;
/* Destroys a dataset with its snapshots, but not one that has other datasets in it; at once, or
 * not at all. */
int zfs_destroy_now(const char *dataset) _must_check_;
/* The same; tries again for a while where it is busy. */
int zfs_destroy(const char *dataset, struct error *err) _must_check_;
/* Calls back for each dataset directly below PARENT, with its value of a property ("-": none).
 */
int zfs_for_each_child(const struct storage *storage, const char *property,
                       int (*each)(void *data, const char *name, const char *value), void *data,
                       struct error *err) _must_check_;

/* zfs_mount.c */
bool zfs_is_kernel(void); /* not zfs-fuse */
bool zfs_can_idmap(void); /* OpenZFS 2.2 */
/* Where the kernel's ZFS has a dataset mounted for the machine to see. */
bool zfs_mounted_at(const char *dataset, char ret[static ZFS_PATH_SIZE]);
/* A detached mount, nosuid, nodev. Where ZFS is in the kernel also of a snapshot. */
int zfs_mount_detached(const char *dataset, const struct zfs_dataset *of, bool read_only,
                       int *ret_mount, struct error *err) _must_check_;
/* Takes it away from there, whoever still has files of it open: so it can be renamed. */
void zfs_unmount_visibly(const struct zfs_dataset *of);
/* Mounts it where `zfs list` says it is, id-mapped unless first_id is 0; nothing where it has
 * no such place. */
int zfs_mount_visibly(const char *dataset, const struct zfs_dataset *of, uint32_t first_id,
                      struct error *err) _must_check_;

/* zfs_parent.c */
/* PARENT must be a filesystem that can be used; only root gets into the directory where it is
 * mounted from then on: templates and clones are visible in it. -EPERM where something else is
 * in it than isolate's and the dataset `coming` (may be NULL), unless it is closed already. */
int zfs_close_parent(const struct storage *storage, const char *coming,
                     struct error *err) _must_check_;
/* The slot `place`. */
int zfs_place(const char *dataset, const char *mountpoint, struct error *err);

/* zfs_template.c */
int zfs_find(struct storage *storage, const char *name, struct template_info *ret,
             struct error *err);
int zfs_templates(struct storage *storage, struct template_list *ret, struct error *err);
/* -ENOENT with a message where there is none of that name. */
int zfs_template_need(struct storage *storage, const char *name,
                      struct error *err) _must_check_;
int zfs_template_write(struct storage *storage, const struct template_info *info,
                       struct error *err) _must_check_;
int zfs_remove_generation(struct storage *storage, const char *name, const char *generation,
                          struct error *err);
int zfs_remove_template(struct storage *storage, const char *name, struct error *err);
/* Destroys a dataset that isolate has made. Where clones hold it, it is renamed to GONE-<ns>
 * and goes with a later collection. */
int zfs_dispose(struct storage *storage, const char *dataset, struct error *err) _must_check_;

/* zfs_generations.c */
int zfs_generations(struct storage *storage, const char *name, struct generation_list *ret,
                    struct error *err);
/* The same of a dataset that may be no template yet. */
int zfs_list_generations(struct storage *storage, const char *name, struct generation_list *ret,
                         struct error *err) _must_check_;
/* Says so: -ENOENT. */
int zfs_fail_without_snapshot(const struct storage *storage, const char *name,
                              struct error *err) _must_check_;
/* For store_ops.resolve. */
int zfs_resolve(struct storage *storage, const char *name, const char *generation,
                struct store_generation *ret, struct error *err);
int zfs_snapshot(struct storage *storage, const char *name,
                 char ret_generation[static GENERATION_SIZE], struct error *err);
int zfs_rollback(struct storage *storage, const char *name, const char *generation,
                 struct error *err);
/* Writes a file in the template's directory, at once or not at all. */
int zfs_note(struct storage *storage, const char *name, const char *file, const char *text,
             struct error *err) _must_check_;
/* A name for the next generation, newer than all there are. */
int zfs_generation_name(struct storage *storage, const char *name,
                        char ret[static GENERATION_SIZE], struct error *err) _must_check_;
/* Snapshots the template's dataset as a new generation of that name. about: or NULL. Under the
 * lock of changes. */
int zfs_generation_take(struct storage *storage, const char *name, const char *generation,
                        const struct generation_about *about, struct error *err) _must_check_;
/* Sets on a snapshot what that sets on a new one. */
int zfs_generation_mark(const char *snapshot, const struct generation_about *about,
                        struct error *err) _must_check_;
/* One that comes with a name of its own is the current one as soon as it is there, `before` is
 * until then. Under the same lock. */
int zfs_generation_expect(struct storage *storage, const char *name, const char *generation,
                          const char *before, struct error *err) _must_check_;
/* A name, and that. */
int zfs_generation_make(struct storage *storage, const char *name, bool pinned,
                        char ret_generation[static GENERATION_SIZE],
                        struct error *err) _must_check_;

/* zfs_register.c */
int zfs_register(struct storage *storage, const char *name, const char *source,
                 struct error *err) _must_check_;

/* zfs_limit.c */
int zfs_limit(struct storage *storage, const char *name, uint64_t bytes, struct error *err);

/* zfs_shift.c */
int zfs_range(struct storage *storage, const char *name, uint32_t *ret_first_id,
              struct error *err);
int zfs_range_make(struct storage *storage, const char *name, uint32_t first_id,
                   struct error *err);
int zfs_ranges(struct storage *storage, range_callback callback, void *data, struct error *err);
/* The intermediate of a generation with ids from first_id on (0: as they are), made where it is
 * missing. Blocks for as long as all its files take. */
int zfs_shift_ensure(struct storage *storage, const char *name, const char *generation,
                     uint32_t first_id, char ret_dataset[static ZFS_NAME_SIZE],
                     struct error *err) _must_check_;
/* Of who makes intermediates, or takes any away; behind the lock of changes. */
int zfs_shift_lock(struct storage *storage, bool wait, struct error *err) _must_check_;
/* Removes the intermediates of a generation (NULL: of all of them, and the range). */
int zfs_shift_remove(struct storage *storage, const char *name, const char *generation,
                     struct error *err) _must_check_;
