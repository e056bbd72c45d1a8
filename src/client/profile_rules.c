/* SPDX-License-Identifier: Apache-2.0 */
/* The words of a profile: actions, errnos, and on what machine and for which capabilities a
 * rule counts. Runs as the caller; the file may be anybody's. */
#include "client/profile.h"

#include "base/text.h"
#include "sys/caps.h"

#include <errno.h>
#include <seccomp.h>
#include <string.h>
#include <sys/utsname.h>

#if defined(__x86_64__)
#define MACHINE "amd64"
#elif defined(__aarch64__)
#define MACHINE "arm64"
#else
#define MACHINE "?"
#endif

int profile_check_keys(const json_t *object, const char *const *keys, const char *what,
                       struct error *err)
{
    const char *name = NULL;
    const json_t *value = NULL;
    if (!json_is_object(object))
        return fail(err, ERROR_INVALID, EINVAL, "%s must be an object", what);
    json_object_foreach((json_t *)object, name, value)
    {
        size_t i = 0;
        while (keys[i] && !streq(keys[i], name))
            i++;
        if (!keys[i])
            return fail(err, ERROR_INVALID, EINVAL, "%s: unknown key \"%.60s\"", what, name);
    }
    return 0;
}

/* A number, or the name of one as Podman writes it. */
static int take_errno(const json_t *holder, const char *const keys[2], uint32_t *ret,
                      struct error *err)
{
    const json_t *number = json_object_get(holder, keys[0]);
    const char *name = json_string_value(json_object_get(holder, keys[1]));
    *ret = EPERM;
    if (json_is_integer(number)) {
        json_int_t value = json_integer_value(number);
        if (value < 0 || value > 4095)
            return fail(err, ERROR_INVALID, ERANGE, "%s must be from 0 to 4095", keys[0]);
        *ret = (uint32_t)value;
        return 0;
    }
    for (int i = 1; name && i < 200; i++) {
        const char *known = strerrorname_np(i);
        if (known && streq(known, name)) {
            *ret = (uint32_t)i;
            return 0;
        }
    }
    return (!number || json_is_null(number)) && (!name || !*name)
               ? 0
               : fail(err, ERROR_INVALID, EINVAL,
                      "%s must be the number of an error, or %s its "
                      "name",
                      keys[0], keys[1]);
}

int profile_action(const json_t *holder, const char *key, const char *const errno_keys[2],
                   uint32_t *ret, struct error *err)
{
    static const struct {
        const char *name;
        uint32_t action;
    } known[] = {
        {"SCMP_ACT_ALLOW", SCMP_ACT_ALLOW},
        {"SCMP_ACT_LOG", SCMP_ACT_LOG},
        {"SCMP_ACT_TRAP", SCMP_ACT_TRAP},
        {"SCMP_ACT_KILL", SCMP_ACT_KILL_THREAD},
        {"SCMP_ACT_KILL_THREAD", SCMP_ACT_KILL_THREAD},
        {"SCMP_ACT_KILL_PROCESS", SCMP_ACT_KILL_PROCESS},
        {"SCMP_ACT_ERRNO", SCMP_ACT_ERRNO(0)},
        {"SCMP_ACT_TRACE", SCMP_ACT_TRACE(0)},
    };
    uint32_t number = 0;
    const char *name = json_string_value(json_object_get(holder, key));
    if (!name)
        return fail(err, ERROR_INVALID, EINVAL, "\"%s\" is missing", key);
    if (streq(name, "SCMP_ACT_NOTIFY"))
        return fail(err, ERROR_UNSUPPORTED, EOPNOTSUPP,
                    "SCMP_ACT_NOTIFY: there is nobody to notify; use SCMP_ACT_ERRNO");
    int r = take_errno(holder, errno_keys, &number, err);
    for (size_t i = 0; r == 0 && i < ELEMENTS(known); i++) {
        if (!streq(name, known[i].name))
            continue;
        bool with_number =
            known[i].action == SCMP_ACT_ERRNO(0) || known[i].action == SCMP_ACT_TRACE(0);
        *ret = known[i].action | (with_number ? number : 0);
        return 0;
    }
    return r < 0 ? r : fail(err, ERROR_INVALID, EINVAL, "unknown action \"%.60s\"", name);
}

bool profile_lets_pass(uint32_t action)
{
    return action == SCMP_ACT_ALLOW || action == SCMP_ACT_LOG;
}

static bool has_string(const json_t *list, const char *text)
{
    size_t index = 0;
    const json_t *item = NULL;
    json_array_foreach((json_t *)list, index, item)
    {
        const char *value = json_string_value(item);
        if (value && streq(value, text))
            return true;
    }
    return false;
}

static bool has_capability(const json_t *list, uint64_t capabilities, bool all)
{
    size_t index = 0;
    const json_t *item = NULL;
    json_array_foreach((json_t *)list, index, item)
    {
        const char *name = json_string_value(item);
        uint64_t mask = name ? caps_from_name(name) : 0;
        bool has = mask && (capabilities & mask) == mask;
        if (has != all)
            return has;
    }
    return all;
}

/* "4.8": from that version on. */
static bool is_kernel(const char *minimum)
{
    struct utsname name;
    unsigned has[2] = {0};
    unsigned wanted[2] = {0};
    if (uname(&name) < 0 || sscanf(name.release, "%u.%u", &has[0], &has[1]) != 2 || // NOLINT
        sscanf(minimum, "%u.%u", &wanted[0], &wanted[1]) < 1)                       // NOLINT
        return false;
    return has[0] > wanted[0] || (has[0] == wanted[0] && has[1] >= wanted[1]);
}

int profile_applies(const json_t *entry, const struct profile_machine *machine, bool *ret,
                    struct error *err)
{
    static const char *const keys[] = {"caps", "arches", "minKernel", NULL};
    const json_t *includes = json_object_get(entry, "includes");
    const json_t *excludes = json_object_get(entry, "excludes");
    int r = json_is_object(includes) ? profile_check_keys(includes, keys, "includes", err) : 0;
    if (r == 0 && json_is_object(excludes))
        r = profile_check_keys(excludes, keys, "excludes", err);
    const json_t *arches = json_object_get(includes, "arches");
    const char *kernel = json_string_value(json_object_get(includes, "minKernel"));
    const char *not_from = json_string_value(json_object_get(excludes, "minKernel"));
    *ret = (json_array_size(arches) == 0 || has_string(arches, MACHINE)) &&
           has_capability(json_object_get(includes, "caps"), machine->capabilities, true) &&
           (!kernel || is_kernel(kernel)) &&
           !has_string(json_object_get(excludes, "arches"), MACHINE) &&
           !has_capability(json_object_get(excludes, "caps"), machine->capabilities, false) &&
           !(not_from && is_kernel(not_from));
    return r;
}
