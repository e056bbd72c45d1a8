/* SPDX-License-Identifier: Apache-2.0 */
/* Headers of pax archives. Runs in isolate-image as root; names and attributes are those of a
 * hostile tree, and only become bytes. */
#include "image/pax.h"

#include "base/text.h"
#include "image/acl_text.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* The fields of a header block, by their offsets and lengths. */
enum {
    NAME_AT = 0,
    NAME_BYTES = 100,
    MODE_AT = 100,
    UID_AT = 108,
    GID_AT = 116,
    SIZE_AT = 124,
    MTIME_AT = 136,
    CHECKSUM_AT = 148,
    TYPE_AT = 156,
    LINK_AT = 157,
    LINK_BYTES = 100,
    MAGIC_AT = 257,
    MAJOR_AT = 329,
    MINOR_AT = 337,
};
#define SHORT_DIGITS 7  /* of mode, ids and device numbers */
#define LONG_DIGITS  11 /* of size and time */

/* Octal digits and a NUL; 0 where there are too many, which a record then says. */
static void put_octal(char *field, unsigned digits, uint64_t value)
{
    char text[32];
    bool fits = value >> (3 * digits) == 0;
    (void)snprintf(text, sizeof(text), "%0*" PRIo64, (int)digits, fits ? value : 0);
    memcpy(field, text, digits + 1);
}

static bool is_plain(const char *text, size_t max)
{
    size_t n = strlen(text);
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)text[i] < 0x20 || (unsigned char)text[i] >= 0x7f)
            return false;
    return n <= max;
}

/* What a reader of ustar only sees of a name; others read the record. */
static void put_name(char *field, size_t size, const char *text)
{
    for (size_t i = 0; i < size && text[i]; i++) {
        field[i] = text[i];
        if ((unsigned char)text[i] < 0x20 || (unsigned char)text[i] >= 0x7f)
            field[i] = '?';
    }
}

/* "LENGTH KEY=VALUE\n", the length being that of the whole record. */
static void put_record(struct buffer *records, const char *prefix, const char *key,
                       const void *value, size_t length)
{
    size_t rest = 1 + strlen(prefix) + strlen(key) + 1 + length + 1;
    size_t total = rest + 1;
    char number[24];
    while ((size_t)snprintf(number, sizeof(number), "%zu", total) + rest != total)
        total++;
    buffer_printf(records, "%zu ", total);
    buffer_append_text(records, prefix);
    buffer_append_text(records, key);
    buffer_append_char(records, '=');
    buffer_append(records, value, length);
    buffer_append_char(records, '\n');
}

static void put_text(struct buffer *records, const char *key, const char *text)
{
    put_record(records, "", key, text, strlen(text));
}

static void put_number(struct buffer *records, const char *key, uint64_t value)
{
    char text[24];
    (void)snprintf(text, sizeof(text), "%" PRIu64, value);
    put_text(records, key, text);
}

static void put_time(struct buffer *records, const struct timespec *time)
{
    char text[48];
    long nsec = time->tv_nsec;
    intmax_t sec = time->tv_sec;
    if (nsec == 0 && sec >= 0 && sec >> (3 * LONG_DIGITS) == 0)
        return;
    if (sec < 0 && nsec > 0) { /* -1 s and 0.25 s are -0.75 s */
        sec++;
        nsec = 1000000000 - nsec;
    }
    int n = snprintf(text, sizeof(text), "%s%jd", time->tv_sec < 0 && sec == 0 ? "-" : "", sec);
    if (nsec > 0)
        (void)snprintf(text + n, sizeof(text) - (size_t)n, ".%09ld", nsec);
    put_text(records, "mtime", text);
}

static int put_attributes(struct buffer *records, const struct xattrs *xattrs,
                          struct error *err)
{
    for (size_t i = 0; xattrs && i < xattrs->n; i++) {
        const struct xattr *xattr = &xattrs->items[i];
        const char *acl = text_after(xattr->name, "system.posix_acl_");
        _cleanup_buffer_ struct buffer text = {0};
        if (strchr(xattr->name, '='))
            return fail(err, ERROR_UNSUPPORTED, EINVAL,
                        "its attribute \"%.100s\" has a name with \"=\", which no archive can "
                        "keep; remove it with setfattr -x",
                        xattr->name);
        if (!acl) {
            put_record(records, "SCHILY.xattr.", xattr->name, xattr->value, xattr->length);
            continue;
        }
        int r = acl_text(xattr->value, xattr->length, &text, err);
        if (r < 0)
            return r;
        put_record(records, "SCHILY.acl.", acl, text.data, text.length);
    }
    return 0;
}

static void put_sparse(struct buffer *records, const struct pax_entry *entry)
{
    put_text(records, "GNU.sparse.major", "1");
    put_text(records, "GNU.sparse.minor", "0");
    put_text(records, "GNU.sparse.name", entry->path);
    put_number(records, "GNU.sparse.realsize", entry->size);
}

static void fill_block(struct buffer *buffer)
{
    static const char zeros[PAX_BLOCK];
    buffer_append(buffer, zeros, pax_padding(buffer->length));
}

/* In front of the data of a file with holes. */
static void put_map(struct buffer *map, const struct pax_entry *entry)
{
    buffer_printf(map, "%zu\n", entry->n_segments);
    for (size_t i = 0; i < entry->n_segments; i++)
        buffer_printf(map, "%" PRIu64 "\n%" PRIu64 "\n", entry->segments[i].offset,
                      entry->segments[i].length);
    fill_block(map);
}

static void put_block(struct buffer *ret, const struct pax_entry *entry, const char *path,
                      char type, uint64_t size)
{
    static const char magic[8] = {'u', 's', 't', 'a', 'r', '\0', '0', '0'};
    char block[PAX_BLOCK] = {0};
    bool has_time = entry->modified.tv_sec >= 0;
    unsigned sum = 0;
    put_name(block + NAME_AT, NAME_BYTES, path);
    put_octal(block + MODE_AT, SHORT_DIGITS, entry->mode);
    put_octal(block + UID_AT, SHORT_DIGITS, entry->uid);
    put_octal(block + GID_AT, SHORT_DIGITS, entry->gid);
    put_octal(block + SIZE_AT, LONG_DIGITS, size);
    put_octal(block + MTIME_AT, LONG_DIGITS, has_time ? (uint64_t)entry->modified.tv_sec : 0);
    block[TYPE_AT] = type;
    if (entry->link)
        put_name(block + LINK_AT, LINK_BYTES, entry->link);
    memcpy(block + MAGIC_AT, magic, sizeof(magic));
    put_octal(block + MAJOR_AT, SHORT_DIGITS, entry->major);
    put_octal(block + MINOR_AT, SHORT_DIGITS, entry->minor);
    memset(block + CHECKSUM_AT, ' ', 8);
    for (size_t i = 0; i < sizeof(block); i++)
        sum += (unsigned char)block[i];
    put_octal(block + CHECKSUM_AT, 6, sum);
    buffer_append(ret, block, sizeof(block));
}

static int put_records(struct buffer *records, const struct pax_entry *entry, const char *path,
                       uint64_t stored, struct error *err)
{
    if (entry->segments)
        put_sparse(records, entry);
    else if (!is_plain(path, NAME_BYTES))
        put_text(records, "path", path);
    if (entry->link && !is_plain(entry->link, LINK_BYTES))
        put_text(records, "linkpath", entry->link);
    if (stored >> (3 * LONG_DIGITS))
        put_number(records, "size", stored);
    if (entry->uid >> (3 * SHORT_DIGITS))
        put_number(records, "uid", entry->uid);
    if (entry->gid >> (3 * SHORT_DIGITS))
        put_number(records, "gid", entry->gid);
    put_time(records, &entry->modified);
    return put_attributes(records, entry->xattrs, err);
}

int pax_header(const struct pax_entry *entry, struct buffer *ret, struct error *err)
{
    static const struct pax_entry extended = {.mode = 0644};
    _cleanup_buffer_ struct buffer path = {0};
    _cleanup_buffer_ struct buffer records = {0};
    _cleanup_buffer_ struct buffer map = {0};
    uint64_t stored = entry->size;
    buffer_append_text(&path, *entry->path ? entry->path : ".");
    if (entry->type == PAX_DIRECTORY)
        buffer_append_char(&path, '/');
    if (entry->segments) {
        put_map(&map, entry);
        stored = map.length;
        for (size_t i = 0; i < entry->n_segments; i++)
            stored += entry->segments[i].length;
    }
    if (path.failed || map.failed)
        return fail(err, ERROR_SYSTEM, ENOMEM, "write its header: ");
    int r = put_records(&records, entry, path.data, stored, err);
    if (r < 0)
        return r;
    if (records.length > 0) {
        put_block(ret, &extended, "PaxHeaders/entry", 'x', records.length);
        fill_block(&records);
        buffer_append(ret, records.data, records.length);
    }
    put_block(ret, entry, entry->segments ? "GNUSparseFile.0/entry" : path.data,
              (char)entry->type, stored);
    buffer_append(ret, map.data, map.length);
    return records.failed || ret->failed ? fail(err, ERROR_SYSTEM, ENOMEM, "write its header: ")
                                         : 0;
}

size_t pax_padding(uint64_t length)
{
    return (PAX_BLOCK - length % PAX_BLOCK) % PAX_BLOCK;
}
