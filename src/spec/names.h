/* SPDX-License-Identifier: Apache-2.0 */
/* Names that callers choose: of templates, generations and sandboxes. They become names of
 * directories and cgroups, so nothing else may pass. Pure. */
#pragma once

#include "base/error.h"

#include <stdbool.h>

#define NAME_TEMPLATE_MAX 63
/* TEMPLATE_<19 digits of nanoseconds>, NUL included */
#define CLONE_NAME_SIZE   (NAME_TEMPLATE_MAX + 1 + 20 + 1)

/* [a-z0-9][a-z0-9._-]{0,62}, not ending in "_" and 19 digits (a clone's name). */
int name_check_template(const char *name, struct error *err) _must_check_;

/* A sandbox's name: the same letters, capitals too. */
int name_check_sandbox(const char *name, struct error *err) _must_check_;

/* A tag of an image: [A-Za-z0-9_][A-Za-z0-9._-]{0,127}. */
int name_check_tag(const char *name, struct error *err) _must_check_;

/* YYYYmmddTHHMMSSZ, with an optional "-N" for a second one in the same second. */
bool name_is_generation(const char *name);

/* TEMPLATE_<digits>, as isolate itself names clones. */
bool name_is_clone(const char *name);

/* One of the engines that there are, or oci:/PATH. */
bool name_is_engine(const char *name);

/* RFC 1123 host name: letters, digits, "-" and ".", at most 64 bytes. */
int name_check_hostname(const char *name, struct error *err) _must_check_;

/* Whether text names a path or @host rather than a template. */
bool name_is_path(const char *text);

/* An absolute target inside the sandbox: no "..", no empty or "." components, not "/", not proc
 * or sys. what names it in the error. */
int target_check(const char *target, const char *what, struct error *err) _must_check_;

/* The filters of system calls that have names, in the order of enum seccomp_kind; ended by
 * NULL. What --seccomp says else is a file. */
extern const char *const name_filters[];
bool name_is_filter(const char *text);
/* What a policy may list: these, profile and 32bit. */
int name_check_filter_right(const char *word, struct error *err) _must_check_;
