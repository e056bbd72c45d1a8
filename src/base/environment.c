/* SPDX-License-Identifier: Apache-2.0 */
/* See environment.h. Runs in the client as the caller and in isolated as root; the strings are
 * whoever's who started it. */
#include "base/environment.h"

#include "base/cleanup.h"
#include "base/text.h"

#include <stdbool.h>

static bool is_kept(const char *setting)
{
    static const char *const kept[] = {
        "ISOLATE_", "TMPDIR=", "ASAN_OPTIONS=", "LSAN_OPTIONS=", "UBSAN_OPTIONS="};
    for (size_t i = 0; i < ELEMENTS(kept); i++)
        if (text_after(setting, kept[i]))
            return true;
    return false;
}

void environment_fixed(char *const *from, char *ret[static ENVIRONMENT_MAX])
{
    size_t n = 0;
    ret[n++] = (char *)"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    ret[n++] = (char *)"LC_ALL=C.UTF-8";
    ret[n++] = (char *)"HOME=/root";
    for (; *from && n < ENVIRONMENT_MAX - 1; from++)
        if (is_kept(*from))
            ret[n++] = *from;
    ret[n] = NULL;
}
