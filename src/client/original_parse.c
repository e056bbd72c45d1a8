/* SPDX-License-Identifier: Apache-2.0 */
/* The grammar of the original's command line, by getopt(3): options end at the command. Pure
 * but for getopt's own state. Runs as the caller. */
#include "client/original.h"

#include "base/text.h"

#include <string.h>

#define LETTERS "+:e:t:z:p:u:g:d:v:12nixq"
#define USAGE   "usage: " ORIGINAL_RUN "; see `isolate -h`"

/* The original's default. */
#define ENGINE "bwrap"

static int add(const char **list, int *n, const char *value, char letter, struct error *err)
{
    if (*n >= ORIGINAL_MANY)
        return fail(err, ERROR_INVALID, E2BIG, "-%c: more than %d of them", letter,
                    ORIGINAL_MANY);
    list[(*n)++] = value;
    return 0;
}

static int check_bind(const char *value, struct error *err)
{
    const char *colon = strchr(value, ':');
    if (colon && colon != value && colon[1] && !strchr(colon + 1, ':'))
        return 0;
    return fail(err, ERROR_INVALID, EINVAL, "-d \"%.200s\": write HOST:TARGET, with one colon",
                value);
}

/* NAME=VALUE with a colon in the value would set another variable than is meant. */
static int check_variable(const char *value, struct error *err)
{
    size_t n = strcspn(value, ":=");
    if (value[n] == '=')
        return fail(err, ERROR_INVALID, EINVAL, "-v \"%.200s\": write NAME:VALUE: %.*s:%.100s",
                    value, (int)(n < 60 ? n : 60), value, value + n + 1);
    return n > 0 && value[n] == ':'
               ? 0
               : fail(err, ERROR_INVALID, EINVAL, "-v \"%.200s\": write NAME:VALUE", value);
}

static int take(struct original *original, char letter, const char *value, struct error *err)
{
    const struct {
        char letter;
        const char **text;
        bool *flag;
    } places[] = {
        {'e', &original->engine, NULL},   {'t', &original->directory, NULL},
        {'z', &original->dataset, NULL},  {'p', &original->workdir, NULL},
        {'u', &original->uid_base, NULL}, {'g', &original->gid_base, NULL},
        {'1', NULL, &original->x11},      {'2', NULL, &original->audio},
        {'n', NULL, &original->network},  {'i', NULL, &original->ignore_interrupts},
        {'x', NULL, &original->trace},    {'q', NULL, &original->quiet},
    };
    for (size_t i = 0; i < ELEMENTS(places); i++) {
        if (places[i].letter != letter)
            continue;
        if (places[i].text)
            *places[i].text = value;
        else
            *places[i].flag = true;
        return 0;
    }
    int r = letter == 'd' ? check_bind(value, err) : check_variable(value, err);
    if (r < 0)
        return r;
    return letter == 'd' ? add(original->binds, &original->n_binds, value, letter, err)
                         : add(original->env, &original->n_env, value, letter, err);
}

static int check(const struct original *original, struct error *err)
{
    if (original->directory && original->dataset)
        return fail(err, ERROR_INVALID, EINVAL, "-t and -z exclude each other; " USAGE);
    if (!original->directory && !original->dataset)
        return fail(err, ERROR_INVALID, EINVAL, "-t DIR or -z DATASET is missing; " USAGE);
    const char *slash = original->dataset ? strrchr(original->dataset, '/') : NULL;
    if (original->dataset && (!slash || slash == original->dataset || !slash[1]))
        return fail(err, ERROR_INVALID, EINVAL,
                    "dataset \"%.160s\": a template is a dataset inside of another one, as "
                    "rpool/isolate/debian",
                    original->dataset);
    if (original->directory && !*original->directory)
        return fail(err, ERROR_INVALID, EINVAL, "-t: the directory's name is empty");
    if (original->n_command == 0)
        return fail(err, ERROR_INVALID, EINVAL, "COMMAND is missing; " USAGE);
    return 0;
}

int original_parse(int argc, char **argv, struct original *ret, struct error *err)
{
    int r = 0;
    *ret = (struct original){.engine = ENGINE};
    optind = 0; /* getopt begins anew */
    for (int letter = getopt(argc, argv, LETTERS); letter != -1 && r == 0;
         letter = getopt(argc, argv, LETTERS)) {
        if (letter == ':')
            return fail(err, ERROR_INVALID, EINVAL, "-%c needs a value; " USAGE, optopt);
        if (letter == '?')
            return fail(err, ERROR_INVALID, EINVAL, "unknown option -%c; " USAGE, optopt);
        r = take(ret, (char)letter, optarg, err);
    }
    if (r < 0)
        return r;
    ret->command = argv + optind;
    ret->n_command = argc - optind;
    return check(ret, err);
}
