/* SPDX-License-Identifier: Apache-2.0 */
/* What --seccomp strict takes away beyond the default: each call works where it is allowed. */
#include "attempt.h"

#include <linux/aio_abi.h>
#include <mqueue.h>
#include <sched.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/personality.h>
#include <sys/ptrace.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/uio.h>

static long inet(void)
{
    return socket(AF_INET, SOCK_STREAM, 0);
}

static long inet6_high_bits(void)
{
    return syscall(SYS_socket, HIGH(AF_INET6), SOCK_DGRAM, 0);
}

static long route(void)
{
    return socket(AF_NETLINK, SOCK_RAW, 0);
}

static long trace(void)
{
    return ptrace(PTRACE_TRACEME, 0, 0, 0);
}

static long read_memory(void)
{
    char from[8] = "";
    char to[8];
    const struct iovec local = {to, sizeof(to)};
    const struct iovec remote = {from, sizeof(from)};
    return process_vm_readv(getpid(), &local, 1, &remote, 1, 0);
}

static long write_memory(void)
{
    char from[8] = "";
    char to[8];
    const struct iovec local = {from, sizeof(from)};
    const struct iovec remote = {to, sizeof(to)};
    return process_vm_writev(getpid(), &local, 1, &remote, 1, 0);
}

/* Each is removed again, so that a control leaves nothing. */
static long shared_memory(void)
{
    int id = shmget(IPC_PRIVATE, 4096, 0600);
    return id < 0 ? -1 : shmctl(id, IPC_RMID, NULL);
}

static long semaphores(void)
{
    int id = semget(IPC_PRIVATE, 1, 0600);
    return id < 0 ? -1 : semctl(id, 0, IPC_RMID);
}

static long messages(void)
{
    int id = msgget(IPC_PRIVATE, 0600);
    return id < 0 ? -1 : msgctl(id, IPC_RMID, NULL);
}

static long queue(void)
{
    const char *name = "/isolate-attack-strict";
    mqd_t fd = mq_open(name, O_RDWR | O_CREAT, 0600, NULL);
    return fd < 0 ? -1 : mq_unlink(name);
}

static long asynchronous(void)
{
    aio_context_t context = 0;
    return syscall(SYS_io_setup, 1, &context);
}

static long other_personality(void)
{
    return personality(ADDR_NO_RANDOMIZE);
}

static long another_root(void)
{
    return chroot("/");
}

static long unshare_files(void)
{
    return unshare(CLONE_FILES);
}

static long schedule(void)
{
    const struct sched_param parameters = {0};
    return sched_setscheduler(0, SCHED_BATCH, &parameters);
}

static long splice_memory(void)
{
    int fds[2];
    char byte = 0;
    struct iovec vector = {&byte, 1};
    return pipe(fds) < 0 ? -1 : vmsplice(fds[1], &vector, 1, 0);
}

static long clock_state(void)
{
    char buffer[512] = "";
    return syscall(SYS_adjtimex, buffer);
}

int main(void)
{
    attempt("inet", inet);
    attempt("inet6_high_bits", inet6_high_bits);
    attempt("route", route);
    attempt("ptrace", trace);
    attempt("process_vm_readv", read_memory);
    attempt("process_vm_writev", write_memory);
    attempt("shared_memory", shared_memory);
    attempt("semaphores", semaphores);
    attempt("messages", messages);
    attempt("queue", queue);
    attempt("asynchronous", asynchronous);
    attempt("personality", other_personality);
    attempt("chroot", another_root);
    attempt("unshare", unshare_files);
    attempt("sched_setscheduler", schedule);
    attempt("vmsplice", splice_memory);
    attempt("adjtimex", clock_state);
    return 0;
}
