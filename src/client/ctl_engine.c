/* SPDX-License-Identifier: Apache-2.0 */
/* The verb engines. Runs as the caller. */
#include "base/text.h"
#include "client/ctl.h"

static const char *has(const json_t *item, const char *capability)
{
    size_t i = 0;
    const json_t *name = NULL;
    json_array_foreach(json_object_get(item, "capabilities"), i, name)
    {
        const char *text = json_string_value(name);
        if (text && streq(text, capability))
            return "yes";
    }
    return "no";
}

static void engine_row(struct ctl_table *table, const json_t *item)
{
    const char *problem = ctl_problem_of(item);
    const char *cells[] = {json_string_value(json_object_get(item, "name")),
                           has(item, "isolates"),
                           has(item, "parks"),
                           has(item, "exec"),
                           has(item, "binds"),
                           has(item, "clones"),
                           *problem ? problem : "-"};
    ctl_table_row(table, cells);
}

int ctl_engines(int argc, char **argv)
{
    static const struct ctl_column columns[] = {
        {"ENGINE", false}, {"ISOLATES", false}, {"PARKED AHEAD", false}, {"EXEC", false},
        {"BINDS", false},  {"CLONES", false},   {"PROBLEM", false},
    };
    _cleanup_ctl_verb_ struct ctl_verb verb = {0};
    if (!ctl_verb_begin(&verb, "engines", argc, argv) ||
        !ctl_verb_ask(&verb, "EngineList", json_object()))
        return verb.status;
    ctl_print_list(ctl_verb_reply(&verb, "engines"), verb.options.json, columns,
                   ELEMENTS(columns), engine_row);
    return 0;
}
