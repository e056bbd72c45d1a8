/* SPDX-License-Identifier: Apache-2.0 */
/* Which generations stay: the current one, those that `template snapshot` made, those that
 * clones use, and of the others the KeepGenerations newest, so that an update can be rolled
 * back. Runs in isolated as root. */
#include "base/text.h"
#include "daemon/daemon.h"

static bool is_used(const struct clone_list *clones, const char *template_name, const char *id)
{
    for (size_t i = 0; i < clones->n; i++)
        if (streq(clones->items[i].template_name, template_name) &&
            streq(clones->items[i].generation, id))
            return true;
    return false;
}

int generations_retire(struct daemon *daemon, struct storage *storage,
                       const char *template_name, struct error *err)
{
    _cleanup_generations_ struct generation_list list = {0};
    _cleanup_clones_ struct clone_list clones = {0};
    int r = storage->driver->generations(storage, template_name, &list, err);
    if (r == 0)
        r = storage->driver->clones(storage, &clones, err);
    uint32_t spare = daemon->config.keep_generations;
    for (size_t i = list.n; r == 0 && i > 0; i--) {
        const struct generation *generation = &list.items[i - 1];
        if (generation->current || generation->pinned ||
            is_used(&clones, template_name, generation->id))
            continue;
        if (spare > 0) {
            spare--;
            continue;
        }
        r = storage->driver->remove_generation(storage, template_name, generation->id, err);
    }
    return r;
}
