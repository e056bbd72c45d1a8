/* SPDX-License-Identifier: Apache-2.0 */
/* Which engines there are and what each can do. Runs in isolated as root. */
#include "daemon/methods.h"
#include "engine/engine.h"

static json_t *capabilities_of(const struct engine *engine)
{
    json_t *list = json_array();
    for (const struct engine_capability_name *item = engine_capability_names; item->name;
         item++)
        if (engine->capabilities & item->capability)
            (void)json_array_append_new(list, json_string(item->name));
    return list;
}

static json_t *engine_to_json(const struct engine *engine)
{
    struct error problem = {0};
    if (engine->probe && engine->probe(NULL, &problem) == 0)
        problem.text[0] = '\0';
    return json_pack("{s:s, s:s, s:s, s:o}", "name", engine->name, "package",
                     engine->package ? engine->package : "", "problem", problem.text,
                     "capabilities", capabilities_of(engine));
}

int method_engine_list(struct call *call, struct error *err)
{
    json_t *list = json_array();
    for (size_t i = 0; engine_at(i); i++)
        (void)json_array_append_new(list, engine_to_json(engine_at(i)));
    return call_done(call, json_pack("{s:o}", "engines", list), err);
}
