/* SPDX-License-Identifier: Apache-2.0 */
/* client/original_parse.c: the original's command line. */
#include "target.h"

#include "client/original.h"

#include <string.h>

const bool target_needs_walls = false;

void target_run(const uint8_t *data, size_t size)
{
    static char name[] = "isolate";
    struct input input = {data, size};
    struct error err = {0};
    struct original original;
    char *argv[302] = {name};
    size_t n = 0;
    _cleanup_texts_ char **texts = input_texts(&input, 300, &n);
    memcpy(argv + 1, texts, sizeof(*texts) * (n + 1));
    if (original_parse((int)n + 1, argv, &original, &err) < 0) {
        MUST(err.code == ERROR_INVALID && *err.text);
        return;
    }
    MUST(!original.directory != !original.dataset);
    MUST(original.n_command > 0 && original.command[original.n_command - 1]);
    MUST(!original.command[original.n_command]);
    for (int i = 0; i < original.n_binds; i++)
        MUST(strchr(original.binds[i], ':'));
    for (int i = 0; i < original.n_env; i++)
        MUST(strchr(original.env[i], ':'));
}
