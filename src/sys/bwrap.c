/* SPDX-License-Identifier: Apache-2.0 */
#include "sys/bwrap.h"

#include "base/text.h"

#include <unistd.h>

int bwrap_find(struct error *err)
{
    if (access(BWRAP_PROGRAM, X_OK) == 0)
        return 0;
    return fail(err, ERROR_UNSUPPORTED, errno,
                "engine bwrap: %s is not installed; apt install bubblewrap", BWRAP_PROGRAM);
}

void bwrap_add(struct bwrap_args *args, const char *first, const char *second,
               const char *third)
{
    const char *const words[] = {first, second, third};
    for (size_t i = 0; i < ELEMENTS(words); i++)
        if (words[i] && args->n + 1 < args->max)
            args->items[args->n++] = words[i];
    args->items[args->n] = NULL;
}

void bwrap_add_filters(struct bwrap_args *args, unsigned n)
{
    static const char *const numbers[] = {"12", "13", "14", "15"};
    _Static_assert(BWRAP_FILTER_FD == 12, "the numbers above");
    for (unsigned i = 0; i < n && i < ELEMENTS(numbers); i++)
        bwrap_add(args, "--add-seccomp-fd", numbers[i], NULL);
}
