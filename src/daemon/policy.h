/* SPDX-License-Identifier: Apache-2.0 */
/* What a caller may do: root everything that it asks for, members what the policy of the
 * configuration (spec/policy.h) gives them of sandboxes of registered templates. */
#pragma once

#include "daemon/sandbox.h"
#include "spec/policy.h"

/* Before anything is looked for or made for a decoded request. Members: -EPERM, naming option,
 * key and file, where the caller may not ask for that; -EDQUOT where it has too much already.
 * Where it asks for no limit, the request gets the caller's ceiling, and sandbox->imposed says
 * whose word that is. ret: the caller's rights, for devices_allow; of root nothing. */
int policy_admit(struct sandbox *sandbox, const struct peer *peer, struct policy_rights *ret,
                 struct error *err) _must_check_;

/* That what policy imposes can be had on this machine; as limits_require. */
int policy_require_limits(const struct sandbox *sandbox, bool enable,
                          struct error *err) _must_check_;

/* Where a storage cannot limit disk space (-errno with err set): whose wish that limit was. */
int policy_say_disk(const struct sandbox *sandbox, int result, struct error *err);

/* Once a kept sandbox has been locked: that it is the one that policy_admit has seen. */
int policy_check_kept(const struct sandbox *sandbox, const struct record *record,
                      struct error *err) _must_check_;

/* The rights of that caller, on a template (NULL: none in particular). Texts are borrowed from
 * the configuration. */
int policy_rights(const struct config *config, const struct peer *peer,
                  const struct template_config *of_template, struct policy_rights *ret,
                  struct error *err) _must_check_;

/* Whether the caller may use a template at all, of which templates.d says that (NULL:
 * nothing). */
int policy_check_template(const struct peer *peer, const struct template_config *of_template,
                          struct error *err) _must_check_;
