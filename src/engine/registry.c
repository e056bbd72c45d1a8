/* SPDX-License-Identifier: Apache-2.0 */
/* Which engines there are. Runs in isolated; names come from callers. */
#include "base/text.h"
#include "engine/engines.h"

static const struct engine *const engines[] = {&engine_native, &engine_bwrap, &engine_chroot};

/* Engines that people know and that this version does not have yet. */
static const char *const planned[] = {"lxc", "nspawn", "oci"};

const struct engine_capability_name engine_capability_names[] = {
    {ENGINE_ISOLATES, "isolates"},
    {ENGINE_PARKS, "parks"},
    {ENGINE_EXEC, "exec"},
    {ENGINE_BINDS, "binds"},
    {ENGINE_CLONES, "clones"},
    {ENGINE_CAPABILITIES, "capabilities"},
    {0, NULL},
};

const struct engine *engine_at(size_t i)
{
    return i < ELEMENTS(engines) ? engines[i] : NULL;
}

int engine_find(const char *name, const struct engine **ret, struct error *err)
{
    const char *known[ELEMENTS(engines)];
    for (size_t i = 0; i < ELEMENTS(engines); i++) {
        known[i] = engines[i]->name;
        if (!name || streq(name, engines[i]->name)) {
            *ret = engines[i];
            return 0;
        }
    }
    for (size_t i = 0; i < ELEMENTS(planned); i++)
        if (streq(name, planned[i]))
            return fail(
                err, ERROR_UNSUPPORTED, EOPNOTSUPP,
                "engine \"%s\": not in this version of isolate yet; see `isolate engines`",
                name);
    const char *nearest = text_nearest(name, known, ELEMENTS(known));
    return fail(err, ERROR_NOT_FOUND, ENOENT, "engine \"%.40s\": no such engine; %s%s%s", name,
                nearest ? "did you mean \"" : "see `isolate engines", nearest ? nearest : "",
                nearest ? "\"?" : "`");
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
