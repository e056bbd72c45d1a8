/* SPDX-License-Identifier: Apache-2.0 */
/* What who is not root may do: the sections [Policy] of isolated.conf (all members),
 * groups.d/GROUP.conf (the members of that group of the machine) and templates.d/NAME.conf (who
 * uses that template), and what comes of them for one caller. Pure: files, names of users and
 * groups are config.h's.
 *
 * A group's file only adds to what all may, and a template's only takes away. So a right may
 * follow from being in a group, and nothing from not being in one: a process can leave its
 * groups (setgroups in a user namespace of its own), and a file that cannot be read gives
 * nothing. */
#pragma once

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum policy_key {
    /* lists of words */
    POLICY_ENGINES,
    POLICY_NETWORKS,
    POLICY_DEVICES,
    POLICY_SECCOMP,
    POLICY_CAPABILITIES,
    _POLICY_LISTS,
    /* ceilings */
    POLICY_MEMORY = _POLICY_LISTS, /* bytes */
    POLICY_SWAP,                   /* bytes */
    POLICY_CPUS,                   /* thousandths of a processor */
    POLICY_PIDS,
    POLICY_DISK,      /* bytes */
    POLICY_TIME,      /* milliseconds */
    POLICY_SANDBOXES, /* at once */
    _POLICY_KEYS
};

#define POLICY_NO_CEILING UINT64_MAX

struct policy_word {
    char *text;
    char *from; /* "FILE:LINE", or "default" */
};

struct policy_value {
    bool said;
    char *from;                /* where it was said last */
    struct policy_word *words; /* of a list */
    size_t n_words;
    uint64_t ceiling;
};

/* One section. */
struct policy {
    struct policy_value values[_POLICY_KEYS];
};

/* What there is to know of a key: its name in the files; how its ceiling is called where units
 * are part of names; the option of `run` that it bounds. */
struct policy_key_info {
    const char *name;
    const char *member;
    const char *option;
};
extern const struct policy_key_info policy_keys[_POLICY_KEYS];

/* The key of that name: 0 and *ret, or -ENOENT. */
int policy_key_named(const char *name, enum policy_key *ret) _must_check_;

/* Sets a key as a file says it at `from`. A list that is said again goes on, an empty value
 * begins it anew, as systemd's; a ceiling is a number with its unit, or "infinity". */
int policy_set(struct policy *policy, enum policy_key key, const char *text, const char *from,
               struct error *err) _must_check_;
/* Appends to a list without looking at the word. */
int policy_add_word(struct policy_value *value, const char *text, size_t length,
                    const char *from, struct error *err) _must_check_;
void policy_value_clear(struct policy_value *value);
void policy_clear(struct policy *policy);

/* Whether both say the same, whatever the order of words. */
bool policy_value_equal(const struct policy_value *a, const struct policy_value *b);

/* What holds for all members where nothing is said. */
int policy_set_defaults(struct policy *policy, struct error *err) _must_check_;

/* That a group's section takes nothing away from what all members have: a ceiling that is lower
 * than theirs would hold for nobody who leaves the group. */
int policy_check_adds(const struct policy *group, const struct policy *all,
                      struct error *err) _must_check_;

/* What comes of it. Texts are borrowed from the policies. */
struct policy_item {
    const char *word;
    const char *from;
    bool open; /* the template's section has it, too, or says nothing */
};
struct policy_ceiling {
    uint64_t value;
    const char *from; /* NULL: no ceiling, and nobody has said so */
};
struct policy_rights {
    const struct policy *of_template; /* or NULL */
    struct policy_item *items[_POLICY_LISTS];
    size_t n_items[_POLICY_LISTS];
    struct policy_ceiling ceilings[_POLICY_KEYS]; /* from _POLICY_LISTS on */
    /* Sandboxes= of the template counts what is of that template; the ceiling counts all */
    struct policy_ceiling of_this_template;
    bool swap_is_memory; /* Swap= is not said: the ceiling of memory is one of both together */
};
void policy_rights_clear(struct policy_rights *rights);
#define _cleanup_policy_rights_ _cleanup_(policy_rights_clear)

/* (all, and what each of the groups adds), as far as the template (or NULL) allows it. `all`
 * has its defaults. */
int policy_combine(const struct policy *all, const struct policy *const *groups,
                   size_t n_groups, const struct policy *of_template, struct policy_rights *ret,
                   struct error *err) _must_check_;

/* The item of that word, or NULL. */
const struct policy_item *policy_find(const struct policy_rights *rights, enum policy_key key,
                                      const char *word);
bool policy_allows(const struct policy_rights *rights, enum policy_key key, const char *word);
/* -EPERM, with what would have to say what. what: the option as it was asked for. */
int policy_refuse(const struct policy_rights *rights, enum policy_key key, const char *word,
                  const char *what, struct error *err) _must_check_;

/* The capabilities that uid 0 of a sandbox may have. */
uint64_t policy_capabilities(const struct policy_rights *rights);

/* As it is written in the files: "1024M", "1.5", "90s"; "infinity" for none. */
void policy_print_ceiling(enum policy_key key, uint64_t value, char *out, size_t size);
