/* SPDX-License-Identifier: Apache-2.0 */
/* isolate-filter, run while isolate is built: compiles the system call filters and prints them
 * as C, because libseccomp takes 2 ms for that, more than all the rest of a start in isolated.
 * Takes no outside input. */
#include "base/log.h"
#include "sys/filter.h"

#include <stdio.h>

static int print_filter(uint32_t flags)
{
    struct error err = {0};
    _cleanup_buffer_ struct buffer programs = {0};
    if (filter_compile(flags, &programs, &err) < 0) {
        log_error("%s", err.text);
        return 1;
    }
    (void)printf("static const unsigned char filter_%u[] = {", flags);
    for (size_t i = 0; i < programs.length; i++)
        (void)printf("%s0x%02x,", i % 16 ? "" : "\n    ", (unsigned char)programs.data[i]);
    (void)printf("\n};\n");
    return 0;
}

int main(void)
{
    (void)printf("/* made by isolate-filter from src/sys/filter_table.c */\n");
    int r = 0;
    for (uint32_t flags = 0; flags <= FILTER_FLAGS_MAX && r == 0; flags++)
        r = filter_has_set(flags) ? print_filter(flags) : 0;
    (void)printf("static const struct {\n    const unsigned char *programs;\n"
                 "    size_t length;\n} filter_sets[] = {\n");
    for (uint32_t flags = 0; flags <= FILTER_FLAGS_MAX; flags++)
        if (filter_has_set(flags))
            (void)printf("    [%u] = {filter_%u, sizeof(filter_%u)},\n", flags, flags, flags);
    (void)printf("};\n");
    return r == 0 && fflush(stdout) == 0 ? 0 : 1;
}
