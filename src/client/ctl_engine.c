/* SPDX-License-Identifier: Apache-2.0 */
/* The verb engines. Runs as the caller. */
#include "base/text.h"
#include "client/ctl.h"

/* A column for each thing that an engine may be able to do, as the interface calls it. */
static const struct {
    const char *title;
    const char *capability;
} CAPABILITIES[] = {
    {"ISOLATES", "isolates"}, {"PARKED AHEAD", "parks"}, {"EXEC", "exec"},
    {"BINDS", "binds"},       {"CLONES", "clones"},      {"CAPABILITIES", "capabilities"},
    {"DISPLAY", "display"},   {"FILTERS", "filters"},    {"NESTED", "nested"},
    {"NESTS", "nests"},       {"BOOTS", "boots"},
};
#define COLUMNS (ELEMENTS(CAPABILITIES) + 2)

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
    const char *cells[COLUMNS] = {json_string_value(json_object_get(item, "name"))};
    for (size_t i = 0; i < ELEMENTS(CAPABILITIES); i++)
        cells[1 + i] = has(item, CAPABILITIES[i].capability);
    cells[COLUMNS - 1] = *problem ? problem : "-";
    ctl_table_row(table, cells);
}

int ctl_engines(int argc, char **argv)
{
    struct ctl_column columns[COLUMNS] = {{"ENGINE", false}};
    _cleanup_ctl_verb_ struct ctl_verb verb = {0};
    if (!ctl_verb_begin(&verb, "engines", argc, argv) ||
        !ctl_verb_ask(&verb, "EngineList", json_object()))
        return verb.status;
    for (size_t i = 0; i < ELEMENTS(CAPABILITIES); i++)
        columns[1 + i].name = CAPABILITIES[i].title;
    columns[COLUMNS - 1].name = "PROBLEM";
    ctl_print_list(ctl_verb_reply(&verb, "engines"), verb.options.json, columns, COLUMNS,
                   engine_row);
    return 0;
}
