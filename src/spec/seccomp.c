/* SPDX-License-Identifier: Apache-2.0 */
/* See seccomp.h. Runs in isolated and, for specs, in the client. */
#include "spec/seccomp.h"

#include "base/buffer.h"
#include "base/text.h"
#include "spec/base64.h"
#include "spec/names.h"
#include "sys/filter.h"

#include <limits.h>
#include <string.h>

const char *seccomp_name(enum seccomp_kind kind)
{
    return kind == SECCOMP_PROFILE ? "profile" : name_filters[kind];
}

/* A profile is an object: it has no name of its own. */
static int take_kind(const json_t *value, struct run_seccomp *ret, struct error *err)
{
    const char *text = json_string_value(value);
    for (unsigned i = 0; text && name_filters[i]; i++) {
        ret->kind = (enum seccomp_kind)i;
        if (streq(text, name_filters[i]))
            return 0;
    }
    return fail(err, ERROR_INVALID, EINVAL,
                "system call filter \"%.60s\": there are default, strict, nested and files of "
                "a profile",
                text ? text : "");
}

static int take_program(const json_t *value, struct run_seccomp *ret, struct error *err)
{
    struct buffer program = {0};
    const char *text = json_string_value(value);
    int r = text && !ret->program
                ? base64_decode(text, SECCOMP_INSTRUCTIONS_MAX * SECCOMP_INSTRUCTION, &program)
                : -EINVAL;
    ret->program = program.data;
    ret->length = program.length;
    if (r < 0 || program.length == 0 || program.length % SECCOMP_INSTRUCTION != 0)
        return fail(err, ERROR_INVALID, r < 0 ? -r : EINVAL,
                    "request: \"seccomp.program\" must be the base64 of 1 to %u instructions",
                    SECCOMP_INSTRUCTIONS_MAX);
    return 0;
}

static int take_source(const json_t *value, struct run_seccomp *ret, struct error *err)
{
    const char *text = json_string_value(value);
    if (!text || strlen(text) >= PATH_MAX || ret->source)
        return fail(err, ERROR_INVALID, EINVAL, "request: \"seccomp.source\" must be a path");
    ret->source = strdup(text);
    return ret->source ? 0 : fail(err, ERROR_SYSTEM, ENOMEM, "request: ");
}

static int take_profile(const json_t *value, struct run_seccomp *ret, struct error *err)
{
    const char *name = NULL;
    const json_t *item = NULL;
    int r = 0;
    json_object_foreach((json_t *)value, name, item)
    {
        r = streq(name, "program")  ? take_program(item, ret, err)
            : streq(name, "source") ? take_source(item, ret, err)
                                    : -EINVAL;
        if (r < 0)
            break;
    }
    ret->kind = SECCOMP_PROFILE;
    if (r < 0 && err && err->code != ERROR_NONE)
        return r;
    return r == 0 && ret->program && ret->source
               ? 0
               : fail(err, ERROR_INVALID, EINVAL,
                      "request: \"seccomp\" must be a name or {source, program}");
}

static int take_personality(const json_t *value, struct run_seccomp *ret, struct error *err)
{
    const char *text = json_string_value(value);
    text = text ? text : "";
    ret->abi_32bit = streq(text, SECCOMP_32BIT);
    if (ret->abi_32bit && !FILTER_HAS_32BIT)
        return fail(err, ERROR_UNSUPPORTED, EOPNOTSUPP,
                    "personality " SECCOMP_32BIT
                    ": isolate has no filter for 32-bit programs on this architecture");
    return ret->abi_32bit || streq(text, "native")
               ? 0
               : fail(err, ERROR_INVALID, EINVAL,
                      "personality \"%.60s\": there are native and " SECCOMP_32BIT, text);
}

int run_seccomp_decode(const char *member, const json_t *value, struct run_seccomp *ret,
                       struct error *err)
{
    if (streq(member, "personality"))
        return take_personality(value, ret, err);
    return json_is_object(value) ? take_profile(value, ret, err) : take_kind(value, ret, err);
}

void run_seccomp_clear(struct run_seccomp *seccomp)
{
    freep(&seccomp->source);
    freep(&seccomp->program);
    seccomp->length = 0;
}
