/* SPDX-License-Identifier: Apache-2.0 */
/* The drivers, for the registry and the choice between them alone. */
#pragma once

#include "storage/storage.h"

extern const struct storage_driver storage_overlay;
extern const struct storage_driver storage_btrfs;
extern const struct storage_driver storage_reflink;
extern const struct storage_driver storage_zfs;
extern const struct storage_driver storage_dir;

/* Those that keep templates, the best first, ended by NULL; each has `suits`. */
extern const struct storage_driver *const storage_by_preference[];
