/* SPDX-License-Identifier: Apache-2.0 */
/* client/profile.c, profile_rules.c: a profile of system calls in a file of anybody's. */
#include "target.h"

#include "client/json_file.h"
#include "client/profile.h"
#include "sys/caps.h"

#include <linux/filter.h>
#include <string.h>

const bool target_needs_walls = false;

/* What the kernel asks of a program before it takes it: every way ends in a RET. */
static void check(const struct buffer *program)
{
    const size_t n = program->length / sizeof(struct sock_filter);
    MUST(n > 0 && program->length % sizeof(struct sock_filter) == 0);
    for (size_t i = 0; i < n; i++) {
        struct sock_filter at;
        memcpy(&at, program->data + i * sizeof(at), sizeof(at));
        bool ends = BPF_CLASS(at.code) == BPF_RET;
        size_t left = n - i - 1;
        MUST(ends || left > 0);
        if (BPF_CLASS(at.code) == BPF_JMP && BPF_OP(at.code) == BPF_JA)
            MUST(at.k < left);
        else if (BPF_CLASS(at.code) == BPF_JMP)
            MUST(at.jt < left && at.jf < left);
    }
}

void target_run(const uint8_t *data, size_t size)
{
    char path[320];
    struct error err = {0};
    json_t *profile = NULL;
    _cleanup_buffer_ struct buffer program = {0};
    if (size == 0)
        return;
    const struct profile_machine machine = {
        .capabilities = data[0] & 1 ? caps_default() : 0,
        .abi_32bit = data[0] & 2,
    };
    (void)snprintf(path, sizeof(path), "%s/profile.json", target_directory());
    target_write("profile.json", data + 1, size - 1);
    if (json_file_read("--seccomp", path, 1U << 20, &profile, &err) < 0) {
        MUST(strstr(err.text, "--seccomp"));
        return;
    }
    int r = profile_compile(profile, &machine, &program, &err);
    json_decref(profile);
    MUST(r == 0 || (err.code != ERROR_NONE && *err.text));
    if (r == 0)
        check(&program);
}
