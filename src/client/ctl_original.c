/* SPDX-License-Identifier: Apache-2.0 */
/* `isolate -r DATASET [-f] [-s] [NUM]`, as the original has it: the dataset becomes a template,
 * and fresh clones of it are made to stock. Runs as the caller; isolated lets only root. */
#include "base/log.h"
#include "base/parse.h"
#include "base/text.h"
#include "client/ctl.h"
#include "client/original.h"

#include <string.h>

#define NUM_MAX 1000

struct refresh {
    bool asked; /* -r: the first word behind it that is no option is DATASET */
    const char *dataset;
    bool used;  /* -f: all fresh clones count as used */
    bool clean; /* -s: only that */
    bool has_wanted;
    uint32_t wanted;
};

static bool take_flag(const char *word, struct refresh *ret)
{
    const struct {
        const char *name;
        bool *flag;
    } flags[] = {{"-r", &ret->asked}, {"-f", &ret->used}, {"-s", &ret->clean}};
    for (size_t i = 0; i < ELEMENTS(flags); i++)
        if (streq(word, flags[i].name))
            return *flags[i].flag = true;
    return false;
}

static int take_word(const char *word, struct refresh *ret, struct error *err)
{
    if (word[0] != '-' && ret->asked && !ret->dataset) {
        ret->dataset = word;
        return 0;
    }
    if (word[0] != '-' && !ret->has_wanted) {
        ret->has_wanted = true;
        return parse_u32(word, 0, NUM_MAX, &ret->wanted, "isolate -r: NUM", err);
    }
    return fail(err, ERROR_INVALID, EINVAL,
                "isolate -r: \"%.60s\" is not understood; usage: " ORIGINAL_REFRESH
                ", NUM from 0 to %d",
                word, NUM_MAX);
}

static int refresh_parse(int argc, char **argv, struct refresh *ret, struct error *err)
{
    int r = 0;
    for (int i = 0; r == 0 && i < argc; i++)
        if (!take_flag(argv[i], ret))
            r = take_word(argv[i], ret, err);
    if (r < 0)
        return r;
    if (!ret->dataset)
        return fail(err, ERROR_INVALID, EINVAL,
                    "isolate -r: DATASET is missing; usage: " ORIGINAL_REFRESH);
    if (!ret->has_wanted && !ret->clean)
        return fail(err, ERROR_INVALID, EINVAL,
                    "isolate -r %.160s: NUM is missing, from 0 to %d: so many fresh clones are "
                    "made; or -s, to clean only",
                    ret->dataset, NUM_MAX);
    return 0;
}

/* Fills up and says what was done. */
static bool stock(struct ctl_verb *verb, const struct refresh *refresh, const char *name)
{
    char text[256];
    json_t *parameters = json_pack("{s:s, s:I, s:b}", "template", name, "wanted",
                                   (json_int_t)refresh->wanted, "used", (int)refresh->used);
    if (!ctl_verb_ask(verb, "PoolStock", parameters))
        return false;
    (void)snprintf(text, sizeof(text), "%s: %lld fresh (%lld made, %lld removed)",
                   refresh->dataset,
                   (long long)json_integer_value(ctl_verb_reply(verb, "fresh")),
                   (long long)json_integer_value(ctl_verb_reply(verb, "made")),
                   (long long)json_integer_value(ctl_verb_reply(verb, "removed")));
    original_say(text);
    return true;
}

int ctl_original(int argc, char **argv)
{
    char name[80];
    struct error err = {0};
    struct refresh refresh = {0};
    _cleanup_ctl_verb_ struct ctl_verb verb = {0};
    if (refresh_parse(argc, argv, &refresh, &err) < 0)
        return ctl_failed(&err);
    if (!ctl_verb_ask(&verb, "TemplateAdopt", json_pack("{s:s}", "dataset", refresh.dataset)))
        return verb.status;
    (void)snprintf(name, sizeof(name), "%s", ctl_verb_text(&verb, "template"));
    if (json_is_true(ctl_verb_reply(&verb, "adopted")))
        original_say("the dataset is a template of isolate now");
    if (refresh.clean && refresh.has_wanted)
        original_warn("with -s no clones are made: NUM counts for nothing");
    if (!ctl_verb_ask(&verb, "Prune", json_object()))
        return verb.status;
    if (refresh.clean && !refresh.used)
        return 0;
    if (refresh.clean)
        refresh.wanted = 0;
    (void)!stock(&verb, &refresh, name);
    return verb.status;
}
