/* SPDX-License-Identifier: Apache-2.0 */
/* --help, from the table. Runs as the caller; prints to stdout, because it was asked for. */
#include "client/options.h"
#include "client/original.h"

#include <stdio.h>
#include <string.h>

/* Printed width of UTF-8 text. */
static int width(const char *text)
{
    int n = 0;
    for (; *text; text++)
        n += ((unsigned char)*text & 0xC0) != 0x80;
    return n;
}

void options_help(const struct verb *verb)
{
    (void)printf("usage: isolate %s %s\n\n%s\n", verb->name, verb->synopsis, verb->help);
    (void)printf("\noptions:\n");
    for (const struct option *option = verb->options; option->id; option++) {
        char left[64];
        char letter[8] = "    ";
        if (option->letter)
            (void)snprintf(letter, sizeof(letter), "-%c, ", option->letter);
        (void)snprintf(left, sizeof(left), "%s--%s%s%s", letter, option->name,
                       option->argument ? " " : "", option->argument ? option->argument : "");
        (void)printf("  %s%*s %s\n", left, width(left) < 33 ? 33 - width(left) : 0, "",
                     option->help);
    }
}

void options_help_all(void)
{
    (void)printf("isolate: run commands in fresh, disposable clones of a Linux system root\n\n"
                 "usage: isolate VERB [OPTIONS] …        (isolate help VERB tells more)\n\n");
    for (const struct verb *verb = verbs; verb->name; verb++)
        (void)printf("  %-18s %s\n", verb->name, verb->help);
    (void)printf(
        "\nExample:\n"
        "  isolate template create debian --from debian\n"
        "  isolate run -t debian bash\n"
        "  isolate run --here debian make\n\n"
        "Exit status of run: the command's own; 128+N if signal N ended it; 124 timeout;\n"
        "125 isolate failed and nothing ran; 126 cannot be executed; 127 not found;\n"
        "123 outcome unknown.\n\n"
        "The original's command line:\n"
        "  " ORIGINAL_REFRESH "\n      make a dataset of ZFS a template with NUM clones ready\n"
        "  " ORIGINAL_RUN "\n      run a command on a directory itself, or in a clone of a "
        "dataset, by engine bwrap unless\n"
        "      -e says otherwise; options: [-d HOST:TARGET]… [-v NAME:VALUE]… [-p PWD] [-u "
        "UIDBASE]\n"
        "      [-g GIDBASE] [-n] host's network [-1] X11 [-2] sound [-i] no SIGINT [-x] trace "
        "[-q] quiet\n");
}
