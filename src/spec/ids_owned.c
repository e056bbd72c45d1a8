/* SPDX-License-Identifier: Apache-2.0 */
/* Whose ids overlap a range: the search in the text of passwd and its like. Runs in isolated as
 * root and in isolate-ctl as the caller. The text is root's, its lines are not trusted to be
 * well formed. */
#include "spec/ids_owned.h"

#include "base/buffer.h"
#include "base/parse.h"
#include "sys/fd.h"

#include <fcntl.h>

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define FIELDS         4
#define FILE_MAX_BYTES (64U << 20)

/* man 7 UIDS-GIDS of systemd: nspawn's --private-users=pick, and images owned by nobody here */
static const struct {
    const char *owner;
    struct id_span ids;
} SYSTEMD[] = {
    {"systemd-nspawn", {524288, 1879048191}},
    {"systemd's foreign images", {2147352576, 2147418111}},
};

static bool overlap(const struct id_span *a, const struct id_span *b)
{
    return a->first <= b->last && b->first <= a->last;
}

static size_t keep_hit(size_t n, const char *owner, const struct id_span *ids,
                       struct ids_owner *ret)
{
    if (n == 0) {
        (void)snprintf(ret->owner, sizeof(ret->owner), "%s", owner);
        ret->ids = *ids;
    }
    return n + 1;
}

size_t ids_owned_find_systemd(const struct id_span *ids, struct ids_owner *ret)
{
    size_t n = 0;
    for (size_t i = 0; i < ELEMENTS(SYSTEMD); i++)
        if (overlap(&SYSTEMD[i].ids, ids))
            n = keep_hit(n, SYSTEMD[i].owner, &SYSTEMD[i].ids, ret);
    return n;
}

/* Copies the first fields of a line; those that are missing or too long for a name or a number
 * become empty. */
static void split(const char *line, size_t length, char fields[FIELDS][64])
{
    const char *end = line + length;
    for (size_t i = 0; i < FIELDS; i++) {
        const char *colon = line ? memchr(line, ':', (size_t)(end - line)) : NULL;
        size_t n = line ? (size_t)((colon ? colon : end) - line) : 0;
        if (n >= sizeof(fields[i]))
            n = i == 0 ? sizeof(fields[i]) - 1 : 0;
        if (n > 0)
            memcpy(fields[i], line, n);
        fields[i][n] = '\0';
        line = colon ? colon + 1 : NULL;
    }
}

static bool read_id(const char *text, uint64_t max, uint64_t *ret)
{
    struct error ignored;
    return parse_u64(text, 0, max, ret, "id", &ignored) == 0;
}

static bool single_id(const char *text, struct id_span *ret)
{
    if (!read_id(text, UINT32_MAX, &ret->first))
        return false;
    ret->last = ret->first;
    return true;
}

/* The ids of one line that overlap, if any. */
static bool line_overlaps(char fields[FIELDS][64], enum ids_owned_format format,
                          const struct id_span *ids, struct id_span *ret)
{
    uint64_t count = 0;
    switch (format) {
    case IDS_OWNED_SUBORDINATE:
        if (!read_id(fields[1], UINT32_MAX, &ret->first) ||
            !read_id(fields[2], (uint64_t)UINT32_MAX + 1, &count) || count == 0)
            return false;
        ret->last = ret->first + count - 1;
        return overlap(ret, ids);
    case IDS_OWNED_PASSWD:
        return (single_id(fields[2], ret) && overlap(ret, ids)) ||
               (single_id(fields[3], ret) && overlap(ret, ids));
    case IDS_OWNED_GROUP:
        return single_id(fields[2], ret) && overlap(ret, ids);
    }
    return false;
}

size_t ids_owned_by(const char *text, const char *name, uint32_t uid, struct id_span *ret)
{
    static const struct id_span all = {0, UINT32_MAX};
    char number[16];
    size_t n = 0;
    (void)snprintf(number, sizeof(number), "%u", uid);
    while (*text) {
        char fields[FIELDS][64];
        struct id_span found = {0};
        size_t length = strcspn(text, "\n");
        split(text, length, fields);
        bool own = (*name && strcmp(fields[0], name) == 0) || strcmp(fields[0], number) == 0;
        if (own && line_overlaps(fields, IDS_OWNED_SUBORDINATE, &all, &found) && n++ == 0)
            *ret = found;
        text += length;
        text += *text == '\n';
    }
    return n;
}

size_t ids_owned_find(const char *text, enum ids_owned_format format, const struct id_span *ids,
                      struct ids_owner *ret)
{
    size_t n = 0;
    while (*text) {
        char fields[FIELDS][64];
        struct id_span found = {0};
        size_t length = strcspn(text, "\n");
        split(text, length, fields);
        if (fields[0][0] != '#' && fields[0][0] && line_overlaps(fields, format, ids, &found))
            n = keep_hit(n, fields[0], &found, ret);
        text += length;
        text += *text == '\n';
    }
    return n;
}

void ids_owned_add(struct ids_owners *owners, const char *source, size_t n,
                   const struct ids_owner *first)
{
    if (owners->n == 0 && n > 0) {
        owners->source = source;
        owners->first = *first;
    }
    owners->n += n;
}

/* Appends the text of a file; one that is not there has none. */
static int read_source(const char *path, struct buffer *ret, struct error *err)
{
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT)
        return 0;
    int r = fd < 0 ? -errno : fd_read_all(fd, FILE_MAX_BYTES, ret);
    return r < 0 ? fail(err, ERROR_SYSTEM, r, "%s: ", path) : 0;
}

/* Root's are no other user's: LXD has root:1000:1 there, to map a user into its containers. */
static bool is_subordinate(const char *text, uint32_t uid, struct ids_owner *ret)
{
    const struct id_span ids = {uid, uid};
    for (const char *line = text; *line;) {
        char fields[FIELDS][64];
        size_t length = strcspn(line, "\n");
        split(line, length, fields);
        if (fields[0][0] && fields[0][0] != '#' && strcmp(fields[0], "root") != 0 &&
            strcmp(fields[0], "0") != 0 &&
            line_overlaps(fields, IDS_OWNED_SUBORDINATE, &ids, &ret->ids)) {
            (void)snprintf(ret->owner, sizeof(ret->owner), "%s", fields[0]);
            return true;
        }
        line += length;
        line += *line == '\n';
    }
    return false;
}

int ids_owned_subordinate(uint32_t uid, struct ids_owner *ret, struct error *err)
{
    _cleanup_buffer_ struct buffer text = {0};
    int r = read_source("/etc/subuid", &text, err);
    return r < 0 || !text.data ? r : is_subordinate(text.data, uid, ret);
}

int ids_owned_search(const struct id_span *ids, struct ids_owners *ret, struct error *err)
{
    static const struct {
        const char *path;
        enum ids_owned_format format;
    } files[] = {
        {"/etc/subuid", IDS_OWNED_SUBORDINATE},
        {"/etc/subgid", IDS_OWNED_SUBORDINATE},
        {"/etc/passwd", IDS_OWNED_PASSWD},
        {"/etc/group", IDS_OWNED_GROUP},
    };
    *ret = (struct ids_owners){0};
    for (size_t i = 0; i < ELEMENTS(files); i++) {
        _cleanup_buffer_ struct buffer text = {0};
        struct ids_owner first;
        int r = read_source(files[i].path, &text, err);
        if (r < 0)
            return r;
        if (text.data)
            ids_owned_add(ret, files[i].path,
                          ids_owned_find(text.data, files[i].format, ids, &first), &first);
    }
    return 0;
}
