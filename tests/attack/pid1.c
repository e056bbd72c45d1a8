/* SPDX-License-Identifier: Apache-2.0 */
/* Attack 18: take over pid 1 of the sandbox, which has more rights than the command, by tracing
 * it, writing its memory, taking its descriptors, or entering its namespaces. */
#include "attempt.h"

#include <sys/ptrace.h>
#include <sys/uio.h>

static long trace_attach(void)
{
    if (ptrace(PTRACE_ATTACH, 1, NULL, NULL) < 0)
        return -1;
    (void)waitpid(1, NULL, __WALL);
    return ptrace(PTRACE_DETACH, 1, NULL, NULL);
}

static long trace_seize(void)
{
    if (ptrace(PTRACE_SEIZE, 1, NULL, NULL) < 0)
        return -1;
    (void)ptrace(PTRACE_INTERRUPT, 1, NULL, NULL);
    (void)waitpid(1, NULL, __WALL);
    return ptrace(PTRACE_DETACH, 1, NULL, NULL);
}

/* An address of pid 1 that can be written, as far as its maps can be read. */
static char *writable_address(void)
{
    char line[512];
    unsigned long start = 0;
    char rights[8] = "";
    FILE *maps = fopen("/proc/1/maps", "re");
    while (maps && fgets(line, sizeof(line), maps))
        if (sscanf(line, "%lx-%*x %7s", &start, rights) == 2 && rights[1] == 'w')
            return (char *)start;
    return (char *)0x7ffffffde000;
}

static long memory_read(void)
{
    char byte = 0;
    const struct iovec here = {&byte, 1};
    const struct iovec there = {writable_address(), 1};
    return process_vm_readv(1, &here, 1, &there, 1, 0);
}

static long memory_write(void)
{
    char byte = 0;
    const struct iovec here = {&byte, 1};
    const struct iovec there = {writable_address(), 1};
    if (process_vm_readv(1, &here, 1, &there, 1, 0) < 0)
        return -1;
    return process_vm_writev(1, &here, 1, &there, 1, 0);
}

static long memory_file(void)
{
    return open_and_close("/proc/1/mem", O_RDWR);
}

static long take_fd(void)
{
    long pidfd = syscall(SYS_pidfd_open, 1, 0);
    return pidfd < 0 ? -1 : syscall(SYS_pidfd_getfd, pidfd, 0, 0);
}

static long namespace_link(void)
{
    return open_and_close("/proc/1/ns/mnt", O_RDONLY);
}

static long enter_namespace(void)
{
    long pidfd = syscall(SYS_pidfd_open, 1, 0);
    return pidfd < 0 ? -1 : syscall(SYS_setns, pidfd, 0x04000000 /* CLONE_NEWUTS */);
}

int main(void)
{
    attempt("ptrace_attach", trace_attach);
    attempt("ptrace_seize", trace_seize);
    attempt("process_vm_readv", memory_read);
    attempt("process_vm_writev", memory_write);
    attempt("proc_1_mem", memory_file);
    attempt("pidfd_getfd", take_fd);
    attempt("proc_1_ns", namespace_link);
    attempt("setns_pidfd", enter_namespace);
    return 0;
}
