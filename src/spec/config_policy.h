/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of the configuration that are policy: see policy.h for what comes of them. */
#pragma once

#include "spec/config_file.h"
#include "spec/policy.h"

/* Users= or Groups= of a template: who may use it. */
struct config_accounts {
    bool said;
    char *from;
    uint32_t *ids;
    size_t n;
};

/* groups.d/NAME.conf: what the members of a group of the machine may beside what all may. */
struct group_config {
    char name[64];
    uint32_t gid;
    bool known;        /* there is such a group */
    char problem[256]; /* why it gives nothing, or "" */
    struct policy policy;
};

struct config;
struct template_config;

/* A key of [Policy] in isolated.conf; and those that were there before it, which mean the same:
 * name is the one in [Policy]. */
int config_policy_key(struct config *config, const struct config_line *line,
                      struct error *err) _must_check_;
int config_policy_old_key(struct config *config, const char *name,
                          const struct config_line *line, struct error *err) _must_check_;
/* When all files are read: old and new keys must not differ; then come the defaults. */
int config_policy_settle(struct config *config, struct error *err) _must_check_;

/* A key of [Policy] in templates.d. */
int config_policy_template_key(struct template_config *of_template,
                               const struct config_line *line, struct error *err) _must_check_;

/* The files of groups.d, paths in ascending order. What is wrong with one is its problem, and
 * it gives nothing. */
int config_policy_load_groups(struct config *config, char *const *files, size_t n,
                              struct error *err) _must_check_;

void config_policy_clear_template(struct template_config *of_template);
void config_policy_clear(struct config *config);
