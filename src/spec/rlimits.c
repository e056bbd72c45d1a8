/* SPDX-License-Identifier: Apache-2.0 */
/* See rlimits.h. Runs in the client, in isolated and in init. Source: setrlimit(2). */
#include "spec/rlimits.h"

#include "base/parse.h"
#include "base/text.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

enum unit { UNIT_NUMBER, UNIT_BYTES, UNIT_SECONDS, UNIT_MICROSECONDS };

static const struct {
    const char *name;
    uint32_t resource;
    enum unit unit;
} resources[RLIMITS_MAX] = {
    {"as", RLIMIT_AS, UNIT_BYTES},
    {"core", RLIMIT_CORE, UNIT_BYTES},
    {"cpu", RLIMIT_CPU, UNIT_SECONDS},
    {"data", RLIMIT_DATA, UNIT_BYTES},
    {"fsize", RLIMIT_FSIZE, UNIT_BYTES},
    {"locks", RLIMIT_LOCKS, UNIT_NUMBER},
    {"memlock", RLIMIT_MEMLOCK, UNIT_BYTES},
    {"msgqueue", RLIMIT_MSGQUEUE, UNIT_BYTES},
    {"nice", RLIMIT_NICE, UNIT_NUMBER},
    {"nofile", RLIMIT_NOFILE, UNIT_NUMBER},
    {"nproc", RLIMIT_NPROC, UNIT_NUMBER},
    {"rss", RLIMIT_RSS, UNIT_BYTES},
    {"rtprio", RLIMIT_RTPRIO, UNIT_NUMBER},
    {"rttime", RLIMIT_RTTIME, UNIT_MICROSECONDS},
    {"sigpending", RLIMIT_SIGPENDING, UNIT_NUMBER},
    {"stack", RLIMIT_STACK, UNIT_BYTES},
};

const char *rlimit_name(uint32_t resource)
{
    for (size_t i = 0; i < ELEMENTS(resources); i++)
        if (resources[i].resource == resource)
            return resources[i].name;
    return "?";
}

static bool take_value(const char *text, enum unit unit, uint64_t *ret)
{
    uint64_t ms = 0;
    if (streq(text, "unlimited") || streq(text, "-1")) {
        *ret = RLIMITS_UNLIMITED;
        return true;
    }
    if (parse_u64(text, 0, INT64_MAX, ret, "", NULL) == 0)
        return true;
    if (unit == UNIT_NUMBER)
        return false;
    if (unit == UNIT_BYTES)
        return parse_size_bytes(text, ret, "", NULL) == 0;
    if (parse_duration_ms(text, &ms, "", NULL) < 0 || (unit == UNIT_SECONDS && ms % 1000 != 0))
        return false;
    *ret = unit == UNIT_SECONDS ? ms / 1000 : ms * 1000;
    return true;
}

static int unknown_name(const char *name, const char *what, struct error *err)
{
    const char *known[ELEMENTS(resources)];
    for (size_t i = 0; i < ELEMENTS(resources); i++)
        known[i] = resources[i].name;
    const char *nearest = text_nearest(name, known, ELEMENTS(known));
    return fail(err, ERROR_INVALID, EINVAL, "%s: \"%.40s\" is no resource; %s%s%s", what, name,
                nearest ? "did you mean \"" : "see setrlimit(2), for example nofile",
                nearest ? nearest : "", nearest ? "\"?" : "");
}

int rlimit_parse(const char *text, struct rlimit_wish *ret, const char *what, struct error *err)
{
    char copy[RLIMIT_TEXT_MAX];
    size_t i = 0;
    (void)snprintf(copy, sizeof(copy), "%s", text);
    char *soft = strchr(copy, '=');
    if (strlen(text) >= sizeof(copy) || !soft)
        return fail(err, ERROR_INVALID, EINVAL,
                    "%s: not NAME=SOFT[:HARD]: \"%.64s\"; write for example nofile=1024:4096",
                    what, text);
    *soft++ = '\0';
    char *hard = strchr(soft, ':');
    if (hard)
        *hard++ = '\0';
    while (i < ELEMENTS(resources) && !streq(resources[i].name, copy))
        i++;
    if (i == ELEMENTS(resources))
        return unknown_name(copy, what, err);
    struct rlimit_wish wish = {.resource = resources[i].resource};
    const char *bad = !take_value(soft, resources[i].unit, &wish.soft) ? soft : NULL;
    if (!bad && !take_value(hard ? hard : soft, resources[i].unit, &wish.hard))
        bad = hard;
    if (bad)
        return fail(err, ERROR_INVALID, EINVAL,
                    "%s: \"%.64s\" is no value of %s%s; or write unlimited", what, bad, copy,
                    resources[i].unit == UNIT_NUMBER  ? ", which is a number"
                    : resources[i].unit == UNIT_BYTES ? ", which is a size, for example 64M"
                                                      : ", which is a time, for example 90s");
    if (wish.soft > wish.hard)
        return fail(err, ERROR_INVALID, EINVAL,
                    "%s: %s: the soft limit is above the hard one: \"%.64s\"", what, copy,
                    text);
    *ret = wish;
    return 0;
}

int rlimits_parse(const char *text, struct rlimit_wishes *ret, const char *what,
                  struct error *err)
{
    struct rlimit_wishes wishes = {0};
    for (const char *word = text + strspn(text, " \t"); *word; word += strspn(word, " \t")) {
        char copy[RLIMIT_TEXT_MAX + 1];
        struct rlimit_wish wish = {0};
        size_t n = strcspn(word, " \t");
        (void)snprintf(copy, sizeof(copy), "%.*s", (int)n, word);
        int r = rlimit_parse(copy, &wish, what, err);
        if (r < 0)
            return r;
        rlimits_set(&wishes, &wish);
        word += n;
    }
    *ret = wishes;
    return 0;
}

static const char *print_value(uint64_t value, char *out, size_t size)
{
    if (value == RLIMITS_UNLIMITED)
        return "unlimited";
    (void)snprintf(out, size, "%" PRIu64, value);
    return out;
}

void rlimit_print(const struct rlimit_wish *wish, char ret[static RLIMIT_TEXT_MAX])
{
    char soft[24];
    char hard[24];
    (void)snprintf(ret, RLIMIT_TEXT_MAX, "%s=%s:%s", rlimit_name(wish->resource),
                   print_value(wish->soft, soft, sizeof(soft)),
                   print_value(wish->hard, hard, sizeof(hard)));
}

const struct rlimit_wish *rlimits_find(const struct rlimit_wishes *wishes, uint32_t resource)
{
    for (uint32_t i = 0; i < wishes->n; i++)
        if (wishes->items[i].resource == resource)
            return &wishes->items[i];
    return NULL;
}

void rlimits_set(struct rlimit_wishes *wishes, const struct rlimit_wish *wish)
{
    uint32_t i = 0;
    while (i < wishes->n && wishes->items[i].resource != wish->resource)
        i++;
    if (i == RLIMITS_MAX)
        return; /* there are not so many resources */
    wishes->items[i] = *wish;
    wishes->n += i == wishes->n;
}
