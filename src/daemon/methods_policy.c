/* SPDX-License-Identifier: Apache-2.0 */
/* The method Policy: what somebody may do, and what each of it follows from. Runs in isolated
 * as root, in a fork where there is a resident, because it may ask the machine's name services.
 */
#include "daemon/methods.h"
#include "daemon/policy.h"
#include "daemon/templates.h"

#include "base/text.h"
#include "spec/host_accounts.h"

#include <grp.h>
#include <pwd.h>
#include <string.h>

struct asked {
    const struct config *config;
    const struct peer *viewer;
    struct peer of;
    char name[64]; /* "": the machine has none for that uid */
    const char *template_name;
    const struct template_config *of_template;
};

static void set(json_t *object, const char *key, json_t *take_value)
{
    (void)json_object_set_new(object, key, take_value);
}

/* Somebody who is not here: the groups are those that a login would have. */
static int look_up(const char *name, struct asked *asked, struct error *err)
{
    int n = START_GROUPS;
    struct peer *of = &asked->of;
    if (!host_user_id(name, &of->uid))
        return fail(err, ERROR_NOT_FOUND, ENOENT, "policy: this machine has no user \"%.60s\"",
                    name);
    const struct passwd *entry = getpwuid(of->uid);
    of->gid = entry ? entry->pw_gid : of->uid;
    of->n_groups = 0;
    if (entry && getgrouplist(entry->pw_name, entry->pw_gid, of->groups, &n) < 0)
        return fail(err, ERROR_UNSUPPORTED, E2BIG,
                    "policy: user \"%.60s\" is in more than %d groups, and is not served", name,
                    START_GROUPS);
    of->n_groups = entry ? (size_t)n : 0;
    return 0;
}

static int find_user(const struct call *call, struct asked *asked, struct error *err)
{
    uint32_t uid = 0;
    const char *name = call_text(call, "user");
    asked->of = *call->peer;
    bool own = !name || (host_user_id(name, &uid) && uid == call->peer->uid);
    if (!own && call->peer->uid != 0)
        return fail(err, ERROR_DENIED, EPERM, "policy --for another user: is for root only");
    int r = own ? 0 : look_up(name, asked, err);
    const struct passwd *entry = r < 0 ? NULL : getpwuid(asked->of.uid);
    if (entry)
        (void)snprintf(asked->name, sizeof(asked->name), "%s", entry->pw_name);
    return r;
}

static json_t *groups_to_json(const struct peer *peer)
{
    json_t *list = json_array();
    (void)json_array_append_new(list, json_integer(peer->gid));
    for (size_t i = 0; i < peer->n_groups; i++)
        if (peer->groups[i] != peer->gid)
            (void)json_array_append_new(list, json_integer(peer->groups[i]));
    return list;
}

static json_t *words_to_json(const struct policy_rights *rights)
{
    json_t *list = json_array();
    for (size_t key = 0; key < _POLICY_LISTS; key++)
        for (size_t i = 0; i < rights->n_items[key]; i++) {
            const struct policy_item *item = &rights->items[key][i];
            json_t *value = json_pack("{s:s, s:s, s:s}", "key", policy_keys[key].member, "word",
                                      item->word, "from", item->from);
            if (!item->open)
                set(value, "closed_by", json_string(rights->of_template->values[key].from));
            (void)json_array_append_new(list, value);
        }
    return list;
}

static void add_ceiling(json_t *list, const char *key, const struct policy_ceiling *ceiling)
{
    json_t *value =
        json_pack("{s:s, s:s}", "key", key, "from", ceiling->from ? ceiling->from : "default");
    if (ceiling->value != POLICY_NO_CEILING)
        set(value, "value", json_integer((json_int_t)ceiling->value));
    (void)json_array_append_new(list, value);
}

static json_t *ceilings_to_json(const struct policy_rights *rights)
{
    json_t *list = json_array();
    for (size_t key = _POLICY_LISTS; key < _POLICY_KEYS; key++)
        add_ceiling(list, policy_keys[key].member, &rights->ceilings[key]);
    if (rights->of_this_template.from)
        add_ceiling(list, "sandboxes_of_template", &rights->of_this_template);
    return list;
}

/* Why a template cannot be used by whom it is asked for, or "". */
static void why_not(const struct asked *asked, const struct template_config *of_template,
                    char *out, size_t size)
{
    struct error denied = {.text = ""};
    if (of_template && *of_template->problem)
        (void)snprintf(denied.text, sizeof(denied.text), "%s", of_template->problem);
    else if (policy_check_template(&asked->of, of_template, &denied) == 0)
        denied.text[0] = '\0';
    (void)snprintf(out, size, "%s", denied.text);
}

/* Those that have a file; all others are as the machine's policy has it. */
static json_t *templates_to_json(const struct asked *asked)
{
    json_t *list = json_array();
    for (size_t i = 0; i < asked->config->n_templates; i++) {
        char denied[ERROR_TEXT_MAX];
        const struct template_config *of_template = &asked->config->templates[i];
        why_not(asked, of_template, denied, sizeof(denied));
        (void)json_array_append_new(
            list, json_pack("{s:s, s:s}", "name", of_template->name, "denied", denied));
    }
    return list;
}

/* Files of groups that give nothing: to root all of them, to others those of the own groups. */
static json_t *problems_to_json(const struct asked *asked)
{
    json_t *list = json_array();
    for (size_t i = 0; i < asked->config->n_groups; i++) {
        const struct group_config *group = &asked->config->groups[i];
        if (*group->problem &&
            (asked->viewer->uid == 0 || (group->known && peer_is_in(&asked->of, group->gid))))
            (void)json_array_append_new(list, json_string(group->problem));
    }
    return list;
}

static bool is_member(const struct daemon *daemon, const struct peer *peer)
{
    uint32_t gid = 0;
    return peer->uid == 0 ||
           (host_group_id(daemon->config.group, &gid) && peer_is_in(peer, gid));
}

/* That there is one. What is wrong with its file is a part of the answer. */
static int check_template(struct daemon *daemon, const struct asked *asked, struct error *err)
{
    struct template_info info;
    _cleanup_storage_ struct storage storage = {0};
    if (asked->of_template && (asked->of_template->root || *asked->of_template->problem))
        return 0;
    return template_find(daemon, asked->template_name, &storage, &info, err);
}

int method_policy(struct call *call, struct error *err)
{
    struct daemon *daemon = session_daemon(call->session);
    struct asked asked = {.config = &daemon->config, .viewer = call->peer};
    _cleanup_policy_rights_ struct policy_rights rights = {0};
    char denied[ERROR_TEXT_MAX];
    asked.template_name = call_text(call, "template");
    if (asked.template_name)
        asked.of_template = config_template(asked.config, asked.template_name);
    int r = find_user(call, &asked, err);
    if (r == 0 && asked.template_name)
        r = check_template(daemon, &asked, err);
    bool root = asked.of.uid == 0;
    if (r == 0 && !root)
        r = policy_rights(asked.config, &asked.of, asked.of_template, &rights, err);
    if (r < 0)
        return r;
    json_t *reply =
        json_pack("{s:I, s:o, s:b, s:b, s:o, s:o, s:o, s:o}", "uid", (json_int_t)asked.of.uid,
                  "groups", groups_to_json(&asked.of), "root", (int)root, "member",
                  (int)is_member(daemon, &asked.of), "words", words_to_json(&rights),
                  "ceilings", root ? json_array() : ceilings_to_json(&rights), "templates",
                  templates_to_json(&asked), "problems", problems_to_json(&asked));
    if (reply && *asked.name)
        set(reply, "user", json_string(asked.name));
    if (reply && asked.template_name) {
        why_not(&asked, asked.of_template, denied, sizeof(denied));
        set(reply, "template", json_string(asked.template_name));
        set(reply, "denied", json_string(denied));
    }
    return call_done(call, reply, err);
}
