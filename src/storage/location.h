/* SPDX-License-Identifier: Apache-2.0 */
/* Where stores lie. The name of a storage is DRIVER, for the driver's directory below the state
 * directory, or DRIVER:LOCATION, for one below an administrator's directory. Which locations
 * are in use stands in the file `stores` of the state directory, a JSON list. Needs root. */
#pragma once

#include "storage/storage.h"

struct storage_names {
    char (*items)[STORAGE_NAME_SIZE];
    size_t n;
    struct error problem; /* ERROR_NONE, or why registered ones may be missing */
};
void storage_names_clear(struct storage_names *names);
#define _cleanup_storage_names_ _cleanup_(storage_names_clear)

/* All that may hold something: those below the state directory, then the registered ones, as
 * far as the list of them can be read. */
int storage_names_list(int state_fd, struct storage_names *ret, struct error *err) _must_check_;

/* Whether the storage of this name is one of them, 1 or 0; callers who are not root may name no
 * other. -errno where it may be, but the list cannot be read. */
int storage_is_known(int state_fd, const char *name, struct error *err) _must_check_;

/* Puts what an administrator asked for ("DRIVER", "DRIVER:LOCATION", "/LOCATION" or NULL) into
 * the form of a name: the location's symlinks resolved, and the best driver for the place
 * chosen where none is named. Looks at file systems: may block. */
int storage_choose(const char *wanted, int state_fd, const char *state_directory,
                   char ret_name[static STORAGE_NAME_SIZE], struct error *err) _must_check_;

/* Writes down that the storage is in use; nothing where it lies below the state directory. Who
 * has put something into it does so once more: it may have been forgotten just before. */
int storage_register(int state_fd, const char *name, struct error *err) _must_check_;

/* Takes it out of the list again; nothing else. `check` may say no (-errno), and is called
 * under the list's lock: nobody who then registers a storage finds it registered still. */
int storage_forget(int state_fd, const char *name,
                   int (*check)(void *data, const char *name, struct error *err), void *data,
                   struct error *err) _must_check_;

/* The directory LOCATION/isolate of the storage DRIVER:LOCATION: O_PATH fd. All directories on
 * the way must be root's and closed to other writers, and no symlinks. It is there only after
 * location_make: where it is not, the location's file system is not mounted. */
int location_open(const char *name, struct error *err) _must_check_;
int location_make(const char *location, struct error *err) _must_check_;
/* The file system in memory, gone with a boot, that a storage with a LOCATION lies on: "tmpfs";
 * NULL where it is none. */
const char *location_in_memory(const struct storage *storage);
/* Removes what location_make made, as far as nothing else is in it. */
void location_unmake(const char *name);
