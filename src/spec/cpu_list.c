/* SPDX-License-Identifier: Apache-2.0 */
/* See cpu_list.h. Runs in the client as the caller and in isolated as root. */
#include "spec/cpu_list.h"

#include "base/parse.h"

#include <stdio.h>
#include <string.h>

/* The number at *text, which moves behind it. */
static bool take_number(const char **text, uint32_t *ret)
{
    char digits[8];
    size_t n = strspn(*text, "0123456789");
    (void)snprintf(digits, sizeof(digits), "%.*s", (int)n, *text);
    *text += n;
    return n < sizeof(digits) && parse_u32(digits, 0, CPU_LIST_MAX - 1, ret, "", NULL) == 0;
}

static bool take_range(const char **text, struct cpu_list *list)
{
    uint32_t first = 0;
    if (!take_number(text, &first))
        return false;
    uint32_t last = first;
    if (**text == '-') {
        (*text)++;
        if (!take_number(text, &last) || last < first)
            return false;
    }
    for (uint32_t i = first; i <= last; i++)
        list->bits[i / 64] |= 1ULL << (i % 64);
    return true;
}

int cpu_list_parse(const char *text, struct cpu_list *ret, const char *what, struct error *err)
{
    struct cpu_list list = {0};
    const char *at = text;
    bool good = take_range(&at, &list);
    while (good && *at == ',') {
        at++;
        good = take_range(&at, &list);
    }
    if (!good || *at)
        return fail(err, ERROR_INVALID, EINVAL,
                    "%s: not a list of processors from 0 to %d: \"%.64s\"; write for example "
                    "0-3,5",
                    what, CPU_LIST_MAX - 1, text);
    *ret = list;
    return 0;
}

bool cpu_list_is_within(const struct cpu_list *list, const struct cpu_list *whole)
{
    for (size_t i = 0; i < ELEMENTS(list->bits); i++)
        if (list->bits[i] & ~whole->bits[i])
            return false;
    return true;
}
