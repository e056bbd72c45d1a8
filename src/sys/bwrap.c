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

void bwrap_add_filters(struct args *args, unsigned first, unsigned n)
{
    static const char *const numbers[] = {"0", "1", "2",  "3",  "4",  "5",  "6",  "7",
                                          "8", "9", "10", "11", "12", "13", "14", "15"};
    for (unsigned i = first; i < first + n && i < ELEMENTS(numbers); i++)
        args_add(args, "--add-seccomp-fd", numbers[i], NULL);
}
