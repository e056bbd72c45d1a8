/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers from text, with unit and range. Pure; input may be hostile. */
#include "base/parse.h"

#include "base/text.h"

#include <inttypes.h>
#include <strings.h>

/* Reads digits from *at and moves it behind them. False without a digit or on overflow. */
static bool take_digits(const char **at, uint64_t *ret)
{
    uint64_t value = 0;
    const char *p = *at;
    for (; *p >= '0' && *p <= '9'; p++)
        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, (uint64_t)(*p - '0'), &value))
            return false;
    if (p == *at)
        return false;
    *at = p;
    *ret = value;
    return true;
}

int parse_u64(const char *text, uint64_t min, uint64_t max, uint64_t *ret, const char *what,
              struct error *err)
{
    uint64_t value = 0;
    const char *at = text;
    if (!take_digits(&at, &value) || *at || value < min || value > max)
        return fail(err, ERROR_INVALID, EINVAL,
                    "%s: not a number from %" PRIu64 " to %" PRIu64 ": \"%.64s\"", what, min,
                    max, text);
    *ret = value;
    return 0;
}

int parse_u32(const char *text, uint32_t min, uint32_t max, uint32_t *ret, const char *what,
              struct error *err)
{
    uint64_t value = 0;
    int r = parse_u64(text, min, max, &value, what, err);
    if (r == 0)
        *ret = (uint32_t)value;
    return r;
}

struct unit {
    const char *name;
    uint64_t factor;
};

static const struct unit *unit_find(const struct unit *units, size_t n, const char *name,
                                    size_t length)
{
    for (size_t i = 0; i < n; i++)
        if (strlen(units[i].name) == length && strncasecmp(units[i].name, name, length) == 0)
            return &units[i];
    return NULL;
}

int parse_size_bytes(const char *text, uint64_t *ret, const char *what, struct error *err)
{
    static const struct unit units[] = {
        {"", 1},
        {"b", 1},
        {"k", 1ULL << 10},
        {"kb", 1ULL << 10},
        {"kib", 1 << 10},
        {"m", 1ULL << 20},
        {"mb", 1ULL << 20},
        {"mib", 1ULL << 20},
        {"g", 1ULL << 30},
        {"gb", 1ULL << 30},
        {"gib", 1ULL << 30},
        {"t", 1ULL << 40},
        {"tb", 1ULL << 40},
        {"tib", 1ULL << 40},
    };
    uint64_t value = 0;
    const char *at = text;
    const struct unit *unit = NULL;
    if (take_digits(&at, &value))
        unit = unit_find(units, ELEMENTS(units), at, strlen(at));
    if (!unit || __builtin_mul_overflow(value, unit->factor, &value) || value > INT64_MAX)
        return fail(err, ERROR_INVALID, EINVAL,
                    "%s: not a size: \"%.64s\"; write for example 512M or 2G", what, text);
    *ret = value;
    return 0;
}

/* 4194304 as "4M". */
static const char *size_text(uint64_t bytes, char *out, size_t size)
{
    static const char units[] = "\0KMGT";
    size_t unit = 0;
    while (bytes > 0 && bytes % 1024 == 0 && unit + 2 < sizeof(units)) {
        bytes /= 1024;
        unit++;
    }
    (void)snprintf(out, size, "%" PRIu64 "%.1s", bytes, units + unit);
    return out;
}

int parse_size_range(const char *text, uint64_t min, uint64_t max, uint64_t *ret,
                     const char *what, struct error *err)
{
    char least[32];
    char most[32];
    uint64_t value = 0;
    if (parse_size_bytes(text, &value, what, NULL) < 0 || value < min || value > max)
        return fail(err, ERROR_INVALID, EINVAL,
                    "%s: not a size from %s to %s: \"%.64s\"; write for example 512M or 2G",
                    what, size_text(min, least, sizeof(least)),
                    size_text(max, most, sizeof(most)), text);
    *ret = value;
    return 0;
}

/* "500" becomes 500, "5" too: digits behind the point. */
static bool take_fraction(const char **at, uint64_t *ret)
{
    size_t n = strspn(*at, "0123456789");
    if (n == 0 || n > 3)
        return false;
    *ret = 0;
    for (size_t i = 0; i < 3; i++)
        *ret = *ret * 10 + (i < n ? (uint64_t)((*at)[i] - '0') : 0);
    *at += n;
    return true;
}

int parse_milli(const char *text, uint64_t min, uint64_t max, uint64_t *ret, const char *what,
                struct error *err)
{
    uint64_t value = 0;
    uint64_t fraction = 0;
    const char *at = text;
    bool good = take_digits(&at, &value);
    if (good && *at == '.') {
        at++;
        good = take_fraction(&at, &fraction);
    }
    if (!good || *at || __builtin_mul_overflow(value, 1000, &value) ||
        __builtin_add_overflow(value, fraction, &value) || value < min || value > max)
        return fail(err, ERROR_INVALID, EINVAL,
                    "%s: not a number from %g to %g with at most three decimals: \"%.64s\"",
                    what, (double)min / 1000, (double)max / 1000, text);
    *ret = value;
    return 0;
}

int parse_duration_ms(const char *text, uint64_t *ret, const char *what, struct error *err)
{
    static const struct unit units[] = {
        {"", 1000},     {"ms", 1},      {"s", 1000},     {"m", 60000},
        {"min", 60000}, {"h", 3600000}, {"d", 86400000},
    };
    const uint64_t max = 10ULL * 366 * 86400000;
    uint64_t total = 0;
    const char *at = text;
    do {
        uint64_t value = 0;
        const struct unit *unit = NULL;
        if (take_digits(&at, &value)) {
            size_t length = strspn(at, "abcdefghijklmnopqrstuvwxyz");
            unit = unit_find(units, ELEMENTS(units), at, length);
            at += length;
        }
        if (!unit || __builtin_mul_overflow(value, unit->factor, &value) ||
            __builtin_add_overflow(total, value, &total) || total > max)
            return fail(err, ERROR_INVALID, EINVAL,
                        "%s: not a duration: \"%.64s\"; write for example 90s, 5m or 1h30m",
                        what, text);
    } while (*at);
    if (total == 0)
        return fail(err, ERROR_INVALID, EINVAL, "%s: must be more than zero", what);
    *ret = total;
    return 0;
}
