/* SPDX-License-Identifier: Apache-2.0 */
/* Finding a template by name, whichever driver keeps it. */
#pragma once

#include "daemon/daemon.h"

/* The directory of a template that templates.d says is one: O_PATH fd or -errno. */
int template_open_root(const struct template_config *template, struct error *err) _must_check_;
/* Opens the storage that keeps the template, whichever it is. -ENOENT with a message where none
 * does. */
int template_find(struct daemon *daemon, const char *name, struct storage *ret,
                  struct template_info *ret_info, struct error *err) _must_check_;
/* The same, where storage_name (NULL: any) says which it must be. */
int template_find_in(struct daemon *daemon, const char *name, const char *storage_name,
                     struct storage *ret, struct error *err) _must_check_;
/* One of its generations, or where id is NULL the current one. */
int template_generation(struct storage *storage, const char *name, const char *id,
                        struct generation *ret, struct error *err) _must_check_;

/* template_new.c */
/* The storage for a new template; from now on its templates are found. wanted NULL: the
 * configuration's, or the best one. */
int template_storage_choose(struct daemon *daemon, const char *wanted, struct storage *ret,
                            struct error *err) _must_check_;
/* The tree as a worker gets it, a mount fd: what it makes there of a hostile archive, device
 * nodes of the machine's too, nobody opens or executes by it. */
int template_tree_view(int tree_fd, struct error *err) _must_check_;

/* The end of a call that failed: err names the template, and `verb` where that
 * is not "", unless it does already. Returns result. */
int template_failed(const char *name, const char *verb, int result, struct error *err);
