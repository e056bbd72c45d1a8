/* SPDX-License-Identifier: Apache-2.0 */
/* Who speaks for a sandbox must not reach the services that listen on the machine's loopback
 * and trust it: a frame of the sandbox can name any address, whatever routes there are in it (a
 * socket bound to its interface is enough), and pasta connects to what it names. So every
 * connect and every datagram of its cgroup goes through two small programs in the kernel: from
 * the machine's network namespace nothing goes to 127.0.0.0/8, 0.0.0.0/8, ::1, :: or what of
 * these is mapped into IPv6, but for the machine's own name server, port 53, and, where UDP
 * ports are published, answers: datagrams to whom one came from, which two more programs write
 * down. Within the sandbox's namespace pasta may. Another program keeps published UDP ports
 * from other users of the machine. Runs as root. Source: bpf(2), include/uapi/linux/bpf.h
 * (struct bpf_sock_addr, bpf_get_netns_cookie: Linux 5.7). */
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

#define PROGRAM_MAX 128
#define PEERS_MAX   1024 /* the latest of those that are answered */

/* Who sent a datagram, as an IPv6 address and a port; on the stack of a program. */
struct peer {
    uint32_t address[4];
    uint32_t port;
};
#define STACK_PEER  (-(int)sizeof(struct peer))
#define STACK_VALUE (STACK_PEER - 4)

/* Jumps lead to labels; where these are is known at the end. */
enum label {
    LABEL_NONE,
    LABEL_LOCAL,
    LABEL_MAPPED,
    LABEL_OTHER,
    LABEL_NO_ANSWER,
    LABEL_ALLOW,
    _LABELS
};

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

/* *(u32 *)(stack + offset) = register */
static void store(struct program *program, int offset, int from)
{
    add(program,
        (struct bpf_insn){.code = BPF_STX | BPF_MEM | BPF_W,
                          .dst_reg = BPF_REG_10,
                          .src_reg = (unsigned char)from & 15,
                          .off = (short)offset},
        LABEL_NONE);
}

/* register = stack + offset */
static void point(struct program *program, int reg, int offset)
{
    move(program, reg, BPF_REG_10);
    compute(program, BPF_ALU64 | BPF_ADD, reg, 0, (uint32_t)offset);
}

static void load_number(struct program *program, int reg, int kind, uint64_t number)
{
    compute(program, BPF_LD | BPF_DW, reg, kind, (uint32_t)number); /* BPF_IMM is 0 */
    compute(program, 0, 0, 0, (uint32_t)(number >> 32));
}

/* The peer that the program is called for, to the stack; the map and that as arguments. */
static void name_peer(struct program *program, int family, int peers_fd)
{
    for (size_t i = 0; i < 4; i++) {
        if (family == AF_INET6)
            load(program, BPF_REG_7, BPF_REG_6, ADDRESS6(i));
        else if (i == 3)
            load(program, BPF_REG_7, BPF_REG_6, offsetof(struct bpf_sock_addr, user_ip4));
        else
            compute(program, BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_7, 0,
                    i == 2 ? htonl(0xffff) : 0);
        store(program, STACK_PEER + 4 * (int)i, BPF_REG_7);
    }
    load(program, BPF_REG_7, BPF_REG_6, offsetof(struct bpf_sock_addr, user_port));
    store(program, STACK_PEER + (int)offsetof(struct peer, port), BPF_REG_7);
    load_number(program, BPF_REG_1, BPF_PSEUDO_MAP_FD, (uint32_t)peers_fd);
    point(program, BPF_REG_2, STACK_PEER);
}

/* A datagram to somebody whom one came from. */
static void allow_answers(struct program *program, int family, int peers_fd)
{
    load(program, BPF_REG_7, BPF_REG_6, offsetof(struct bpf_sock_addr, protocol));
    jump_if(program, BPF_JNE, BPF_REG_7, IPPROTO_UDP, LABEL_NO_ANSWER);
    name_peer(program, family, peers_fd);
    compute(program, BPF_JMP | BPF_CALL, 0, 0, BPF_FUNC_map_lookup_elem);
    add(program, (struct bpf_insn){.code = BPF_JMP | BPF_JNE | BPF_K, .dst_reg = BPF_REG_0},
        LABEL_ALLOW);
    place(program, LABEL_NO_ANSWER);
}

/* Writes down whom it came from. */
static void remember_peer(struct program *program, int family, int peers_fd)
{
    compute(program, BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_7, 0, 0);
    store(program, STACK_VALUE, BPF_REG_7);
    name_peer(program, family, peers_fd);
    point(program, BPF_REG_3, STACK_VALUE);
    compute(program, BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_4, 0, BPF_ANY);
    compute(program, BPF_JMP | BPF_CALL, 0, 0, BPF_FUNC_map_update_elem);
}

/* With SO_REUSEADDR, which pasta sets, any user of the machine who sets it, too, binds the same
 * UDP port, and gets its datagrams. */
static void keep_datagrams(struct program *program)
{
    load(program, BPF_REG_7, BPF_REG_6, offsetof(struct bpf_sockopt, level));
    jump_if(program, BPF_JNE, BPF_REG_7, SOL_SOCKET, LABEL_ALLOW);
    load(program, BPF_REG_7, BPF_REG_6, offsetof(struct bpf_sockopt, optname));
    jump_if(program, BPF_JNE, BPF_REG_7, SO_REUSEADDR, LABEL_ALLOW);
    add(program,
        (struct bpf_insn){.code = BPF_LDX | BPF_MEM | BPF_DW,
                          .dst_reg = BPF_REG_7,
                          .src_reg = BPF_REG_6,
                          .off = offsetof(struct bpf_sockopt, sk)},
        LABEL_NONE);
    load(program, BPF_REG_7, BPF_REG_7, offsetof(struct bpf_sock, protocol));
    jump_if(program, BPF_JNE, BPF_REG_7, IPPROTO_UDP, LABEL_ALLOW);
    leave(program, 0);
}

/* What goes to the machine's loopback, unless it is the sandbox's. */
static void refuse_of_machine(struct program *program, uint64_t cookie)
{
    move(program, BPF_REG_1, BPF_REG_6);
    compute(program, BPF_JMP | BPF_CALL, 0, 0, BPF_FUNC_get_netns_cookie);
    load_number(program, BPF_REG_1, 0, cookie);
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

enum hook_kind { HOOK_SENDS, HOOK_RECEIVES, HOOK_SETS };

static const struct hook {
    enum bpf_attach_type type;
    int family;
    enum hook_kind kind;
} HOOKS[] = {
    {BPF_CGROUP_INET4_CONNECT, AF_INET, HOOK_SENDS},
    {BPF_CGROUP_INET6_CONNECT, AF_INET6, HOOK_SENDS},
    {BPF_CGROUP_UDP4_SENDMSG, AF_INET, HOOK_SENDS},
    {BPF_CGROUP_UDP6_SENDMSG, AF_INET6, HOOK_SENDS},
    {BPF_CGROUP_UDP4_RECVMSG, AF_INET, HOOK_RECEIVES},
    {BPF_CGROUP_UDP6_RECVMSG, AF_INET6, HOOK_RECEIVES},
    {BPF_CGROUP_SETSOCKOPT, AF_UNSPEC, HOOK_SETS},
};

/* What the programs know. */
struct guard {
    const struct network_order *order;
    uint64_t cookie; /* of the machine's network namespace */
    int peers_fd;    /* -EBADF: nobody is answered */
};

static void write_program(const struct guard *guard, const struct hook *hook,
                          struct program *ret)
{
    move(ret, BPF_REG_6, BPF_REG_1);
    if (hook->kind == HOOK_RECEIVES) {
        remember_peer(ret, hook->family, guard->peers_fd);
        return;
    }
    if (hook->kind == HOOK_SETS) {
        keep_datagrams(ret);
        return;
    }
    look_at_address(ret, hook->family);
    leave(ret, 1);
    place(ret, LABEL_LOCAL);
    allow_resolver(ret, guard->order, hook->family);
    if (guard->peers_fd >= 0)
        allow_answers(ret, hook->family, guard->peers_fd);
    refuse_of_machine(ret, guard->cookie);
}

static int load_program(const struct guard *guard, const struct hook *hook)
{
    static struct program program;
    program = (struct program){0};
    write_program(guard, hook, &program);
    int r = finish(&program);
    if (r < 0)
        return r;
    union bpf_attr attributes = {
        .prog_type = hook->kind == HOOK_SETS ? BPF_PROG_TYPE_CGROUP_SOCKOPT
                                             : BPF_PROG_TYPE_CGROUP_SOCK_ADDR,
        .expected_attach_type = hook->type,
        .insn_cnt = (uint32_t)program.n,
        .insns = (uint64_t)(uintptr_t)program.code,
        .license = (uint64_t)(uintptr_t) "Apache-2.0",
    };
    int fd = (int)syscall(SYS_bpf, BPF_PROG_LOAD, &attributes, sizeof(attributes));
    return fd < 0 ? -errno : fd;
}

static bool is_wanted(const struct guard *guard, const struct hook *hook)
{
    bool refuses = !(guard->order->flags & NETWORK_HOST_LOOPBACK);
    bool has_datagrams = guard->peers_fd >= 0;
    return hook->kind == HOOK_SENDS      ? refuses
           : hook->kind == HOOK_RECEIVES ? refuses && has_datagrams
                                         : has_datagrams;
}

static int attach(const struct guard *guard, const struct hook *hook, int cgroup_fd)
{
    if (!is_wanted(guard, hook))
        return 0;
    _cleanup_close_ int program_fd = load_program(guard, hook);
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

/* -EBADF where no UDP port is published; else it goes with the programs. */
static int make_peers(const struct network_order *order)
{
    union bpf_attr attributes = {
        .map_type = BPF_MAP_TYPE_LRU_HASH,
        .key_size = sizeof(struct peer),
        .value_size = 4,
        .max_entries = PEERS_MAX,
    };
    uint32_t i = 0;
    while (i < order->n_sockets && !order->sockets[i].is_udp)
        i++;
    if (i == order->n_sockets)
        return -EBADF;
    int fd = (int)syscall(SYS_bpf, BPF_MAP_CREATE, &attributes, sizeof(attributes));
    return fd < 0 ? -errno : fd;
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
    _cleanup_close_ int peers = make_peers(order);
    struct guard guard = {.order = order, .peers_fd = peers};
    int r = peers < 0 && peers != -EBADF ? peers : network_cookie(&guard.cookie);
    for (size_t i = 0; r == 0 && i < ELEMENTS(HOOKS); i++)
        r = attach(&guard, &HOOKS[i], cgroup_fd);
    return r < 0 ? fail(err, ERROR_UNSUPPORTED, r,
                        "network nat: the kernel does not keep it from the machine's loopback "
                        "(cgroup BPF programs, CONFIG_CGROUP_BPF): ")
                 : 0;
}
