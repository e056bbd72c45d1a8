/* SPDX-License-Identifier: Apache-2.0 */
/* Verbs on sandboxes that exist. Run as the caller. */
#include "base/log.h"
#include "base/text.h"
#include "client/ctl.h"

#include <string.h>

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text && *text ? text : "-";
}

/* The command of a request, words joined by spaces. */
static void command_of(const json_t *request, char *out, size_t size)
{
    const json_t *argv = json_object_get(request, "argv");
    size_t used = 0;
    size_t index = 0;
    const json_t *word = NULL;
    out[0] = '\0';
    json_array_foreach((json_t *)argv, index, word)
    {
        int n = snprintf(out + used, size - used, "%s%s", index ? " " : "",
                         json_string_value(word));
        if (n < 0 || (size_t)n >= size - used)
            return;
        used += (size_t)n;
    }
    if (used == 0)
        (void)snprintf(out, size, "%s",
                       json_object_get(request, "argv_base64")          ? "…"
                       : json_is_true(json_object_get(request, "boot")) ? "(init)"
                                                                        : "(shell)");
}

static void sandbox_row(struct ctl_table *table, const json_t *item)
{
    char command[80];
    char size[16];
    char created[32];
    const char *root = json_string_value(json_object_get(item, "root"));
    command_of(json_object_get(item, "request"), command, sizeof(command));
    ctl_format_size(size, sizeof(size),
                    (uint64_t)json_integer_value(json_object_get(item, "bytes")));
    ctl_format_time(created, sizeof(created),
                    json_integer_value(json_object_get(item, "created_us")) / 1000000);
    const char *cells[] = {text_of(item, "id"),
                           text_of(item, "name"),
                           text_of(item, "state"),
                           root ? root : text_of(item, "template"),
                           size,
                           created,
                           command};
    ctl_table_row(table, cells);
}

/* Whether a sandbox is what all filters ask for. */
static bool passes(const struct ctl_options *options, const json_t *item)
{
    char owner[16];
    (void)snprintf(owner, sizeof(owner), "%lld",
                   (long long)json_integer_value(json_object_get(item, "owner_uid")));
    for (size_t i = 0; i < options->n_filters; i++) {
        char key[16];
        const char *value = strchr(options->filters[i], '=');
        (void)snprintf(key, sizeof(key), "%.*s", (int)(value - options->filters[i]),
                       options->filters[i]);
        const char *has = streq(key, "owner") ? owner : text_of(item, key);
        if (!streq(has, value + 1))
            return false;
    }
    return true;
}

static void filter(const struct ctl_options *options, json_t *sandboxes)
{
    for (size_t i = json_array_size(sandboxes); i > 0; i--)
        if (!passes(options, json_array_get(sandboxes, i - 1)))
            (void)json_array_remove(sandboxes, i - 1);
}

int ctl_ps(int argc, char **argv)
{
    static const struct ctl_column columns[] = {
        {"ID", false},  {"NAME", false},    {"STATE", false},   {"TEMPLATE", false},
        {"SIZE", true}, {"CREATED", false}, {"COMMAND", false},
    };
    _cleanup_ctl_verb_ struct ctl_verb verb = {0};
    if (!ctl_verb_begin(&verb, "ps", argc, argv) ||
        !ctl_verb_ask(&verb, "List", json_pack("{s:b}", "all", (int)verb.options.all)))
        return verb.status;
    const json_t *sandboxes = ctl_verb_reply(&verb, "sandboxes");
    filter(&verb.options, (json_t *)sandboxes);
    ctl_print_list(sandboxes, verb.options.json, columns, ELEMENTS(columns), sandbox_row);
    return 0;
}

int ctl_inspect(int argc, char **argv)
{
    _cleanup_ctl_verb_ struct ctl_verb verb = {0};
    if (!ctl_verb_begin(&verb, "inspect", argc, argv) ||
        !ctl_verb_ask(&verb, "Inspect", json_pack("{s:s}", "name", verb.operands[0])))
        return verb.status;
    ctl_print_json(ctl_verb_reply(&verb, "sandbox"));
    return 0;
}

static void print_changes(void *data, const json_t *parameters)
{
    json_t *all = data;
    size_t index = 0;
    json_t *change = NULL;
    json_array_foreach(json_object_get(parameters, "changes"), index, change)
    {
        if (all) {
            (void)json_array_append(all, change);
            continue;
        }
        char escaped[16384];
        text_escape(escaped, sizeof(escaped), text_of(change, "path"));
        (void)printf("%s %s\n", text_of(change, "kind"), escaped);
    }
}

int ctl_diff(int argc, char **argv)
{
    _cleanup_ctl_verb_ struct ctl_verb verb = {0};
    if (!ctl_verb_begin(&verb, "diff", argc, argv))
        return verb.status;
    json_t *all = verb.options.json ? json_array() : NULL;
    const struct ctl_call call = {
        .method = "Diff",
        .parameters = json_pack("{s:s}", "name", verb.operands[0]),
        .fd = -EBADF,
        .on_more = print_changes,
        .data = all,
    };
    if (ctl_verb_call(&verb, &call)) {
        print_changes(all, verb.reply);
        if (all)
            ctl_print_json(all);
    }
    json_decref(all);
    return verb.status;
}

void ctl_note_commit(const char *name, const json_t *reply)
{
    const char *generation = text_of(reply, "generation");
    if (json_is_true(json_object_get(reply, "changed")))
        log_note("template \"%s\": %s is the new generation", name, generation);
    else
        log_note("template \"%s\": nothing has changed; %s is still the current generation",
                 name, generation);
}

int ctl_commit(int argc, char **argv)
{
    _cleanup_ctl_verb_ struct ctl_verb verb = {0};
    if (!ctl_verb_begin(&verb, "commit", argc, argv) ||
        !ctl_verb_ask(
            &verb, "Commit",
            json_pack("{s:s, s:s}", "name", verb.operands[0], "template", verb.operands[1])))
        return verb.status;
    ctl_note_commit(verb.operands[1], verb.reply);
    return 0;
}

int ctl_rm(int argc, char **argv)
{
    _cleanup_ctl_verb_ struct ctl_verb verb = {0};
    if (!ctl_verb_begin(&verb, "rm", argc, argv))
        return verb.status;
    /* one that fails does not keep the others */
    for (int i = 0; i < verb.n_operands; i++)
        (void)!ctl_verb_ask(&verb, "Remove", json_pack("{s:s}", "name", verb.operands[i]));
    return verb.status;
}

int ctl_prune(int argc, char **argv)
{
    _cleanup_ctl_verb_ struct ctl_verb verb = {0};
    if (!ctl_verb_begin(&verb, "prune", argc, argv) ||
        !ctl_verb_ask(&verb, "Prune", json_pack("{s:b}", "kept", (int)verb.options.kept)))
        return verb.status;
    size_t index = 0;
    const json_t *id = NULL;
    json_array_foreach(ctl_verb_reply(&verb, "removed"), index, id)(void)
        printf("%s\n", json_string_value(id));
    return 0;
}
