/* SPDX-License-Identifier: Apache-2.0 */
/* Who speaks for a sandbox must not reach the services that listen on the machine's loopback
 * and trust it: a frame of the sandbox can name any address, whatever routes there are in it (a
 * socket bound to its interface is enough), and pasta connects to what it names. So every
 * connect and every datagram of its cgroup goes through two small programs in the kernel: from
 * the machine's network namespace nothing goes to 127.0.0.0/8, 0.0.0.0/8, ::1, :: or what of
 * these is mapped into IPv6, but for the machine's own name server, port 53, and the answers of
 * published UDP ports. Within the sandbox's namespace pasta may. Runs as root. Source:
 * bpf(2), include/uapi/linux/bpf.h (struct bpf_sock_addr, bpf_get_netns_cookie: Linux 5.7). */
#include "network/network.h"

#include "base/text.h"

#include <arpa/inet.h>
#include <linux/bpf.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif

#define PROGRAM_MAX 1152 /* one for each published port, and the rest */

/* Jumps lead to labels; where these are is known at the end. */
enum label { LABEL_NONE, LABEL_LOCAL, LABEL_MAPPED, LABEL_OTHER, LABEL_ALLOW, _LABELS };

struct program {
    struct bpf_insn code[PROGRAM_MAX];
    enum label jumps[PROGRAM_MAX];
    size_t labels[_LABELS];
    size_t n;
};

static void add(struct program *program, struct bpf_insn instruction, enum label jump)
{
    if (program->n == PROGRAM_MAX)
        return; /* finish sees it */
    program->jumps[program->n] = jump;
    program->code[program->n++] = instruction;
}

static void place(struct program *program, enum label label)
{
    program->labels[label] = program->n;
}

/* to = *(u32 *)(from + offset) */
static void load(struct program *program, int to, int from, size_t offset)
{
    add(program,
        (struct bpf_insn){.code = BPF_LDX | BPF_MEM | BPF_W,
                          .dst_reg = (unsigned char)to & 15,
                          .src_reg = (unsigned char)from & 15,
                          .off = (short)offset},
        LABEL_NONE);
}

static void jump_if(struct program *program, int operation, int reg, uint32_t value,
                    enum label label)
{
    /* of 32 bits, so that the value is no negative number */
    add(program,
        (struct bpf_insn){.code = (unsigned char)(BPF_JMP32 | operation | BPF_K),
                          .dst_reg = (unsigned char)reg & 15,
                          .imm = (int)value},
        label);
}

static void compute(struct program *program, int code, int reg, int from, uint32_t value)
{
    add(program,
        (struct bpf_insn){.code = (unsigned char)code,
                          .dst_reg = (unsigned char)reg & 15,
                          .src_reg = (unsigned char)from & 15,
                          .imm = (int)value},
        LABEL_NONE);
}

static void move(struct program *program, int to, int from)
{
    compute(program, BPF_ALU64 | BPF_MOV | BPF_X, to, from, 0);
}

static void leave(struct program *program, uint32_t verdict)
{
    compute(program, BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_0, 0, verdict);
    compute(program, BPF_JMP | BPF_EXIT, 0, 0, 0);
}

/* Whether the first of the four octets in reg (network order) is 127 or 0: to LABEL_LOCAL. */
static void if_local(struct program *program, int reg)
{
    move(program, BPF_REG_8, reg);
    compute(program, BPF_ALU | BPF_AND | BPF_K, BPF_REG_8, 0, htonl(0xff000000));
    jump_if(program, BPF_JEQ, BPF_REG_8, htonl(0x7f000000), LABEL_LOCAL);
    jump_if(program, BPF_JEQ, BPF_REG_8, 0, LABEL_LOCAL);
}

#define ADDRESS6(i) (offsetof(struct bpf_sock_addr, user_ip6) + 4 * (i))

/* Falls through, or goes to LABEL_LOCAL. */
static void look_at_address(struct program *program, int family)
{
    if (family == AF_INET) {
        load(program, BPF_REG_7, BPF_REG_6, offsetof(struct bpf_sock_addr, user_ip4));
        if_local(program, BPF_REG_7);
        return;
    }
    for (size_t i = 0; i < 2; i++) {
        load(program, BPF_REG_7, BPF_REG_6, ADDRESS6(i));
        jump_if(program, BPF_JNE, BPF_REG_7, 0, LABEL_ALLOW);
    }
    load(program, BPF_REG_7, BPF_REG_6, ADDRESS6(2));
    jump_if(program, BPF_JEQ, BPF_REG_7, htonl(0xffff), LABEL_MAPPED);
    jump_if(program, BPF_JEQ, BPF_REG_7, 0, LABEL_LOCAL); /* ::1, ::, ::a.b.c.d */
    leave(program, 1);
    place(program, LABEL_MAPPED);
    load(program, BPF_REG_7, BPF_REG_6, ADDRESS6(3));
    if_local(program, BPF_REG_7);
}

/* The machine's name server, at the port of name servers. */
static void allow_resolver(struct program *program, const struct network_order *order,
                           int family)
{
    uint32_t words[4] = {0};
    size_t n = family == AF_INET ? 1 : 4;
    if (inet_pton(family, order->resolver, words) != 1)
        return;
    for (size_t i = 0; i < n; i++) {
        load(program, BPF_REG_7, BPF_REG_6,
             family == AF_INET ? offsetof(struct bpf_sock_addr, user_ip4) : ADDRESS6(i));
        jump_if(program, BPF_JNE, BPF_REG_7, words[i], LABEL_OTHER);
    }
    load(program, BPF_REG_7, BPF_REG_6, offsetof(struct bpf_sock_addr, user_port));
    jump_if(program, BPF_JEQ, BPF_REG_7, htons(53), LABEL_ALLOW);
    place(program, LABEL_OTHER);
}

/* What comes from a published UDP port answers somebody. */
static void allow_answers(struct program *program, const struct network_order *order)
{
    add(program,
        (struct bpf_insn){.code = BPF_LDX | BPF_MEM | BPF_DW,
                          .dst_reg = BPF_REG_7,
                          .src_reg = BPF_REG_6,
                          .off = offsetof(struct bpf_sock_addr, sk)},
        LABEL_NONE);
    load(program, BPF_REG_7, BPF_REG_7, offsetof(struct bpf_sock, src_port));
    for (uint32_t i = 0; i < order->n_sockets; i++)
        if (order->sockets[i].is_udp)
            jump_if(program, BPF_JEQ, BPF_REG_7, order->sockets[i].port, LABEL_ALLOW);
}

/* What goes to the machine's loopback, unless it is the sandbox's. */
static void refuse_of_machine(struct program *program, uint64_t cookie)
{
    move(program, BPF_REG_1, BPF_REG_6);
    compute(program, BPF_JMP | BPF_CALL, 0, 0, BPF_FUNC_get_netns_cookie);
    compute(program, BPF_LD | BPF_IMM | BPF_DW, BPF_REG_1, 0, (uint32_t)cookie);
    compute(program, 0, 0, 0, (uint32_t)(cookie >> 32));
    add(program,
        (struct bpf_insn){
            .code = BPF_JMP | BPF_JNE | BPF_X, .dst_reg = BPF_REG_0, .src_reg = BPF_REG_1},
        LABEL_ALLOW);
    leave(program, 0);
}

/* 0, or -E2BIG. */
static int finish(struct program *program)
{
    place(program, LABEL_ALLOW);
    leave(program, 1);
    if (program->n == PROGRAM_MAX)
        return -E2BIG;
    for (size_t i = 0; i < program->n; i++)
        if (program->jumps[i] != LABEL_NONE)
            program->code[i].off = (short)(program->labels[program->jumps[i]] - i - 1);
    return 0;
}

static const struct hook {
    enum bpf_attach_type type;
    int family;
    bool is_datagram;
} HOOKS[] = {
    {BPF_CGROUP_INET4_CONNECT, AF_INET, false},
    {BPF_CGROUP_INET6_CONNECT, AF_INET6, false},
    {BPF_CGROUP_UDP4_SENDMSG, AF_INET, true},
    {BPF_CGROUP_UDP6_SENDMSG, AF_INET6, true},
};

static int load_program(const struct network_order *order, const struct hook *hook,
                        uint64_t cookie)
{
    static struct program program;
    program = (struct program){0};
    move(&program, BPF_REG_6, BPF_REG_1);
    look_at_address(&program, hook->family);
    leave(&program, 1);
    place(&program, LABEL_LOCAL);
    allow_resolver(&program, order, hook->family);
    if (hook->is_datagram)
        allow_answers(&program, order);
    refuse_of_machine(&program, cookie);
    int r = finish(&program);
    if (r < 0)
        return r;
    union bpf_attr attributes = {
        .prog_type = BPF_PROG_TYPE_CGROUP_SOCK_ADDR,
        .expected_attach_type = hook->type,
        .insn_cnt = (uint32_t)program.n,
        .insns = (uint64_t)(uintptr_t)program.code,
        .license = (uint64_t)(uintptr_t) "Apache-2.0",
    };
    int fd = (int)syscall(SYS_bpf, BPF_PROG_LOAD, &attributes, sizeof(attributes));
    return fd < 0 ? -errno : fd;
}

static int attach(const struct network_order *order, const struct hook *hook, uint64_t cookie,
                  int cgroup_fd)
{
    _cleanup_close_ int program_fd = load_program(order, hook, cookie);
    if (program_fd < 0)
        return program_fd;
    /* it goes with the cgroup */
    union bpf_attr attributes = {
        .target_fd = (uint32_t)cgroup_fd,
        .attach_bpf_fd = (uint32_t)program_fd,
        .attach_type = hook->type,
    };
    return syscall(SYS_bpf, BPF_PROG_ATTACH, &attributes, sizeof(attributes)) < 0 ? -errno : 0;
}

/* What tells this process's network namespace from all others. */
static int network_cookie(uint64_t *ret)
{
    socklen_t length = sizeof(*ret);
    _cleanup_close_ int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    return fd < 0 || getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, ret, &length) < 0 ? -errno : 0;
}

int guard_attach(const struct network_order *order, int cgroup_fd, struct error *err)
{
    uint64_t cookie = 0;
    int r = network_cookie(&cookie);
    for (size_t i = 0; r == 0 && i < ELEMENTS(HOOKS); i++)
        r = attach(order, &HOOKS[i], cookie, cgroup_fd);
    return r < 0 ? fail(err, ERROR_UNSUPPORTED, r,
                        "network nat: the kernel does not keep it from the machine's loopback "
                        "(cgroup BPF programs, CONFIG_CGROUP_BPF): ")
                 : 0;
}
