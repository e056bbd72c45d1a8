/* SPDX-License-Identifier: Apache-2.0 */
/* Whose ids of the host overlap a range: users, groups and those who were given subordinate
 * ids, from the text of /etc/passwd and its like. */
#pragma once

#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

struct id_span {
    uint64_t first;
    uint64_t last;
};

struct ids_owner {
    char owner[64];
    struct id_span ids; /* all that the owner has, also outside of the overlap */
};

enum ids_owned_format {
    IDS_OWNED_SUBORDINATE, /* /etc/subuid: owner:first:count */
    IDS_OWNED_PASSWD,      /* uid and primary gid */
    IDS_OWNED_GROUP,
};

/* How many entries of text overlap ids; *ret is the first of them. Lines that are no entry
 * (empty, comments, NIS) count for nothing. */
size_t ids_owned_find(const char *text, enum ids_owned_format format, const struct id_span *ids,
                      struct ids_owner *ret);

/* How many lines of /etc/subuid give ids to that user, by name or number; *ret is the first. */
size_t ids_owned_by(const char *text, const char *name, uint32_t uid, struct id_span *ret);

/* The same for what systemd keeps for itself. */
size_t ids_owned_find_systemd(const struct id_span *ids, struct ids_owner *ret);

/* All of a machine: in /etc/subuid, subgid, passwd and group. Names that come from elsewhere
 * are not known here. */
struct ids_owners {
    size_t n;           /* how many overlap */
    const char *source; /* the first: where it was found, and whose */
    struct ids_owner first;
};
/* 1 where /etc/subuid has given the uid to somebody but root, *ret; 0, -errno. */
int ids_owned_subordinate(uint32_t uid, struct ids_owner *ret, struct error *err) _must_check_;
int ids_owned_search(const struct id_span *ids, struct ids_owners *ret,
                     struct error *err) _must_check_;
/* One more source. */
void ids_owned_add(struct ids_owners *owners, const char *source, size_t n,
                   const struct ids_owner *first);
