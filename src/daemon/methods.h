/* SPDX-License-Identifier: Apache-2.0 */
/* Handlers of the methods, each in the file that its group names. A handler either replies (now
 * or later, through the session) and returns 0, or returns -errno with err set. */
#pragma once

#include "daemon/daemon.h"

/* Bytes of a call, but of those that carry a command: they have all that a message may have. */
#define CALL_LENGTH_MAX (64U << 10)

/* methods_service.c: every parameter of a call is one that the interface declares: nothing that
 * somebody asks for is passed over. */
int methods_check_names(const struct call *call, struct error *err) _must_check_;
/* methods.c: whether a call of that method (any text) may be so long. */
int methods_check_length(const char *method, size_t length, struct error *err) _must_check_;

/* Parameters and replies. Texts are borrowed from the call. */
const char *call_text(const struct call *call, const char *name); /* NULL: missing */
int call_need_text(const struct call *call, const char *name, const char **ret,
                   struct error *err) _must_check_;
int call_done(struct call *call, json_t *take_reply, struct error *err) _must_check_;
/* For recover_warn: a list that the reply takes along as `warnings`. NULL in a one-shot, whose
 * stderr is the caller's. */
json_t *call_warnings(const struct call *call);

/* What a method that went well leaves to be done here: name is its parameter, or NULL. */
void methods_after(struct daemon *daemon, const char *method, const char *name);
/* One that was killed in its own process, in the middle of a change or behind it. */
void methods_killed(struct daemon *daemon, const char *method);

/* methods_service.c */
int method_get_info(struct call *call, struct error *err);
int method_get_interface(struct call *call, struct error *err);

/* methods_sandbox.c */
int method_engine_list(struct call *call, struct error *err) _must_check_;
int method_list(struct call *call, struct error *err);
int method_inspect(struct call *call, struct error *err);
int method_remove(struct call *call, struct error *err);
int method_diff(struct call *call, struct error *err);
int method_commit(struct call *call, struct error *err);
int method_prune(struct call *call, struct error *err);
int method_status(struct call *call, struct error *err);

/* methods_policy.c */
int method_policy(struct call *call, struct error *err) _must_check_;

/* methods_storage.c */
int method_storage_list(struct call *call, struct error *err);
int method_storage_forget(struct call *call, struct error *err);

/* methods_template.c */
int method_template_list(struct call *call, struct error *err);
int method_template_inspect(struct call *call, struct error *err);
int method_template_remove(struct call *call, struct error *err);
int method_template_snapshot(struct call *call, struct error *err);
int method_template_rollback(struct call *call, struct error *err);

/* methods_image.c: the ones that an image worker does */
int method_pool_stock(struct call *call, struct error *err);
int method_template_adopt(struct call *call, struct error *err);
int method_template_create(struct call *call, struct error *err);
int method_template_hash(struct call *call, struct error *err);

/* methods_travel.c */
int method_template_export(struct call *call, struct error *err) _must_check_;
int method_template_send(struct call *call, struct error *err) _must_check_;

/* methods_receive.c */
int method_template_receive(struct call *call, struct error *err) _must_check_;
