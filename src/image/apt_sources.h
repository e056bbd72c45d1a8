/* SPDX-License-Identifier: Apache-2.0 */
/* The package sources of the machine's own apt that can serve a suite of Debian or Ubuntu: the
 * mirror is the one the administrator chose, no name of a host is built in. */
#pragma once

#include "base/buffer.h"
#include "base/error.h"

#include <stdbool.h>

/* What apt-get indextargets is to print for each index: one line, fields between "|". */
#define APT_TABLE_FORMAT                                                                       \
    "$(CREATED_BY)|$(REPO_URI)|$(RELEASE)|$(COMPONENT)|$(ORIGIN)|$(SOURCESENTRY)"

#define APT_SOURCES_MAX 64

struct apt_source {
    char *uri;       /* ends in "/"; without spaces, brackets and control characters */
    char *suite;     /* "bookworm", "bookworm-security" */
    char *origin;    /* "Debian"; "" where apt has no lists yet */
    char *entry;     /* the file it is written in, with ":N" behind it */
    char *signed_by; /* absolute path of a keyring, or NULL: what apt trusts anyway */
};

struct apt_sources {
    struct apt_source items[APT_SOURCES_MAX];
    size_t n;
};

#define _cleanup_apt_sources_ _cleanup_(apt_sources_clear)
void apt_sources_clear(struct apt_sources *sources);

/* Reads the table: sources of packages with component main, each once. Lines of another form,
 * and those that do not fit, are left out. Pure but for memory: -ENOMEM. */
int apt_sources_parse(const char *table, struct apt_sources *ret) _must_check_;

/* Keeps what serves `suite` of the distribution ("debian", "ubuntu"): the suite itself, its
 * -updates and its -security, if the machine has it; else the mirror of another suite, if it
 * has one of that distribution, for `suite` alone; else nothing. Pure. */
int apt_sources_select(struct apt_sources *sources, const char *distribution,
                       const char *suite) _must_check_;

/* The keyring that a sources.list file names for this uri (signed-by=, Signed-By:), copied into
 * out; false where it names none, or holds the key itself. Pure. */
bool apt_signed_by(const char *text, const char *uri, char *out, size_t size);

/* The first mirror of a "mirror+file:" list, copied into out with a "/" behind it. Pure. */
bool apt_mirror_first(const char *text, char *out, size_t size);

/* "deb [signed-by=KEYRING] URI SUITE main", with the name and password in the uri or without.
 */
void apt_source_line(const struct apt_source *source, bool with_password, struct buffer *ret);

/* Asks apt-get and reads the files it names. Leaves nothing where there is no apt. Blocks. */
int apt_sources_load(const char *distribution, const char *suite, struct apt_sources *ret,
                     struct error *err) _must_check_;

/* Appends to ret the lines of the text of "apt-config dump Acquire" that say which proxy to use
 * for http and https, each with its NUL. Pure. */
void apt_proxy_options(const char *dump, struct buffer *ret);
