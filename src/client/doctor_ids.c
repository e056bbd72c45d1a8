/* SPDX-License-Identifier: Apache-2.0 */
/* Whose ids overlap a range: the search in the text of passwd and its like. Pure; runs in
 * isolate-ctl as the caller. The text is root's, its lines are not trusted to be well formed.
 */
#include "client/doctor.h"

#include "base/parse.h"

#include <string.h>

#define FIELDS 4

/* man 7 UIDS-GIDS of systemd: nspawn's --private-users=pick, and images owned by nobody here */
static const struct {
    const char *owner;
    struct doctor_ids ids;
} SYSTEMD[] = {
    {"systemd-nspawn", {524288, 1879048191}},
    {"systemd's foreign images", {2147352576, 2147418111}},
};

static bool overlap(const struct doctor_ids *a, const struct doctor_ids *b)
{
    return a->first <= b->last && b->first <= a->last;
}

static size_t keep_hit(size_t n, const char *owner, const struct doctor_ids *ids,
                       struct doctor_ids_hit *ret)
{
    if (n == 0) {
        (void)snprintf(ret->owner, sizeof(ret->owner), "%s", owner);
        ret->ids = *ids;
    }
    return n + 1;
}

size_t doctor_ids_find_systemd(const struct doctor_ids *ids, struct doctor_ids_hit *ret)
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

static bool single_id(const char *text, struct doctor_ids *ret)
{
    if (!read_id(text, UINT32_MAX, &ret->first))
        return false;
    ret->last = ret->first;
    return true;
}

/* The ids of one line that overlap, if any. */
static bool line_overlaps(char fields[FIELDS][64], enum doctor_ids_format format,
                          const struct doctor_ids *ids, struct doctor_ids *ret)
{
    uint64_t count = 0;
    switch (format) {
    case DOCTOR_IDS_SUBORDINATE:
        if (!read_id(fields[1], UINT32_MAX, &ret->first) ||
            !read_id(fields[2], (uint64_t)UINT32_MAX + 1, &count) || count == 0)
            return false;
        ret->last = ret->first + count - 1;
        return overlap(ret, ids);
    case DOCTOR_IDS_PASSWD:
        return (single_id(fields[2], ret) && overlap(ret, ids)) ||
               (single_id(fields[3], ret) && overlap(ret, ids));
    case DOCTOR_IDS_GROUP:
        return single_id(fields[2], ret) && overlap(ret, ids);
    }
    return false;
}

size_t doctor_ids_find(const char *text, enum doctor_ids_format format,
                       const struct doctor_ids *ids, struct doctor_ids_hit *ret)
{
    size_t n = 0;
    while (*text) {
        char fields[FIELDS][64];
        struct doctor_ids found = {0};
        size_t length = strcspn(text, "\n");
        split(text, length, fields);
        if (fields[0][0] != '#' && fields[0][0] && line_overlaps(fields, format, ids, &found))
            n = keep_hit(n, fields[0], &found, ret);
        text += length;
        text += *text == '\n';
    }
    return n;
}
