/* SPDX-License-Identifier: Apache-2.0 */
#include "sys/filter_export.h"

#include "sys/fd.h"
#include "sys/filter_walk.h"

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/mman.h>

#define PROGRAM_MAX (1U << 20)

int filter_export(scmp_filter_ctx filter, struct buffer *ret)
{
    _cleanup_close_ int fd = memfd_create("filter", MFD_CLOEXEC);
    if (fd < 0)
        return -errno;
    int r = seccomp_export_bpf(filter, fd);
    if (r == 0 && lseek(fd, 0, SEEK_SET) < 0)
        r = -errno;
    return r < 0 ? r : fd_read_all(fd, PROGRAM_MAX, ret);
}

static int append_program(const struct buffer *program, struct buffer *ret)
{
    const struct filter_program header = {(uint32_t)(program->length / 8), FILTER_EARLY};
    buffer_append(ret, &header, sizeof(header));
    buffer_append(ret, program->data, program->length);
    return program->failed || ret->failed ? -ENOMEM : 0;
}

int filter_export_program(scmp_filter_ctx filter, struct buffer *ret)
{
    _cleanup_buffer_ struct buffer program = {0};
    int r = filter_export(filter, &program);
    return r < 0 ? r : append_program(&program, ret);
}

int filter_refuse_i386(const uint32_t *numbers, size_t n, struct buffer *ret)
{
    static const struct sock_filter start[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_I386, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
    };
    static const struct sock_filter end = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    _cleanup_buffer_ struct buffer program = {0};
    buffer_append(&program, start, sizeof(start));
    for (size_t i = 0; i < n; i++) {
        const struct sock_filter rule[] = {
            BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, numbers[i], 0, 1),
            BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
        };
        buffer_append(&program, rule, sizeof(rule));
    }
    buffer_append(&program, &end, sizeof(end));
    return append_program(&program, ret);
}
