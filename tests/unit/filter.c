/* SPDX-License-Identifier: Apache-2.0 */
/* The system call filter: the table has a decision for each call that is known here, and the
 * kernel, asked call by call with the programs loaded, decides as the table says. What would be
 * executed is stopped on its way by a tracer. No privilege. */
#include "sys/filter.h"

#include "base/text.h"
#include "sys/filter_export.h"

#include "filter_ask.h"
#include "machine_filter.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <netinet/in.h>
#include <seccomp.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/personality.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include <cmocka.h>

static const char *const of_headers[] = {
#include "tests/kernel_calls.h"
};

#define NUMBERS_MAX 1024

static const struct filter_call *in_table(const char *name)
{
    const struct filter_call *call = filter_calls;
    while (call->name && !streq(call->name, name))
        call++;
    return call->name ? call : NULL;
}

static void test_headers(void **state)
{
    unsigned missing = 0;
    for (size_t i = 0; i < ELEMENTS(of_headers); i++)
        if (!in_table(of_headers[i])) {
            print_error("undecided: %s\n", of_headers[i]);
            missing++;
        }
    assert_int_equal(missing, 0);
}

static void test_libseccomp(void **state)
{
    static const uint32_t architectures[] = {SCMP_ARCH_X86_64, SCMP_ARCH_AARCH64,
                                             SCMP_ARCH_X86};
    unsigned missing = 0;
    unsigned known = 0;
    for (size_t i = 0; i < ELEMENTS(architectures); i++)
        for (int number = 0; number < NUMBERS_MAX; number++) {
            char *name = seccomp_syscall_resolve_num_arch(architectures[i], number);
            known += name != NULL;
            bool several = name && (streq(name, "ipc") || streq(name, "socketcall"));
            if (name && !several && !in_table(name)) {
                print_error("undecided: %s\n", name);
                missing++;
            }
            free(name);
        }
    assert_int_equal(missing, 0);
    assert_true(known > 1000);
}

static void test_table(void **state)
{
    for (const struct filter_call *call = filter_calls; call->name; call++)
        assert_ptr_equal(in_table(call->name), call); /* once */
    for (const struct filter_value *value = filter_values; value->call; value++) {
        assert_non_null(in_table(value->call));
        assert_int_equal(value->value & ~value->mask, 0);
    }
}

#ifdef __x86_64__

#define HIGH 0x12300000000L /* bits that an int has not got */

/* A call by its number, as libseccomp or, where it is the same everywhere, the table knows it.
 */
static const struct filter_call *call_of_number(long number, bool i386)
{
    char *name =
        seccomp_syscall_resolve_num_arch(i386 ? SCMP_ARCH_X86 : SCMP_ARCH_X86_64, (int)number);
    const struct filter_call *found = name ? in_table(name) : NULL;
    free(name);
    for (const struct filter_call *call = filter_calls; !found && !i386 && call->name; call++)
        if (call->number == number)
            found = call;
    return found;
}

/* With arguments that no rule knows; those of the calls that are allowed by their arguments are
 * asked below. */
static long wanted_of(uint32_t flags, const struct question *question)
{
    const struct filter_call *call = call_of_number(question->number, question->i386);
    enum filter_answer wanted = call ? filter_answer(call, flags) : FILTER_ENOSYS;
    if (wanted == FILTER_ALLOW && (flags & FILTER_NO_SET_ID) && streq(call->name, "openat2"))
        return -ENOSYS;
    if (wanted == FILTER_ALLOW &&
        (streq(call->name, "socket") || streq(call->name, "socketpair")))
        return -EAFNOSUPPORT;
    return wanted == FILTER_ALLOW ? ALLOWED : wanted == FILTER_EPERM ? -EPERM : -ENOSYS;
}

/* Under a profile's allow-list, what nobody can check in memory is refused all the same. */
static long wanted_beside_profile(uint32_t flags, const struct question *question)
{
    const struct filter_call *call = call_of_number(question->number, question->i386);
    const char *name = call ? call->name : "";
    if (streq(name, "clone3"))
        return -ENOSYS;
    /* libseccomp of Debian 12 has no rules for it */
    if (question->i386 && (flags & FILTER_NO_SET_ID) && question->number == 452 &&
        seccomp_syscall_resolve_name("fchmodat2") == __NR_SCMP_ERROR)
        return -ENOSYS;
    if ((flags & FILTER_NO_SET_ID) && streq(name, "openat2"))
        return -ENOSYS;
    return (flags & FILTER_NO_SET_ID) && streq(name, "io_uring_setup") ? -EPERM : ALLOWED;
}

static struct questions *questions_of_every_call(bool i386)
{
    struct questions *questions = questions_new();
    for (long number = 0; number < NUMBERS_MAX; number++)
        if (i386 || number < 335 ||
            number > 336) /* uretprobe, uprobe: they end who calls them */
            questions->list[questions->n++] = (struct question){.i386 = i386, .number = number};
    return questions;
}

static unsigned check_every_call(uint32_t flags, bool i386)
{
    unsigned allowed = 0;
    struct questions *questions = questions_of_every_call(i386);
    filter_ask(flags, questions);
    for (size_t i = 0; i < questions->n; i++) {
        const struct question *question = &questions->list[i];
        long wanted = flags & FILTER_PROFILE ? wanted_beside_profile(flags, question)
                                             : wanted_of(flags, question);
        if (question->answer != wanted)
            print_error("flags %x, %s %ld: %ld, not %ld\n", flags, i386 ? "i386" : "call",
                        question->number, question->answer, wanted);
        assert_int_equal(question->answer, wanted);
        allowed += wanted == ALLOWED;
    }
    questions_free(questions);
    return allowed;
}

static void check_sets(bool i386, unsigned strict, unsigned least, unsigned most)
{
    for (uint32_t flags = i386 ? FILTER_32BIT : 0; flags <= FILTER_FLAGS_MAX; flags++) {
        if (!filter_has_set(flags) || (i386 && !(flags & FILTER_32BIT)))
            continue;
        unsigned allowed = check_every_call(flags, i386);
        if (flags & FILTER_PROFILE)
            assert_in_range(allowed, NUMBERS_MAX - 5, NUMBERS_MAX);
        else
            assert_in_range(allowed, flags & FILTER_STRICT ? strict : least, most);
    }
}

static void test_every_call(void **state)
{
    check_sets(false, 220, 280, 320);
}

/* Of a libseccomp that is too old. */
static void test_calls_that_libseccomp_does_not_know(void **state)
{
    static const uint32_t numbers[] = {20, 452};
    static const struct question asked[] = {
        {.i386 = true, .number = 20, .answer = -ENOSYS},
        {.i386 = true, .number = 452, .answer = -ENOSYS},
        {.i386 = true, .number = 21, .answer = ALLOWED},
        {.number = 20, .answer = ALLOWED},
        {.number = 452, .answer = ALLOWED},
    };
    _cleanup_buffer_ struct buffer programs = {0};
    struct questions *questions = questions_new();
    for (size_t i = 0; i < ELEMENTS(asked); i++)
        questions->list[questions->n++] = asked[i];
    assert_int_equal(filter_refuse_i386(numbers, ELEMENTS(numbers), &programs), 0);
    filter_ask_programs(&programs, questions);
    for (size_t i = 0; i < ELEMENTS(asked); i++)
        assert_int_equal(questions->list[i].answer, asked[i].answer);
    questions_free(questions);
}

static void test_every_call_of_i386(void **state)
{
    check_sets(true, 270, 320, 380);
}

/* What sandboxes inherit of isolated takes nothing from them: it refuses only what every filter
 * of theirs refuses, in the same way, and passes all else, of both architectures. */
static void test_inherited(void **state)
{
    const uint32_t loosest = FILTER_NESTED | FILTER_32BIT;
    const struct buffer programs = {.data = (char *)filter_machine,
                                    .length = sizeof(filter_machine)};
    for (int i386 = 0; i386 <= 1; i386++) {
        unsigned refused = 0;
        struct questions *questions = questions_of_every_call(i386);
        filter_ask_programs(&programs, questions);
        for (size_t i = 0; i < questions->n; i++) {
            const struct question *question = &questions->list[i];
            if (question->answer == ALLOWED)
                continue;
            assert_int_equal(question->answer, -EPERM);
            assert_int_equal(wanted_of(loosest, question), -EPERM);
            refused++;
        }
        assert_int_equal(refused, i386 ? 16 : 15);
        questions_free(questions);
    }
}

struct sample {
    uint32_t flags;
    bool i386;
    long number;
    long arguments[6];
    long wanted;
};

/* Numbers of i386, and of what its two multiplexers do. */
enum {
    I386_OPEN = 5,
    I386_IOCTL = 54,
    I386_SOCKETCALL = 102,
    I386_IPC = 117,
    I386_CLONE = 120,
    I386_PERSONALITY = 136,
    I386_SOCKET = 359,
    CALL_SOCKET = 1,
    CALL_BIND = 2,
    CALL_SOCKETPAIR = 8,
    CALL_SEMGET = 2
};
#define BITS      FILTER_32BIT
#define STRICT    (FILTER_32BIT | FILTER_STRICT)
#define NO_SET_ID (FILTER_32BIT | FILTER_NO_SET_ID)

static const struct sample samples[] = {
    {0, false, SYS_socket, {AF_UNIX}, ALLOWED},
    {0, false, SYS_socket, {AF_INET, SOCK_STREAM}, ALLOWED},
    {0, false, SYS_socket, {AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, IPPROTO_UDP}, ALLOWED},
    {0, false, SYS_socket, {AF_INET, SOCK_STREAM | SOCK_NONBLOCK, IPPROTO_MPTCP}, ALLOWED},
    {0, false, SYS_socket, {AF_INET, SOCK_RAW, IPPROTO_GRE}, ALLOWED},
    {0, false, SYS_socket, {AF_INET, SOCK_STREAM, IPPROTO_SCTP}, -EPROTONOSUPPORT},
    {0, false, SYS_socket, {AF_INET6, SOCK_STREAM, HIGH | IPPROTO_SCTP}, -EPROTONOSUPPORT},
    {0, false, SYS_socket, {AF_INET, SOCK_STREAM, 256}, -EPROTONOSUPPORT},
    {0, false, SYS_socket, {AF_INET, SOCK_SEQPACKET, 0}, -ESOCKTNOSUPPORT},
    {0, false, SYS_socket, {AF_INET, SOCK_DCCP | SOCK_CLOEXEC, 0}, -ESOCKTNOSUPPORT},
    {0, false, SYS_socket, {AF_INET, SOCK_STREAM, 99}, -ENOSYS},
    {0, false, SYS_socket, {AF_INET, HIGH | SOCK_SEQPACKET, 0}, -ESOCKTNOSUPPORT},
    {0, false, SYS_socket, {AF_NETLINK, SOCK_RAW, 0}, ALLOWED},
    {0, false, SYS_socket, {AF_NETLINK, SOCK_RAW, 6}, -EPROTONOSUPPORT},
    {0, false, SYS_socket, {AF_NETLINK, SOCK_RAW, HIGH | 6}, -EPROTONOSUPPORT},
    {0, false, SYS_socket, {AF_ALG}, -EAFNOSUPPORT},
    {0, false, SYS_socket, {HIGH | AF_ALG}, -EAFNOSUPPORT},
    {0, false, SYS_socket, {HIGH | AF_UNIX}, ALLOWED},
    {0, false, SYS_socket, {AF_MAX}, -ENOSYS},
    {0, false, SYS_socketpair, {AF_UNIX}, ALLOWED},
    {0, false, SYS_socketpair, {HIGH | AF_VSOCK}, -EAFNOSUPPORT},
    {0, false, SYS_personality, {0xFFFFFFFF}, ALLOWED},
    {0, false, SYS_personality, {-1}, ALLOWED},
    {0, false, SYS_personality, {ADDR_NO_RANDOMIZE}, ALLOWED},
    {0, false, SYS_personality, {MMAP_PAGE_ZERO}, -ENOSYS},
    {0, false, SYS_personality, {HIGH | READ_IMPLIES_EXEC}, -ENOSYS},
    {0, false, SYS_ioctl, {0, TCGETS}, ALLOWED},
    {0, false, SYS_ioctl, {0, HIGH | TCGETS}, ALLOWED},
    {0, false, SYS_clone, {SIGCHLD}, ALLOWED},
    {0, false, SYS_clone, {HIGH | SIGCHLD}, ALLOWED},
    {0, false, SYS_prlimit64, {0}, ALLOWED},
    {0, false, SYS_prlimit64, {2}, ALLOWED},
    {0, false, SYS_fchmodat, {0, 0, S_ISUID | 0755}, ALLOWED},
    {0, false, SYS_openat2, {0}, ALLOWED},
    {FILTER_UEVENTS, false, SYS_socket, {AF_NETLINK, SOCK_RAW, 15}, ALLOWED},
    {0, false, SYS_socket, {AF_NETLINK, SOCK_RAW, 15}, -EPROTONOSUPPORT},
    {FILTER_STRICT | FILTER_UEVENTS,
     false,
     SYS_socket,
     {AF_NETLINK, SOCK_RAW, 15},
     -EAFNOSUPPORT},
    {FILTER_STRICT, false, SYS_socket, {AF_UNIX, SOCK_STREAM}, ALLOWED},
    {FILTER_STRICT, false, SYS_socketpair, {HIGH | AF_UNIX}, ALLOWED},
    {FILTER_STRICT, false, SYS_socket, {AF_INET}, -EAFNOSUPPORT},
    {FILTER_STRICT, false, SYS_socket, {HIGH | AF_INET6}, -EAFNOSUPPORT},
    {FILTER_STRICT, false, SYS_socket, {AF_NETLINK}, -EAFNOSUPPORT},
    {FILTER_STRICT, false, SYS_personality, {0xFFFFFFFF}, -EPERM},
    {FILTER_STRICT, false, SYS_ioctl, {0, HIGH | TIOCSTI}, -EPERM},
    {BITS, true, I386_SOCKET, {AF_UNIX}, ALLOWED},
    {BITS, true, I386_SOCKET, {HIGH | AF_INET, SOCK_STREAM, IPPROTO_TCP}, ALLOWED},
    {BITS, true, I386_SOCKET, {AF_INET, SOCK_STREAM, IPPROTO_SCTP}, -EPROTONOSUPPORT},
    {BITS, true, I386_SOCKET, {AF_INET6, SOCK_SEQPACKET, 0}, -ESOCKTNOSUPPORT},
    {BITS, true, I386_SOCKET, {AF_INET, 0, IPPROTO_SCTP}, -ESOCKTNOSUPPORT},
    {BITS, true, I386_SOCKET, {AF_NETLINK, SOCK_RAW, 0}, ALLOWED},
    {BITS, true, I386_SOCKET, {AF_NETLINK, SOCK_RAW, HIGH | 6}, -EAFNOSUPPORT},
    {BITS, true, I386_SOCKET, {HIGH | AF_ALG}, -EAFNOSUPPORT},
    {BITS, true, I386_SOCKET, {AF_MAX}, -EAFNOSUPPORT},
    {BITS, true, I386_SOCKET, {-1}, -EAFNOSUPPORT},
    {BITS, true, I386_SOCKETCALL, {CALL_SOCKET}, -EAFNOSUPPORT},
    {BITS, true, I386_SOCKETCALL, {HIGH | CALL_SOCKET}, -EAFNOSUPPORT},
    {BITS, true, I386_SOCKETCALL, {CALL_SOCKETPAIR}, -EAFNOSUPPORT},
    {BITS, true, I386_SOCKETCALL, {CALL_BIND}, ALLOWED},
    {BITS, true, I386_SOCKETCALL, {99}, -ENOSYS},
    {BITS, true, I386_IPC, {CALL_SEMGET}, ALLOWED},
    {BITS, true, I386_IPC, {99}, -ENOSYS},
    {BITS, true, I386_IOCTL, {0, HIGH | TIOCSTI}, -EPERM},
    {BITS, true, I386_CLONE, {HIGH | CLONE_NEWUSER | SIGCHLD}, -EPERM},
    {BITS, true, I386_PERSONALITY, {MMAP_PAGE_ZERO}, -ENOSYS},
    {STRICT, true, I386_SOCKET, {AF_UNIX}, ALLOWED},
    {STRICT, true, I386_SOCKET, {HIGH | AF_INET}, -EAFNOSUPPORT},
    {STRICT, true, I386_IPC, {CALL_SEMGET}, -EPERM},
    {STRICT, true, I386_SOCKETCALL, {CALL_SOCKET}, -EAFNOSUPPORT},
    {NO_SET_ID, true, I386_OPEN, {0, O_CREAT, HIGH | S_ISUID}, -EPERM},
    {NO_SET_ID, true, I386_OPEN, {0, O_CREAT, 0755}, ALLOWED},
    {FILTER_NO_SET_ID, false, SYS_openat2, {0}, -ENOSYS},
    {FILTER_NO_SET_ID, false, SYS_fchmodat, {0, 0, 0755}, ALLOWED},
    {FILTER_NO_SET_ID, false, SYS_open, {0, O_RDONLY, S_ISUID}, ALLOWED},
    {FILTER_NO_SET_ID, false, SYS_open, {0, O_CREAT, 0755}, ALLOWED},
    {FILTER_NO_SET_ID, false, SYS_open, {0, HIGH | O_CREAT | O_EXCL, HIGH | S_ISUID}, -EPERM},
    {FILTER_NO_SET_ID, false, SYS_openat, {0, 0, HIGH | O_TMPFILE, HIGH | S_ISGID}, -EPERM},
};

static void test_samples(void **state)
{
    for (size_t i = 0; i < ELEMENTS(samples); i++) {
        struct questions *questions = questions_new();
        questions->list[0].i386 = samples[i].i386;
        questions->list[0].number = samples[i].number;
        memcpy(questions->list[0].arguments, samples[i].arguments,
               sizeof(samples[i].arguments));
        questions->n = 1;
        filter_ask(samples[i].flags, questions);
        if (questions->list[0].answer != samples[i].wanted)
            print_error("sample %zu: %ld, not %ld\n", i, questions->list[0].answer,
                        samples[i].wanted);
        assert_int_equal(questions->list[0].answer, samples[i].wanted);
        questions_free(questions);
    }
}

/* Every refused value of an argument: as it is, with high bits and, where a mask leaves room
 * for them, with other bits of its own; each argument is an int to the kernel. */
static void check_values(bool i386)
{
    for (const struct filter_value *value = filter_values; value->call; value++) {
        struct questions *questions = questions_new();
        long wanted = -value->errnum;
        const long hidden[] = {value->value, HIGH | value->value,
                               (long)~0xFFFFFFFFUL | value->value,
                               value->value | (0x1FF & ~value->mask)};
        for (size_t i = 0; i < ELEMENTS(hidden); i++) {
            struct question *question = &questions->list[questions->n++];
            const struct filter_call *call = in_table(value->call);
            int number = seccomp_syscall_resolve_name_arch(
                i386 ? SCMP_ARCH_X86 : SCMP_ARCH_X86_64, value->call);
            question->i386 = i386;
            question->number = number >= 0 ? number : call->number;
            if (i386 && number < 0) /* what libseccomp does not know it has not got */
                wanted = -ENOSYS;
            question->arguments[value->argument] = hidden[i];
            if (value->mask != 0 && strstr(value->call, "open")) /* with what makes a file */
                question->arguments[value->argument - 1] = O_CREAT;
        }
        filter_ask(value->only_with | FILTER_32BIT, questions);
        for (size_t i = 0; i < questions->n; i++)
            assert_int_equal(questions->list[i].answer, wanted);
        questions_free(questions);
    }
}

static void test_values(void **state)
{
    check_values(false);
    check_values(true);
}

#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_headers),
        cmocka_unit_test(test_libseccomp),
        cmocka_unit_test(test_table),
#ifdef __x86_64__
        cmocka_unit_test(test_every_call),
        cmocka_unit_test(test_every_call_of_i386),
        cmocka_unit_test(test_samples),
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_inherited),
        cmocka_unit_test(test_calls_that_libseccomp_does_not_know),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
