/* SPDX-License-Identifier: Apache-2.0 */
/* --seccomp FILE: a profile becomes part of the request. Runs as the caller. */
#include "client/json_file.h"
#include "client/profile.h"
#include "client/saved.h"

#include "base/text.h"
#include "spec/base64.h"
#include "spec/names.h"
#include "spec/seccomp.h"
#include "sys/caps.h"

#include <limits.h>
#include <string.h>

#define PROFILE_MAX (1U << 20) /* bytes */

static uint64_t named(const struct buffer *list)
{
    uint64_t mask = 0;
    size_t index = 0;
    const json_t *item = NULL;
    _cleanup_buffer_ struct buffer text = {0};
    buffer_append_char(&text, '[');
    buffer_append(&text, list->data, list->length);
    buffer_append_char(&text, ']');
    json_t *words = text.failed ? NULL : json_loadb(text.data, text.length, 0, NULL);
    json_array_foreach(words, index, item)
    {
        mask |= caps_from_name(json_string_value(item));
    }
    json_decref(words);
    return mask;
}

int run_draft_profile(struct run_draft *draft, const char *path, struct error *err)
{
    char resolved[PATH_MAX];
    json_t *profile = NULL;
    _cleanup_buffer_ struct buffer program = {0};
    const char *personality = run_draft_value(draft, "personality");
    const struct profile_machine machine = {
        .capabilities = (caps_default() & ~named(&draft->cap_drop)) | named(&draft->cap_add),
        .abi_32bit = personality && streq(personality, "\"" SECCOMP_32BIT "\""),
    };
    int r = json_file_read("--seccomp", path, PROFILE_MAX, &profile, err);
    if (r == -ENOENT)
        return error_suffix(err, r, " (there are default, strict, nested, and files)");
    if (r < 0)
        return r;
    r = profile_compile(profile, &machine, &program, err);
    json_decref(profile);
    if (r < 0)
        return error_prefix(err, r, "--seccomp %.200s: ", path);
    if (program.length > (size_t)SECCOMP_INSTRUCTIONS_MAX * SECCOMP_INSTRUCTION)
        return fail(err, ERROR_INVALID, E2BIG,
                    "--seccomp %.200s: compiled, it has %zu instructions; the kernel takes %u",
                    path, program.length / SECCOMP_INSTRUCTION, SECCOMP_INSTRUCTIONS_MAX);
    if (streq(path, "-") || !realpath(path, resolved))
        (void)snprintf(resolved, sizeof(resolved), "%s", path);
    r = draft_need_utf8("--seccomp", resolved, err);
    if (r < 0)
        return r;
    struct buffer *out = run_draft_member(draft, "seccomp");
    buffer_append_text(out, "{\"source\":");
    buffer_append_json_string(out, resolved);
    buffer_append_text(out, ",\"program\":\"");
    base64_encode(out, program.data, program.length);
    buffer_append_text(out, "\"}");
    return 0;
}
