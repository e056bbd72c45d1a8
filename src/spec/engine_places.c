/* SPDX-License-Identifier: Apache-2.0 */
/* See engine_places.h. isolated asks when the engine's order is made, init once more when it is
 * known where symbolic links have led. */
#include "spec/engine_places.h"
#include "base/text.h"

int engine_places_check(const struct start_engine *engine, const char *path, bool read_only,
                        struct error *err)
{
    const char *rest = text_after(path, "/run/host");
    if ((engine->flags & START_ENGINE_VIEW) &&
        (streq(path, "/run") || (rest && (*rest == '/' || *rest == '\0'))))
        return fail(err, ERROR_UNSUPPORTED, EOPNOTSUPP,
                    "bind at %.200s: engine nspawn has a /run/host of its own there; bind "
                    "elsewhere, or use another engine",
                    path);
    if ((engine->flags & START_ENGINE_FILLS_DEV) && streq(path, "/dev") && !read_only)
        return fail(err, ERROR_UNSUPPORTED, EOPNOTSUPP,
                    "bind at /dev: engine %s would make things of its own in the directory; "
                    "bind it read-only (:ro), bind single names below /dev, or use another "
                    "engine",
                    engine->flags & START_ENGINE_VIEW ? "nspawn" : "lxc");
    return 0;
}
