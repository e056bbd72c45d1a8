/* SPDX-License-Identifier: Apache-2.0 */
/* Storage: templates with their generations, and clones of them. One driver a file (or a few
 * with its name in front), one registry; no driver's name is compared anywhere else. All calls
 * need root and run in isolated; they work below one directory that only root can enter. Names
 * come checked (spec/names.h). Contents of templates and clones are hostile: nothing in them is
 * followed or executed.
 *
 * Every operation returns 0 or -errno with err set, leaves nothing half-made, and may be
 * repeated after a crash at any point. What passes to engines is a detached mount fd. */
#pragma once

#include "storage/storage_types.h"

/* What a driver can do; a missing bit means that the calls behind it are refused by name. */
enum storage_capability {
    STORAGE_TEMPLATES = 1 << 0,  /* keeps named templates with generations */
    STORAGE_ROOTS = 1 << 1,      /* runs on a directory that is given by fd */
    STORAGE_DISPOSABLE = 1 << 2, /* changes in a clone leave the template alone */
    STORAGE_DIFF = 1 << 3,       /* diff and commit */
    STORAGE_DATASETS = 1 << 4,   /* LOCATION is no directory but a dataset of ZFS */
    STORAGE_LIMIT = 1 << 5,      /* limits the disk space of clones */
    STORAGE_OWN_PAGES = 1 << 6,  /* a new clone has nothing in the page cache yet */
    STORAGE_VIEWS = 1 << 7,      /* shows a clone to who made it, by another id map */
    STORAGE_ARRIVALS = 1 << 8,   /* receives generations, and knows their identities */
    STORAGE_LATE_ROOTS = 1 << 9, /* clones whose directory is named later */
    STORAGE_LAYERS = 1 << 10,    /* keeps layers of images one by one */
    STORAGE_SUBVOLUMES = 1 << 11 /* generations are subvolumes, which btrfs sends */
};

#define STORAGE_NAME_SIZE 256

struct storage {
    const struct storage_driver *driver;
    char name[STORAGE_NAME_SIZE]; /* DRIVER[:LOCATION], as records and callers name it */
    int dir_fd;                   /* the driver's own directory, O_PATH */
    int import_fd;                /* the lock of the import that was begun last; -EBADF: none */
    bool is_hurried; /* removing a generation waits for nobody who takes long: -EAGAIN */
    uint64_t remove_until_ms; /* monotonic: when destroy and collect stop; 0: never */
};

struct storage_driver {
    const char *name;
    uint32_t capabilities;
    const struct store_ops *store; /* of drivers that keep a store (store.h), else NULL */

    /* Whether a directory lies on a file system that the driver can use; NULL: never chosen
     * without being named. */
    bool (*suits)(int dir_fd);
    /* Makes the driver's directories below dir_fd where they are missing. */
    int (*open)(struct storage *storage, struct error *err);

    /* Whether the location is there and can be used, before the first template; may block.
     * NULL: nothing to ask. */
    int (*check)(struct storage *storage, struct error *err);
    /* With STORAGE_DATASETS: makes a dataset for a place that was named as a directory, mounted
     * there; nothing where it is there already. */
    int (*place)(const char *dataset, const char *mountpoint, struct error *err);

    /* Templates. `import` gives an empty directory to fill with a system root (ids as they are
     * in the source) and its key, and keeps collectors away from it for as long as the storage
     * is open. Nobody has a file of it open any more when publish makes it the current
     * generation of a new or existing template, abort throws it away. */
    int (*templates)(struct storage *storage, struct template_list *ret, struct error *err);
    /* One template: 1, 0 where there is none of that name, -errno. */
    int (*find)(struct storage *storage, const char *template_name, struct template_info *ret,
                struct error *err);
    /* What it says of commands (spec/defaults.h): *ret is the caller's, NULL for nothing. */
    int (*defaults)(struct storage *storage, const char *name, json_t **ret, struct error *err);
    int (*import)(struct storage *storage, char *ret_key, size_t key_size, int *ret_tree_fd,
                  struct error *err);
    int (*publish)(struct storage *storage, const char *key, const struct template_info *info,
                   char ret_generation[static GENERATION_SIZE], struct error *err);
    int (*abort)(struct storage *storage, const char *key, struct error *err);
    int (*generations)(struct storage *storage, const char *template_name,
                       struct generation_list *ret, struct error *err);
    /* A pinned generation of the current state. */
    int (*snapshot)(struct storage *storage, const char *template_name,
                    char ret_generation[static GENERATION_SIZE], struct error *err);
    int (*rollback)(struct storage *storage, const char *template_name, const char *generation,
                    struct error *err);
    /* Not the current one (-EBUSY); the caller knows that no clone uses it. */
    int (*remove_generation)(struct storage *storage, const char *template_name,
                             const char *generation, struct error *err);
    /* The template's name and current generation go; generations that clones still use stay
     * until remove_generation. */
    int (*remove_template)(struct storage *storage, const char *template_name,
                           struct error *err);
    /* Removes what no generation and no clone refers to any more, half-made imports and the
     * trash; what will not go yet is no failure. -EAGAIN at remove_until_ms. */
    int (*collect)(struct storage *storage, struct error *err);
    /* The generation, read-only and with ids as in the source, as a detached mount fd. */
    int (*mount_generation)(struct storage *storage, const char *template_name,
                            const char *generation, int *ret_mount, struct error *err);

    const struct storage_arrivals *arrivals; /* with STORAGE_ARRIVALS: arrival.h */
    const struct storage_layers *layers;     /* with STORAGE_LAYERS: layers.h */
    /* Makes something that is there already (a dataset) a template of that name; NULL where
     * there is no such thing. */
    int (*adopt)(struct storage *storage, const char *template_name, const char *source,
                 struct error *err);

    /* Where the file system cannot be id-mapped, all sandboxes of a template have one range of
     * ids, which files are stored with. range: 0 each sandbox has a range of its own, 1 *ret is
     * the template's, 0 in it where it has none yet: then the caller chooses one and says so by
     * range_make. ranges lists them all. NULL: always of their own. */
    int (*range)(struct storage *storage, const char *template_name, uint32_t *ret_first_id,
                 struct error *err);
    int (*range_make)(struct storage *storage, const char *template_name, uint32_t first_id,
                      struct error *err);
    int (*ranges)(struct storage *storage, range_callback callback, void *data,
                  struct error *err);

    /* Clones. */
    int (*clone)(struct storage *storage, const struct clone_request *request,
                 struct error *err);
    /* A detached, nosuid, nodev mount fd; userns_fd maps 0… to first_id…. root_fd: the one-off
     * root, or -EBADF: then its path is opened again, and must lead to the same directory. */
    int (*mount)(struct storage *storage, const char *clone, int userns_fd, int root_fd,
                 int *ret_mount, struct error *err);
    /* With STORAGE_LATE_ROOTS: of a clone without root_path, which path is. Does not block. */
    int (*mount_late)(const char *path, int root_fd, int userns_fd, struct error *err);
    /* With STORAGE_VIEWS: the same for storage_view. NULL: `mount` with another map does. */
    int (*view)(struct storage *storage, const char *clone, const struct storage_viewer *viewer,
                int root_fd, int *ret_mount, struct error *err);
    /* After the last process of a sandbox: nothing more is written into the clone through an fd
     * that somebody got from it, as far as that could matter to its diff, commit or next start.
     * mount_fd is what `mount` gave. -EBUSY where somebody still can. */
    int (*settle)(struct storage *storage, int mount_fd);
    /* A hint: all of these are destroyed next, one by one, and nothing uses them any more; what
     * costs less for all of them together is done now. NULL: nothing does. */
    void (*destroy_ahead)(struct storage *storage, const struct clone_list *clones);
    /* The clone is gone by its name whatever is returned, unless the disk is full or broken. 0
     * also where there is none. -EBUSY where something still holds it, or writes into it by an
     * fd of it, -EAGAIN at remove_until_ms: what is left is trash, for another destroy or
     * collect; a dataset that is busy stays, under its name. Ends in bounded time. */
    int (*destroy)(struct storage *storage, const char *clone, struct error *err);
    int (*clones)(struct storage *storage, struct clone_list *ret, struct error *err);
    /* Names of destroyed clones of which something is left; only the names. */
    int (*trash)(struct storage *storage, struct clone_list *ret, struct error *err);
    int (*usage)(struct storage *storage, const char *clone, uint64_t *ret_bytes,
                 struct error *err);
    /* From now on a clone in which nothing has been started yet may take so many bytes of its
     * own, and limit_inodes where they are counted; more is ENOSPC or EDQUOT for who writes.
     * For good. -EOPNOTSUPP where the file system is not set up for that. NULL: never. */
    int (*limit)(struct storage *storage, const char *clone, uint64_t bytes, struct error *err);
    int (*room)(int mount_fd, struct storage_room *ret); /* room.h */
    int (*diff)(struct storage *storage, const char *clone,
                const struct provided_list *provided, diff_callback callback, void *data,
                struct error *err);
    /* The clone's state becomes the current generation of info->name, which is new or the
     * clone's own template; the clone goes on as a clone of it. The clone must not be mounted.
     * 1 where diff finds nothing and info->name is the clone's own template: nothing is made,
     * and *ret_generation is the current one still. */
    int (*commit)(struct storage *storage, const char *clone,
                  const struct provided_list *provided, const struct template_info *info,
                  char ret_generation[static GENERATION_SIZE], struct error *err);
};

/* Opens the storage of that name, DRIVER or DRIVER:LOCATION (location.h); NULL: the default
 * driver for one-off roots, below state_fd. An unknown driver is -ENOENT with the nearest right
 * one in the message. */
int storage_open(const char *driver, int state_fd, struct storage *ret,
                 struct error *err) _must_check_;
/* The driver of a storage's name. */
int storage_driver_find(const char *name, const struct storage_driver **ret,
                        struct error *err) _must_check_;
void storage_close(struct storage *storage);
/* Closes it, and removes its directory if only a store's empty ones are in it. */
void storage_discard(struct storage *storage, int state_fd);
#define _cleanup_storage_ _cleanup_(storage_close)

/* -EOPNOTSUPP, naming driver and operation, unless the driver has the capability. */
int storage_require(const struct storage *storage, enum storage_capability capability,
                    const char *operation, struct error *err) _must_check_;

/* What a driver has returned: where it failed for want of space, err says what to do, too. */
int storage_advise(const struct storage *storage, int result, struct error *err);

/* view.c: a detached, nosuid, nodev mount of a clone for a user of the host, on which no
 * symbolic link is followed (ELOOP): they are the sandbox's, the viewer's programs are not. Its
 * 0:0 are the viewer's ids; its other ids are the range's, which nobody of the host has, so
 * that nothing can be made for them or given to them; where the viewer is root they are the
 * same numbers as inside. Who gets the fd may keep it: nothing of the clone may be trusted
 * because its sandbox has ended, until it is settled. Needs STORAGE_VIEWS. */
int storage_view(struct storage *storage, const char *clone,
                 const struct storage_viewer *viewer, int root_fd, int *ret_mount,
                 struct error *err) _must_check_;
/* The user namespace that maps so, of a tree whose files are stored from first_id on. With it
 * the stored id 0 is nobody's, but root may pass: directories around a tree are its own. */
int storage_viewer_userns(const struct storage_viewer *viewer,
                          uint32_t stored_first_id) _must_check_;

/* All drivers, ended by NULL. */
extern const struct storage_driver *const storage_drivers[];

/* -ENOENT: the template has no such generation. */
int generation_unknown(const char *template_name, const char *generation, struct error *err);

/* Current time as a generation's name; serial > 0 appends -serial. */
void generation_name(time_t now, unsigned serial, char ret[static GENERATION_SIZE]);
