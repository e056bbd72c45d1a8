/* SPDX-License-Identifier: Apache-2.0 */
/* The limits of a request. Runs in isolated; the JSON is the caller's. */
#include "base/text.h"
#include "spec/request.h"

#include <inttypes.h>
#include <string.h>

#define ULIMITS_MAX 64 /* of two of one resource the later counts */

static int decode_cpuset(const json_t *value, struct run_limits *limits, struct error *err)
{
    struct cpu_list list;
    const char *text = json_string_value(value);
    if (!text || json_string_length(value) >= sizeof(limits->cpuset) ||
        strlen(text) != json_string_length(value))
        return fail(err, ERROR_INVALID, EINVAL,
                    "request: \"cpuset\" must be a list of processors of less than %d bytes",
                    CPU_LIST_TEXT);
    (void)snprintf(limits->cpuset, sizeof(limits->cpuset), "%s", text);
    return cpu_list_parse(text, &list, "request: \"cpuset\"", err);
}

int run_limits_decode(const char *name, const json_t *value, struct run_limits *limits,
                      struct error *err)
{
    const struct {
        const char *name;
        uint64_t min, max;
        uint64_t *ret;
    } known[] = {
        {"memory_bytes", LIMIT_MEMORY_MIN, LIMIT_BYTES_MAX, &limits->memory_bytes},
        {"swap_bytes", 0, LIMIT_BYTES_MAX, &limits->swap_bytes},
        {"cpus_milli", LIMIT_CPUS_MIN, LIMIT_CPUS_MAX, &limits->cpus_milli},
        {"pids", LIMIT_PIDS_MIN, LIMIT_PIDS_MAX, &limits->pids},
        {"disk_bytes", LIMIT_DISK_MIN, LIMIT_BYTES_MAX, &limits->disk_bytes},
        {"io_weight", LIMIT_IO_WEIGHT_MIN, LIMIT_IO_WEIGHT_MAX, &limits->io_weight},
    };
    if (streq(name, "cpuset"))
        return decode_cpuset(value, limits, err);
    size_t i = 0;
    while (!streq(known[i].name, name))
        i++;
    json_int_t number = json_integer_value(value);
    if (!json_is_integer(value) || number < 0 || (uint64_t)number < known[i].min ||
        (uint64_t)number > known[i].max)
        return fail(err, ERROR_INVALID, EINVAL,
                    "request: \"%s\" must be a number from %" PRIu64 " to %" PRIu64, name,
                    known[i].min, known[i].max);
    *known[i].ret = (uint64_t)number;
    limits->has_swap = limits->has_swap || known[i].ret == &limits->swap_bytes;
    return 0;
}

int run_ulimits_decode(const json_t *value, struct rlimit_wishes *ulimits, struct error *err)
{
    size_t index = 0;
    const json_t *item = NULL;
    if (!json_is_array(value) || json_array_size(value) > ULIMITS_MAX)
        return fail(err, ERROR_INVALID, EINVAL,
                    "request: \"ulimits\" must be a list of at most %d NAME=SOFT[:HARD]",
                    ULIMITS_MAX);
    json_array_foreach((json_t *)value, index, item)
    {
        struct rlimit_wish wish;
        const char *text = json_string_value(item);
        bool whole = text && strlen(text) == json_string_length(item);
        int r = rlimit_parse(whole ? text : "", &wish, "--ulimit", err);
        if (r < 0)
            return r;
        rlimits_set(ulimits, &wish);
    }
    return 0;
}
