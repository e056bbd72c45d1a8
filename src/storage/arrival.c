/* SPDX-License-Identifier: Apache-2.0 */
/* What all drivers ask of a generation that comes in. Pure. */
#include "storage/arrival.h"

#include "base/text.h"

int arrival_check(const char *template_name, const struct generation_arrival *arrival,
                  const char *current, bool is_there, struct error *err)
{
    if (!*arrival->base)
        return !current ? 0
                        : fail(err, ERROR_EXISTS, EEXIST, "template \"%s\" exists by now",
                               template_name);
    if (!current)
        return fail(err, ERROR_NOT_FOUND, ENOENT, "template \"%s\" was removed meanwhile",
                    template_name);
    if (!streq(current, arrival->base))
        return fail(err, ERROR_BUSY, EBUSY,
                    "template \"%s\" was changed meanwhile: its current generation is %s; "
                    "receive the stream again",
                    template_name, current);
    return !is_there
               ? 0
               : fail(err, ERROR_EXISTS, EEXIST, "template \"%s\" has a generation %s by now",
                      template_name, arrival->id);
}
