/* SPDX-License-Identifier: Apache-2.0 */
/* The verbs pool …. Run as the caller; isolated lets only root change anything. */
#include "base/parse.h"
#include "base/text.h"
#include "client/ctl.h"

static void pool_row(struct ctl_table *table, const json_t *item)
{
    char cells_text[6][24];
    static const char *const numbers[] = {"ready",  "building", "fresh",
                                          "wanted", "claims",   "misses"};
    const char *name = json_string_value(json_object_get(item, "template"));
    const char *problem = json_string_value(json_object_get(item, "problem"));
    for (size_t i = 0; i < ELEMENTS(numbers); i++)
        (void)snprintf(cells_text[i], sizeof(cells_text[i]), "%lld",
                       (long long)json_integer_value(json_object_get(item, numbers[i])));
    const char *cells[] = {name && !*name ? "(directories)" : name,
                           json_string_value(json_object_get(item, "network")),
                           json_string_value(json_object_get(item, "engine")),
                           cells_text[0],
                           cells_text[1],
                           cells_text[2],
                           cells_text[3],
                           json_is_true(json_object_get(item, "fixed")) ? "set" : "auto",
                           cells_text[4],
                           cells_text[5],
                           problem && *problem ? problem : "-"};
    ctl_table_row(table, cells);
}

int ctl_pool(int argc, char **argv)
{
    static const struct ctl_column columns[] = {
        {"TEMPLATE", false}, {"NETWORK", false}, {"ENGINE", false},  {"READY", true},
        {"BUILDING", true},  {"FRESH", true},    {"WANTED", true},   {"BY", false},
        {"CLAIMED", true},   {"MISSED", true},   {"PROBLEM", false},
    };
    _cleanup_ctl_verb_ struct ctl_verb verb = {0};
    if (!ctl_verb_begin(&verb, "pool", argc, argv) ||
        !ctl_verb_ask(&verb, "PoolList", json_object()))
        return verb.status;
    ctl_print_list(ctl_verb_reply(&verb, "shapes"), verb.options.json, columns,
                   ELEMENTS(columns), pool_row);
    return 0;
}

int ctl_pool_set(int argc, char **argv)
{
    uint32_t n = 0;
    struct error err = {0};
    _cleanup_ctl_verb_ struct ctl_verb verb = {0};
    if (!ctl_verb_begin(&verb, "pool set", argc, argv))
        return verb.status;
    bool by_demand = streq(verb.operands[1], "auto");
    if (!by_demand &&
        parse_u32(verb.operands[1], 0, 10000, &n, "pool set: N (or auto)", &err) < 0)
        return ctl_failed(&err);
    json_t *parameters = json_pack("{s:s}", "template", verb.operands[0]);
    if (parameters && !by_demand)
        (void)json_object_set_new(parameters, "wanted", json_integer(n));
    (void)!ctl_verb_ask(&verb, "PoolSet", parameters);
    return verb.status;
}

/* For each template named, or for all. */
static int each(const char *name, const char *method, int argc, char **argv)
{
    _cleanup_ctl_verb_ struct ctl_verb verb = {0};
    if (!ctl_verb_begin(&verb, name, argc, argv))
        return verb.status;
    if (verb.n_operands == 0)
        (void)!ctl_verb_ask(&verb, method, json_object());
    for (int i = 0; i < verb.n_operands; i++)
        (void)!ctl_verb_ask(&verb, method, json_pack("{s:s}", "template", verb.operands[i]));
    return verb.status;
}

int ctl_pool_refresh(int argc, char **argv)
{
    return each("pool refresh", "PoolRefresh", argc, argv);
}

int ctl_pool_drain(int argc, char **argv)
{
    return each("pool drain", "PoolDrain", argc, argv);
}
