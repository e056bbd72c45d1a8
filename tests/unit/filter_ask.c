/* SPDX-License-Identifier: Apache-2.0 */
#include "filter_ask.h"

#include "sys/filter.h"
#include "sys/filter_load.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

/* behind those that it needs */
#include <cmocka.h>

#ifdef __x86_64__

static long call_i386(const struct question *question)
{
    long result = question->number;
    __asm__ volatile("int $0x80"
                     : "+a"(result)
                     : "b"(question->arguments[0]), "c"(question->arguments[1]),
                       "d"(question->arguments[2]), "S"(question->arguments[3])
                     : "memory", "r8", "r9", "r10", "r11");
    return result;
}

static long call_kernel(const struct question *question)
{
    if (question->i386)
        return call_i386(question);
    long result = question->number;
    register long r10 __asm__("r10") = question->arguments[3];
    register long r8 __asm__("r8") = question->arguments[4];
    register long r9 __asm__("r9") = question->arguments[5];
    __asm__ volatile("syscall"
                     : "+a"(result)
                     : "D"(question->arguments[0]), "S"(question->arguments[1]),
                       "d"(question->arguments[2]), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
}

/* What the filters let pass stops here; the strictest answer of all programs counts. */
static int load_tracing(void)
{
    struct sock_filter trace = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRACE);
    struct sock_fprog program = {.len = 1, .filter = &trace};
    return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program);
}

static _Noreturn void ask(struct questions *questions, const struct buffer *programs)
{
    struct error err = {0};
    if (ptrace(PTRACE_TRACEME, 0, 0, 0) < 0 || raise(SIGSTOP) < 0 ||
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
        filter_load(programs->data, programs->length, FILTER_EARLY, &err) < 0 ||
        load_tracing() < 0)
        _exit(1);
    for (size_t i = 0; i < questions->n; i++)
        questions->list[i].answer = call_kernel(&questions->list[i]);
    __asm__ volatile("ud2"); /* before __builtin_trap a sanitizer would make calls */
    __builtin_unreachable();
}

/* Lets the call not happen. */
static void skip_call(pid_t child)
{
    struct user_regs_struct registers;
    assert_int_equal(ptrace(PTRACE_GETREGS, child, 0, &registers), 0);
    registers.orig_rax = (unsigned long)-1;
    registers.rax = ALLOWED;
    assert_int_equal(ptrace(PTRACE_SETREGS, child, 0, &registers), 0);
}

static void answer(pid_t child)
{
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSTOPPED(status));
    assert_int_equal(
        ptrace(PTRACE_SETOPTIONS, child, 0, PTRACE_O_TRACESECCOMP | PTRACE_O_EXITKILL), 0);
    for (;;) {
        assert_int_equal(ptrace(PTRACE_CONT, child, 0, 0), 0);
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSTOPPED(status));
        if (status >> 8 != (SIGTRAP | PTRACE_EVENT_SECCOMP << 8))
            break;
        skip_call(child);
    }
    int ended_by = WSTOPSIG(status);
    assert_int_equal(kill(child, SIGKILL), 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(ended_by, SIGILL);
}

void filter_ask_programs(const struct buffer *programs, struct questions *questions)
{
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0)
        ask(questions, programs);
    answer(child);
}

void filter_ask(uint32_t flags, struct questions *questions)
{
    struct error err = {0};
    _cleanup_buffer_ struct buffer programs = {0};
    assert_int_equal(filter_compile(flags, &programs, &err), 0);
    filter_ask_programs(&programs, questions);
}

struct questions *questions_new(void)
{
    struct questions *questions = mmap(NULL, sizeof(*questions), PROT_READ | PROT_WRITE,
                                       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(questions, MAP_FAILED);
    return questions;
}

void questions_free(struct questions *questions)
{
    assert_int_equal(munmap(questions, sizeof(*questions)), 0);
}

#endif
