/* SPDX-License-Identifier: Apache-2.0 */
/* See seccomp.h. The text is the caller's. */
#include "spec/seccomp.h"

#include "base/text.h"
#include "sys/filter.h"

static const char *const names[_SECCOMP_KINDS] = {
    [SECCOMP_DEFAULT] = "default",
    [SECCOMP_STRICT] = "strict",
};

const char *seccomp_name(enum seccomp_kind kind)
{
    return kind < _SECCOMP_KINDS ? names[kind] : NULL;
}

int seccomp_parse(const char *text, enum seccomp_kind *ret, struct error *err)
{
    for (unsigned i = 0; i < _SECCOMP_KINDS; i++)
        if (streq(text, names[i])) {
            *ret = (enum seccomp_kind)i;
            return 0;
        }
    return fail(err, ERROR_INVALID, EINVAL,
                "system call filter \"%.60s\": there are default and strict", text);
}

int seccomp_parse_personality(const char *text, bool *ret_32bit, struct error *err)
{
    *ret_32bit = streq(text, SECCOMP_32BIT);
    if (*ret_32bit && !FILTER_HAS_32BIT)
        return fail(err, ERROR_UNSUPPORTED, EOPNOTSUPP,
                    "personality " SECCOMP_32BIT
                    ": isolate has no filter for 32-bit programs on this architecture");
    return *ret_32bit || streq(text, "native")
               ? 0
               : fail(err, ERROR_INVALID, EINVAL,
                      "personality \"%.60s\": there are native and " SECCOMP_32BIT, text);
}
