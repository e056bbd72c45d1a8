/* SPDX-License-Identifier: Apache-2.0 */
/* The headers of a pax archive (POSIX.1-2001, pax(1)): a ustar header, and in front of it an
 * extended one for what that cannot say. Extended attributes are SCHILY.xattr.NAME, ACLs
 * SCHILY.acl.access and .default with numeric ids, holes "GNU.sparse" 1.0: what GNU tar,
 * libarchive and Go's archive/tar (umoci, podman, skopeo) read. The same entry always gives the
 * same bytes. Pure. */
#pragma once

#include "base/buffer.h"
#include "base/error.h"
#include "sys/xattrs.h"

#include <stdint.h>
#include <time.h>

#define PAX_BLOCK 512

enum pax_type {
    PAX_REGULAR = '0',
    PAX_HARD_LINK = '1',
    PAX_SYMLINK = '2',
    PAX_CHARACTER = '3',
    PAX_BLOCK_DEVICE = '4',
    PAX_DIRECTORY = '5',
    PAX_FIFO = '6',
};

/* A part of a file that is no hole. */
struct pax_segment {
    uint64_t offset;
    uint64_t length;
};

struct pax_entry {
    const char *path; /* without a leading "/"; "" is the root directory */
    enum pax_type type;
    const char *link; /* of links: where they lead */
    uint32_t mode;
    uint32_t uid;
    uint32_t gid;
    struct timespec modified;
    uint64_t size;
    uint32_t major; /* of devices */
    uint32_t minor;
    const struct xattrs *xattrs;
    /* Of a file with holes: its data, in order. Their bytes follow the header, one behind the
     * other. NULL: a file without. */
    const struct pax_segment *segments;
    size_t n_segments;
};

/* Appends all that comes in front of the entry's data, whole blocks. The data follow, filled up
 * with zeros to whole blocks. -ENOMEM; ERROR_UNSUPPORTED for an attribute whose name no archive
 * can have. */
int pax_header(const struct pax_entry *entry, struct buffer *ret,
               struct error *err) _must_check_;

/* How many zeros follow so many bytes of data. */
size_t pax_padding(uint64_t length);

/* Two blocks of zeros, the end of an archive. */
#define PAX_END_BYTES (2 * PAX_BLOCK)
