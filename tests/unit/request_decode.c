/* SPDX-License-Identifier: Apache-2.0 */
#include "request_decode.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

int decode_json(const json_t *value, struct run_request *ret, struct error *err)
{
    int r = -1;
    for (size_t n = N_FDS + 1; n > 0 && r < 0; n--) {
        *ret = (struct run_request){0};
        *err = (struct error){0};
        r = run_request_decode(value, n - 1, ret, err);
        if (r < 0 && !strstr(err->text, "named by no member"))
            break;
    }
    return r;
}

int decode(const char *text, struct run_request *ret, struct error *err)
{
    json_error_t where;
    json_t *value = json_loads(text, JSON_ALLOW_NUL, &where);
    if (!value)
        fail_msg("the test is no JSON: %s: %s", text, where.text);
    int r = decode_json(value, ret, err);
    json_decref(value);
    return r;
}

int decode_with(const char *member, struct run_request *ret, struct error *err)
{
    char text[4096 + 256];
    (void)snprintf(text, sizeof(text), "{\"template\":\"debian\",\"control\":0%s%s}",
                   *member ? "," : "", member);
    return decode(text, ret, err);
}

void expect_refused(const char *member, const char *needle)
{
    _cleanup_run_request_ struct run_request request = {0};
    struct error err;
    if (decode_with(member, &request, &err) >= 0)
        fail_msg("accepted: %s", member);
    if (!strstr(err.text, needle))
        fail_msg("%s: \"%s\" does not tell of \"%s\"", member, err.text, needle);
}

void expect_accepted(const char *member)
{
    _cleanup_run_request_ struct run_request request = {0};
    struct error err;
    if (decode_with(member, &request, &err) < 0)
        fail_msg("refused: %s: %s", member, err.text);
}
