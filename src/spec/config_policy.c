/* SPDX-License-Identifier: Apache-2.0 */
/* See config_policy.h. Runs in isolated and isolate-ctl; the files are root's. */
#include "spec/config_policy.h"

#include "base/text.h"
#include "spec/config.h"
#include "spec/host_accounts.h"

#include <string.h>

#define SPACE " \t"

static int unknown_key(const struct config_line *line, struct error *err)
{
    return fail(err, ERROR_INVALID, EINVAL, "unknown key %.60s.%.60s", line->section,
                line->name);
}

static int set_key(struct policy *policy, const struct config_line *line, struct error *err)
{
    enum policy_key key;
    if (streq(line->name, "Users") || streq(line->name, "Groups"))
        return fail(err, ERROR_INVALID, EINVAL,
                    "%s=: says who may use a template, and is for templates.d/NAME.conf only",
                    line->name);
    if (!streq(line->section, "Policy") || policy_key_named(line->name, &key) < 0)
        return unknown_key(line, err);
    return policy_set(policy, key, line->value, line->from, err);
}

int config_policy_key(struct config *config, const struct config_line *line, struct error *err)
{
    return set_key(&config->policy, line, err);
}

int config_policy_old_key(struct config *config, const char *name,
                          const struct config_line *line, struct error *err)
{
    enum policy_key key;
    int r = policy_key_named(name, &key);
    if (r == 0 && key < _POLICY_LISTS) /* these begin anew each time */
        r = policy_set(&config->older_policy, key, "", line->from, err);
    if (r == 0)
        r = policy_set(&config->older_policy, key, line->value, line->from, err);
    return r;
}

static int settle(struct policy_value *value, struct policy_value *older,
                  const struct policy_key_info *info, struct error *err)
{
    if (!older->said)
        return 0;
    if (value->said && !policy_value_equal(value, older))
        return fail(err, ERROR_INVALID, EINVAL,
                    "%s and %s (%s= in [Policy]) say different things of the same; remove one "
                    "of them",
                    older->from, value->from, info->name);
    policy_value_clear(value);
    *value = *older;
    *older = (struct policy_value){0};
    return 0;
}

int config_policy_settle(struct config *config, struct error *err)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < _POLICY_KEYS; i++)
        r = settle(&config->policy.values[i], &config->older_policy.values[i], &policy_keys[i],
                   err);
    return r < 0 ? r : policy_set_defaults(&config->policy, err);
}

/* A name that the machine does not know is nobody's. As with other lists an empty value begins
 * anew: everybody may. */
static int add_accounts(struct config_accounts *accounts, const struct config_line *line,
                        bool (*find)(const char *name, uint32_t *ret), struct error *err)
{
    char name[256];
    const char *at = line->value + strspn(line->value, SPACE);
    free(accounts->from);
    accounts->from = strdup(line->from);
    accounts->said = *at != '\0';
    if (!accounts->said)
        accounts->n = 0;
    while (*at) {
        uint32_t id = 0;
        size_t n = strcspn(at, SPACE);
        (void)snprintf(name, sizeof(name), "%.*s", (int)n, at);
        at += n + strspn(at + n, SPACE);
        if (strchr(name, '=') || strchr(name, ',') || n >= sizeof(name))
            return fail(err, ERROR_INVALID, EINVAL,
                        "%s=: \"%.60s\": names, with spaces between them", line->name, name);
        if (!find(name, &id))
            continue;
        uint32_t *ids = reallocarray(accounts->ids, accounts->n + 1, sizeof(*ids));
        if (!ids)
            return fail(err, ERROR_SYSTEM, ENOMEM, "policy: ");
        ids[accounts->n++] = id;
        accounts->ids = ids;
    }
    return accounts->from ? 0 : fail(err, ERROR_SYSTEM, ENOMEM, "policy: ");
}

int config_policy_template_key(struct template_config *of_template,
                               const struct config_line *line, struct error *err)
{
    if (streq(line->name, "Users"))
        return add_accounts(&of_template->users, line, host_user_id, err);
    if (streq(line->name, "Groups"))
        return add_accounts(&of_template->groups, line, host_group_id, err);
    return set_key(&of_template->policy, line, err);
}

static int on_group_key(void *data, const struct config_line *line, struct error *err)
{
    struct group_config *group = data;
    return set_key(&group->policy, line, err);
}

static void load_group(const char *file, const struct policy *all, struct group_config *group)
{
    struct error err = {0};
    const char *slash = strrchr(file, '/');
    (void)snprintf(group->name, sizeof(group->name), "%.*s",
                   (int)(strlen(slash + 1) - strlen(".conf")), slash + 1);
    int r = config_file_read(file, on_group_key, group, &err);
    group->known = strlen(slash + 1) - strlen(".conf") < sizeof(group->name) &&
                   host_group_id(group->name, &group->gid);
    if (r == 0 && !group->known)
        r = fail(&err, ERROR_NOT_FOUND, ENOENT, "%.200s: this machine has no group \"%s\"",
                 file, group->name);
    if (r == 0)
        r = policy_check_adds(&group->policy, all, &err);
    if (r == 0)
        return;
    policy_clear(&group->policy); /* also what was read before the line that is wrong */
    (void)snprintf(group->problem, sizeof(group->problem), "%.250s", err.text);
}

int config_policy_load_groups(struct config *config, char *const *files, size_t n,
                              struct error *err)
{
    config->groups = calloc(n + 1, sizeof(*config->groups));
    if (!config->groups)
        return fail(err, ERROR_SYSTEM, ENOMEM, "groups.d: ");
    for (size_t i = 0; i < n; i++)
        load_group(files[i], &config->policy, &config->groups[config->n_groups++]);
    return 0;
}

void config_policy_clear_template(struct template_config *of_template)
{
    policy_clear(&of_template->policy);
    freep(&of_template->users.from);
    freep(&of_template->users.ids);
    freep(&of_template->groups.from);
    freep(&of_template->groups.ids);
}

void config_policy_clear(struct config *config)
{
    policy_clear(&config->policy);
    policy_clear(&config->older_policy);
    for (size_t i = 0; i < config->n_groups; i++)
        policy_clear(&config->groups[i].policy);
    freep(&config->groups);
    config->n_groups = 0;
}
