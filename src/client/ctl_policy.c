/* SPDX-License-Identifier: Apache-2.0 */
/* The verb policy: what somebody may do, and why. Runs as the caller, whom isolated tells of
 * nobody else unless it is root. */
#include "base/buffer.h"
#include "base/log.h"
#include "base/text.h"
#include "client/connect.h"
#include "client/ctl.h"
#include "spec/policy.h"

#include <inttypes.h>

#define OWN_RIGHTS "your own rights, without isolated"

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

static void row(json_t *rows, const char *what, const char *allowed, const char *why)
{
    (void)json_array_append_new(
        rows, json_pack("{s:s, s:s, s:s}", "what", what, "allowed", allowed, "why", why));
}

static bool is_same_row(const json_t *a, const json_t *b)
{
    return streq(text_of(a, "key"), text_of(b, "key")) &&
           streq(text_of(a, "from"), text_of(b, "from")) &&
           streq(text_of(a, "closed_by"), text_of(b, "closed_by"));
}

/* Words of one key that follow from one line are one row. */
static void add_words(json_t *rows, const json_t *words)
{
    size_t n = json_array_size(words);
    for (size_t i = 0; i < n; i++) {
        const json_t *first = json_array_get(words, i);
        const char *closed_by = text_of(first, "closed_by");
        _cleanup_buffer_ struct buffer text = {0};
        _cleanup_buffer_ struct buffer why = {0};
        if (i > 0 && is_same_row(first, json_array_get(words, i - 1)))
            continue;
        for (size_t k = i; k < n && is_same_row(first, json_array_get(words, k)); k++)
            buffer_printf(&text, "%s%.250s", k == i ? *closed_by ? "not " : "" : " ",
                          text_of(json_array_get(words, k), "word"));
        buffer_printf(&why, "%.480s%s%.480s", text_of(first, "from"),
                      *closed_by ? ", but not in " : "", closed_by);
        if (text.data && why.data)
            row(rows, text_of(first, "key"), text.data, why.data);
    }
}

static void add_ceiling(json_t *rows, const json_t *item)
{
    char number[32];
    char allowed[64];
    char what[64];
    const char *key = text_of(item, "key");
    const json_t *value = json_object_get(item, "value");
    (void)snprintf(what, sizeof(what), "%.40s", key);
    (void)snprintf(number, sizeof(number), "%" PRId64, (int64_t)json_integer_value(value));
    for (size_t i = _POLICY_LISTS; i < _POLICY_KEYS; i++)
        if (streq(policy_keys[i].member, key)) {
            policy_print_ceiling((enum policy_key)i, (uint64_t)json_integer_value(value),
                                 number, sizeof(number));
            (void)snprintf(what, sizeof(what), "%s",
                           policy_keys[i].option ? policy_keys[i].option : key);
        }
    (void)snprintf(allowed, sizeof(allowed), value ? "at most %s" : "no ceiling", number);
    row(rows, streq(what, "sandboxes_of_template") ? "sandboxes of the template" : what,
        allowed, text_of(item, "from"));
}

static void add_templates(json_t *rows, const json_t *reply)
{
    size_t i = 0;
    char allowed[80];
    const json_t *item = NULL;
    bool one = json_object_get(reply, "template");
    if (one) {
        const char *denied = text_of(reply, "denied");
        (void)snprintf(allowed, sizeof(allowed), "%s%.64s", *denied ? "not " : "",
                       text_of(reply, "template"));
        row(rows, "template", allowed, *denied ? denied : "nothing says that it is not");
    }
    json_array_foreach(json_object_get(reply, "templates"), i, item)
    {
        const char *denied = text_of(item, "denied");
        (void)snprintf(allowed, sizeof(allowed), "%s%.64s", *denied ? "not " : "",
                       text_of(item, "name"));
        if (!one)
            row(rows, "template", allowed, *denied ? denied : "see `isolate policy TEMPLATE`");
    }
    if (!one && !*text_of(reply, "denied"))
        row(rows, "template", "all others", "default");
}

/* Who it is about, and the groups that count. */
static void add_user(json_t *rows, const json_t *reply)
{
    char who[128];
    size_t i = 0;
    const json_t *gid = NULL;
    const char *name = text_of(reply, "user");
    _cleanup_buffer_ struct buffer groups = {0};
    int64_t uid = json_integer_value(json_object_get(reply, "uid"));
    (void)snprintf(who, sizeof(who), *name ? "%.64s (uid %" PRId64 ")" : "%suid %" PRId64, name,
                   uid);
    buffer_append_text(&groups, "groups");
    json_array_foreach(json_object_get(reply, "groups"), i, gid)
        buffer_printf(&groups, " %" PRId64, (int64_t)json_integer_value(gid));
    if (groups.data)
        row(rows, "user", who, i > 0 ? groups.data : "you");
}

static json_t *rows_of(const json_t *reply)
{
    size_t i = 0;
    const json_t *item = NULL;
    json_t *rows = json_array();
    add_user(rows, reply);
    if (json_is_true(json_object_get(reply, "root"))) {
        row(rows, "everything", "yes", "root");
        return rows;
    }
    if (!json_is_true(json_object_get(reply, "member")))
        row(rows, "isolated", "no",
            *text_of(reply, "denied") ? text_of(reply, "denied")
                                      : "not in the group whose members it serves");
    else
        add_templates(rows, reply);
    add_words(rows, json_object_get(reply, "words"));
    json_array_foreach(json_object_get(reply, "ceilings"), i, item)
    {
        add_ceiling(rows, item);
    }
    json_array_foreach(json_object_get(reply, "problems"), i, item)
    {
        row(rows, "problem", "nothing of it", json_string_value(item));
    }
    return rows;
}

static void policy_row(struct ctl_table *table, const json_t *item)
{
    const char *cells[] = {text_of(item, "what"), text_of(item, "allowed"),
                           text_of(item, "why")};
    ctl_table_row(table, cells);
}

static void print(const json_t *reply, bool json)
{
    static const struct ctl_column columns[] = {
        {"WHAT", false}, {"ALLOWED", false}, {"WHY", false}};
    if (json) {
        ctl_print_json(reply);
        return;
    }
    json_t *rows = rows_of(reply);
    ctl_print_list(rows, false, columns, ELEMENTS(columns), policy_row);
    json_decref(rows);
}

/* Whom nobody serves: the original's `isolate -t DIR` is what is left. */
static int print_unserved(const char *why, bool json)
{
    json_t *reply = json_pack(
        "{s:I, s:b, s:b, s:s, s:[{s:s, s:s, s:s}, {s:s, s:s, s:s}, {s:s, s:s, s:s}], s:[], "
        "s:[], s:[]}",
        "uid", (json_int_t)getuid(), "root", 0, "member", 0, "denied", why, "words", "key",
        "engine", "word", "bwrap (isolate -t DIR COMMAND)", "from", OWN_RIGHTS, "key",
        "network", "word", "none", "from", OWN_RIGHTS, "key", "network", "word", "host", "from",
        OWN_RIGHTS, "ceilings", "templates", "problems");
    if (!reply)
        return 125;
    print(reply, json);
    json_decref(reply);
    return 0;
}

/* Whether nobody serves the caller, and why. */
static bool is_unserved(struct error *why)
{
    struct varlink varlink = {.fd = -EBADF};
    if (getuid() == 0)
        return false;
    int r = client_connect_resident(&varlink, why);
    if (r == 0)
        (void)fail(why, ERROR_DENIED, EPERM,
                   "no isolated is running, and without it only root can make sandboxes of "
                   "templates");
    varlink_clear(&varlink);
    return r == 0 || why->code == ERROR_DENIED;
}

int ctl_policy(int argc, char **argv)
{
    struct error why = {0};
    _cleanup_ctl_verb_ struct ctl_verb verb = {0};
    if (!ctl_verb_begin(&verb, "policy", argc, argv))
        return verb.status;
    if (!verb.options.user && verb.n_operands == 0 && is_unserved(&why))
        return print_unserved(why.text, verb.options.json);
    json_t *parameters = json_object();
    if (verb.options.user)
        (void)json_object_set_new(parameters, "user", json_string(verb.options.user));
    if (verb.n_operands > 0)
        (void)json_object_set_new(parameters, "template", json_string(verb.operands[0]));
    if (!ctl_verb_ask(&verb, "Policy", parameters))
        return verb.status;
    print(verb.reply, verb.options.json);
    return 0;
}
