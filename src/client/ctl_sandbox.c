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
                       json_object_get(request, "argv_base64") ? "…" : "(shell)");
}

int ctl_ps(int argc, char **argv)
{
    static const struct ctl_column columns[] = {
        {"ID", false},  {"NAME", false},    {"STATE", false},   {"TEMPLATE", false},
        {"SIZE", true}, {"CREATED", false}, {"COMMAND", false},
    };
    struct error err = {0};
    struct ctl_options options = {0};
    json_t *reply = NULL;
    int first = 0;
    int status = 0;
    if (ctl_parse("ps", argc, argv, &options, &first, &status) < 0)
        return status;
    struct ctl_call call = {
        .method = "List",
        .parameters = json_pack("{s:b}", "all", (int)options.all),
        .fd = -EBADF,
    };
    if (ctl_ask(&call, &reply, &err) < 0)
        return ctl_failed(&err);
    const json_t *sandboxes = json_object_get(reply, "sandboxes");
    if (options.json) {
        status = ctl_print_json(sandboxes);
        json_decref(reply);
        return status;
    }
    struct ctl_table *table = ctl_table_new(columns, ELEMENTS(columns));
    size_t index = 0;
    const json_t *item = NULL;
    json_array_foreach((json_t *)sandboxes, index, item)
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
    ctl_table_print(table);
    json_decref(reply);
    return 0;
}

int ctl_inspect(int argc, char **argv)
{
    struct error err = {0};
    struct ctl_options options = {0};
    json_t *reply = NULL;
    int first = 0;
    int status = 0;
    if (ctl_parse("inspect", argc, argv, &options, &first, &status) < 0)
        return status;
    struct ctl_call call = {
        .method = "Inspect",
        .parameters = json_pack("{s:s}", "name", argv[first]),
        .fd = -EBADF,
    };
    if (ctl_ask(&call, &reply, &err) < 0)
        return ctl_failed(&err);
    status = ctl_print_json(json_object_get(reply, "sandbox"));
    json_decref(reply);
    return status;
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
    struct error err = {0};
    struct ctl_options options = {0};
    json_t *reply = NULL;
    int first = 0;
    int status = 0;
    if (ctl_parse("diff", argc, argv, &options, &first, &status) < 0)
        return status;
    json_t *all = options.json ? json_array() : NULL;
    struct ctl_call call = {
        .method = "Diff",
        .parameters = json_pack("{s:s}", "name", argv[first]),
        .fd = -EBADF,
        .on_more = print_changes,
        .data = all,
    };
    if (ctl_ask(&call, &reply, &err) < 0) {
        json_decref(all);
        return ctl_failed(&err);
    }
    print_changes(all, reply);
    status = all ? ctl_print_json(all) : fflush(stdout) == 0 ? 0 : 125;
    json_decref(all);
    json_decref(reply);
    return status;
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
    struct error err = {0};
    struct ctl_options options = {0};
    json_t *reply = NULL;
    int first = 0;
    int status = 0;
    if (ctl_parse("commit", argc, argv, &options, &first, &status) < 0)
        return status;
    struct ctl_call call = {
        .method = "Commit",
        .parameters = json_pack("{s:s, s:s}", "name", argv[first], "template", argv[first + 1]),
        .fd = -EBADF,
    };
    if (ctl_ask(&call, &reply, &err) < 0)
        return ctl_failed(&err);
    ctl_note_commit(argv[first + 1], reply);
    json_decref(reply);
    return 0;
}

int ctl_rm(int argc, char **argv)
{
    struct ctl_options options = {0};
    int first = 0;
    int status = 0;
    if (ctl_parse("rm", argc, argv, &options, &first, &status) < 0)
        return status;
    for (int i = first; i < argc; i++) {
        struct error err = {0};
        json_t *reply = NULL;
        struct ctl_call call = {
            .method = "Remove",
            .parameters = json_pack("{s:s}", "name", argv[i]),
            .fd = -EBADF,
        };
        if (ctl_ask(&call, &reply, &err) < 0)
            status = ctl_failed(&err);
        json_decref(reply);
    }
    return status;
}

int ctl_prune(int argc, char **argv)
{
    struct error err = {0};
    struct ctl_options options = {0};
    json_t *reply = NULL;
    int first = 0;
    int status = 0;
    if (ctl_parse("prune", argc, argv, &options, &first, &status) < 0)
        return status;
    struct ctl_call call = {
        .method = "Prune",
        .parameters = json_pack("{s:b}", "kept", (int)options.kept),
        .fd = -EBADF,
    };
    if (ctl_ask(&call, &reply, &err) < 0)
        return ctl_failed(&err);
    size_t index = 0;
    const json_t *id = NULL;
    json_array_foreach(json_object_get(reply, "removed"), index, id)(void)
        printf("%s\n", json_string_value(id));
    json_decref(reply);
    return 0;
}
