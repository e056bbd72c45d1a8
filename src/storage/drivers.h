/* SPDX-License-Identifier: Apache-2.0 */
/* The drivers, for the registry alone. */
#pragma once

#include "storage/storage.h"

extern const struct storage_driver storage_overlay;
extern const struct storage_driver storage_dir;
