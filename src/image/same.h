/* SPDX-License-Identifier: Apache-2.0 */
/* Whether two entries of different trees are the same as far as image_hash goes. Runs in
 * isolate-image as root; nothing is followed. */
#pragma once

#include "base/error.h"
#include "sys/walk.h"

#include <stdbool.h>

/* Two blocks of memory for contents. */
#define SAME_BLOCK (128 * 1024)
struct same_blocks {
    char a[SAME_BLOCK];
    char b[SAME_BLOCK];
};

/* An entry that is no directory against that of its name in base_dir (readable). *ret is false
 * where there is none. Changes the working directory. */
int same_entry(const struct walk_entry *entry, int base_dir, struct same_blocks *blocks,
               bool *ret, struct error *err) _must_check_;
/* A directory without its content against another. */
int same_directory(const struct walk_entry *entry, int directory_fd, int base_fd, bool *ret,
                   struct error *err) _must_check_;
/* The error of such a comparison. */
int same_failed(const struct walk_entry *entry, int errnum, struct error *err);
