/* SPDX-License-Identifier: Apache-2.0 */
/* Which engines there are. Runs in isolated; names come from callers. */
#include "base/text.h"
#include "engine/engines.h"
#include "engine/order.h"
#include "sys/fd.h"

#include <string.h>

static const struct engine *const engines[] = {&engine_native, &engine_bwrap, &engine_lxc,
                                               &engine_nspawn, &engine_oci,   &engine_chroot};

const struct engine_capability_name engine_capability_names[] = {
    {ENGINE_ISOLATES, "isolates"}, {ENGINE_PARKS, "parks"},
    {ENGINE_EXEC, "exec"},         {ENGINE_BINDS, "binds"},
    {ENGINE_CLONES, "clones"},     {ENGINE_CAPABILITIES, "capabilities"},
    {ENGINE_DISPLAY, "display"},   {ENGINE_FILTERS, "filters"},
    {ENGINE_NESTED, "nested"},     {ENGINE_NESTS, "nests"},
    {ENGINE_BOOTS, "boots"},       {0, NULL},
};

const struct engine *engine_at(size_t i)
{
    return i < ELEMENTS(engines) ? engines[i] : NULL;
}

const char *engine_argument(const char *name)
{
    const char *colon = name ? strchr(name, ':') : NULL;
    return colon ? colon + 1 : NULL;
}

/* 1: it is this one. */
static int match(const struct engine *engine, const char *name, struct error *err)
{
    const char *rest = name ? text_after(name, engine->name) : "";
    if (!rest || (*rest && *rest != ':'))
        return 0;
    if (*rest && !engine->argument)
        return fail(err, ERROR_INVALID, EINVAL,
                    "engine %s: nothing may follow its name: \"%.200s\"", engine->name, rest);
    if (*rest && !rest[1])
        return fail(err, ERROR_INVALID, EINVAL, "engine %s: %s is empty in \"%s\"",
                    engine->name, engine->argument, name);
    return 1;
}

int engine_find(const char *name, const struct engine **ret, struct error *err)
{
    const char *known[ELEMENTS(engines)];
    for (size_t i = 0; i < ELEMENTS(engines); i++) {
        known[i] = engines[i]->name;
        int r = match(engines[i], name, err);
        if (r > 0)
            *ret = engines[i];
        if (r != 0)
            return r < 0 ? r : 0;
    }
    const char *nearest = text_nearest(name, known, ELEMENTS(known));
    return fail(err, ERROR_NOT_FOUND, ENOENT, "engine \"%.40s\": no such engine; %s%s%s", name,
                nearest ? "did you mean \"" : "see `isolate engines", nearest ? nearest : "",
                nearest ? "\"?" : "`");
}

void engine_told_clear(struct engine_told *told)
{
    if (told->order)
        buffer_clear(&told->order->text);
    freep(&told->order);
}

int engine_tell(const struct engine *engine, const struct engine_claim *claim,
                struct engine_told *ret, struct error *err)
{
    ret->start = *claim->start;
    ret->order = NULL;
    return engine->complete ? engine->complete(claim, ret, err) : 0;
}

int engine_prepare(const struct engine *engine, const struct engine_instance *instance,
                   const struct start *start, struct error *err)
{
    _cleanup_engine_told_ struct engine_told told = {.start = *start};
    const struct engine_claim claim = {.start = start, .control_fd = -EBADF};
    if (!engine->prepare)
        return 1;
    int r = engine->is_ahead ? engine_tell(engine, &claim, &told, err) : 0;
    return r < 0 ? r : engine->prepare(instance, &told.start, err);
}

int engine_start(const struct engine *engine, const struct engine_instance *instance,
                 const struct engine_claim *claim, struct error *err)
{
    _cleanup_engine_told_ struct engine_told told = {.order = NULL};
    struct engine_claim with = *claim;
    random_fill(&with.chance, sizeof(with.chance));
    int r = engine_tell(engine, &with, &told, err);
    with.start = &told.start;
    return r < 0 ? r : engine->claim(instance, &with, err);
}

void engine_instance_clear(struct engine_instance *instance)
{
    instance->pidfd = fd_close(instance->pidfd);
    instance->park_fd = fd_close(instance->park_fd);
    instance->userns_fd = fd_close(instance->userns_fd);
}

int engine_require(const struct engine *engine, enum engine_capability capability,
                   const char *what, struct error *err)
{
    if (engine->capabilities & capability)
        return 0;
    return fail(err, ERROR_UNSUPPORTED, EOPNOTSUPP,
                "engine %s cannot %s; see `isolate engines`", engine->name, what);
}
