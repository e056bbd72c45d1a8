/* SPDX-License-Identifier: Apache-2.0 */
/* isolate: the command. A small static program for what must be fast; everything else is done
 * by isolate-ctl, which it executes. Runs as the caller, is never setuid. */
#include "base/log.h"
#include "base/text.h"
#include "client/connect.h"
#include "client/options.h"
#include "client/original.h"
#include "client/run.h"
#include "paths.h"
#include "sys/fd.h"

#include <string.h>

static int unknown_verb(const char *word)
{
    const char *known[64];
    size_t n = 0;
    for (const struct verb *verb = verbs; verb->name && n < ELEMENTS(known); verb++)
        known[n++] = verb->name;
    for (const struct verb_group *group = verb_groups; group->name && n < ELEMENTS(known);
         group++)
        known[n++] = group->name;
    const char *nearest = text_nearest(word, known, n);
    if (nearest)
        log_error("unknown verb \"%s\"; did you mean \"%s\"?", word, nearest);
    else
        log_error("unknown verb \"%s\"; see `isolate help`", word);
    return 125;
}

static int execute_ctl(char **argv)
{
    char path[512];
    client_helper_path("isolate-ctl", path, sizeof(path));
    (void)execv(path, argv);
    log_error("%s: %s (is isolate installed completely?)", path, strerror(errno));
    return 125;
}

/* On a directory who is not root has rights of its own and needs no isolated. */
static int original(int argc, char **argv)
{
    struct error err = {0};
    struct original parsed;
    if (original_parse(argc, argv, &parsed, &err) < 0) {
        log_error("%s", err.text);
        return 125;
    }
    return parsed.directory && getuid() != 0 ? execute_ctl(argv) : original_run(&parsed);
}

int main(int argc, char **argv)
{
    const struct verb *verb = NULL;
    if (fd_open_missing_stdio() < 0)
        return 125;
    if (argc < 2 || streq(argv[1], "-h") || streq(argv[1], "--help")) {
        options_help_all();
        return argc < 2 ? 125 : 0;
    }
    if (streq(argv[1], "--version")) {
        (void)printf("isolate %s\n", ISOLATE_VERSION);
        return 0;
    }
    if (streq(argv[1], "-r") || streq(argv[1], "-f") || streq(argv[1], "-s"))
        return execute_ctl(argv);
    if (argv[1][0] == '-' && argv[1][1] != '-')
        return original(argc, argv);
    if (streq(argv[1], "run") || streq(argv[1], "shell") || streq(argv[1], "exec"))
        return run_is_for_ctl(argv[1], argc - 2, argv + 2)
                   ? execute_ctl(argv)
                   : run_main(argv[1], argc - 2, argv + 2);
    if (verb_group_named(argv[1]) || streq(argv[1], "__complete") ||
        verb_find(argc - 1, argv + 1, &verb) > 0)
        return execute_ctl(argv);
    return unknown_verb(argv[1]);
}
