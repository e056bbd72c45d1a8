/* SPDX-License-Identifier: Apache-2.0 */
/* Verbs on storages. Run as the caller, who must be root. */
#include "base/log.h"
#include "base/text.h"
#include "client/ctl.h"

#include <string.h>

static void storage_row(struct ctl_table *table, const json_t *item)
{
    char count[24];
    const char *problem = ctl_problem_of(item);
    (void)snprintf(count, sizeof(count), "%lld",
                   (long long)json_integer_value(json_object_get(item, "templates")));
    const char *cells[] = {json_string_value(json_object_get(item, "name")),
                           *problem ? "problem" : "ok", *problem ? "-" : count,
                           *problem ? problem : "-"};
    ctl_table_row(table, cells);
}

int ctl_storage_ls(int argc, char **argv)
{
    /* the last one only where there is something in it */
    static const struct ctl_column columns[] = {
        {"NAME", false},
        {"STATE", false},
        {"TEMPLATES", true},
        {"PROBLEM", false},
    };
    _cleanup_ctl_verb_ struct ctl_verb verb = {0};
    if (!ctl_verb_begin(&verb, "storage ls", argc, argv) ||
        !ctl_verb_ask(&verb, "StorageList", json_object()))
        return verb.status;
    if (*ctl_problem_of(verb.reply)) /* of the list itself */
        log_warning("%s", ctl_problem_of(verb.reply));
    const json_t *storages = ctl_verb_reply(&verb, "storages");
    ctl_print_list(storages, verb.options.json, columns,
                   ELEMENTS(columns) - !ctl_has_problem(storages), storage_row);
    return 0;
}

int ctl_storage_forget(int argc, char **argv)
{
    size_t i = 0;
    const json_t *id = NULL;
    _cleanup_ctl_verb_ struct ctl_verb verb = {0};
    if (!ctl_verb_begin(&verb, "storage forget", argc, argv) ||
        !ctl_verb_ask(&verb, "StorageForget", json_pack("{s:s}", "name", verb.operands[0])))
        return verb.status;
    if (*ctl_problem_of(verb.reply))
        log_note("storage %s is forgotten; what lies there, if it is still somewhere, stays as "
                 "it is",
                 verb.operands[0]);
    else
        log_note("storage %s is forgotten; it had no templates and no clones",
                 verb.operands[0]);
    json_array_foreach((json_t *)ctl_verb_reply(&verb, "kept"), i, id)
        log_note("sandbox %s was kept there and cannot be started any more; isolate rm %s "
                 "removes what is left of it",
                 json_string_value(id), json_string_value(id));
    return 0;
}
