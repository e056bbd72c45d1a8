/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of unpacking share: archives made to order, and a place to unpack them. */
#pragma once

#include "base/error.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

/* behind the four that it needs */
#include <cmocka.h>

#include <archive.h>
#include <archive_entry.h>

#define ARCHIVE_MAX (4 * 1024 * 1024)

/* One entry of an archive to be made. */
struct item {
    const char *path;
    const char *link; /* symlink target, or of a hard link where type is 0 */
    const char *content;
    unsigned type; /* AE_IF*, 0 for a hard link */
    unsigned mode;
};

struct fixture {
    char path[256];
    int outside; /* the temporary directory */
    int target;  /* "target" in it */
};

/* Around every test: a temporary directory in TMPDIR with "target" in it. */
int archive_setup(void **state);
int archive_teardown(void **state);

/* A pax archive of these entries, through a filter of libarchive's, into ARCHIVE_MAX bytes. Its
 * length. */
size_t archive_make(const struct item *items, size_t n, int filter, char *out);

/* Unpacks into the target: bytes, or an archive of these entries. */
int archive_extract_bytes(const struct fixture *f, const char *data, size_t length,
                          struct error *err);
int archive_extract(const struct fixture *f, const struct item *items, size_t n,
                    struct error *err);

void archive_assert_content(const struct fixture *f, const char *path, const char *expected);
