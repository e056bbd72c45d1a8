/* SPDX-License-Identifier: Apache-2.0 */
/* personality SOCKET UID: a process in a user namespace lends its ids to one outside of it, by
 * a ring of io_uring that both have, and that one connects with them. Says "maps PID" and goes
 * on when a line came, by which the maps have been written; then sends a call and prints the
 * reply. */
#include "attempt.h"

#include <linux/io_uring.h>
#include <sched.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>

struct ring {
    int fd;
    char *rings;
    struct io_uring_sqe *sqes;
    struct io_uring_params params;
};

static void end(const char *what)
{
    (void)printf("%s: %s\n", what, strerrorname_np(errno));
    exit(1);
}

static void ring_open(struct ring *ret)
{
    *ret = (struct ring){0};
    ret->fd = (int)syscall(SYS_io_uring_setup, 1, &ret->params);
    if (ret->fd < 0)
        end("io_uring_setup");
    size_t size = ret->params.sq_off.array + sizeof(uint32_t);
    size_t completions = ret->params.cq_off.cqes + 2 * sizeof(struct io_uring_cqe);
    ret->rings = mmap(NULL, size > completions ? size : completions, PROT_READ | PROT_WRITE,
                      MAP_SHARED | MAP_POPULATE, ret->fd, IORING_OFF_SQ_RING);
    ret->sqes = mmap(NULL, sizeof(*ret->sqes), PROT_READ | PROT_WRITE,
                     MAP_SHARED | MAP_POPULATE, ret->fd, IORING_OFF_SQES);
    if (ret->rings == MAP_FAILED || ret->sqes == MAP_FAILED)
        end("mmap");
}

static int ring_connect(struct ring *ring, int fd, const struct sockaddr_un *address,
                        int personality)
{
    *ring->sqes = (struct io_uring_sqe){
        .opcode = IORING_OP_CONNECT,
        .fd = fd,
        .addr = (uint64_t)(uintptr_t)address,
        .off = sizeof(*address),
        .personality = (uint16_t)personality,
    };
    *(uint32_t *)(ring->rings + ring->params.sq_off.array) = 0;
    __atomic_store_n((uint32_t *)(ring->rings + ring->params.sq_off.tail), 1, __ATOMIC_RELEASE);
    if (syscall(SYS_io_uring_enter, ring->fd, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0) < 0)
        return -errno;
    return ((struct io_uring_cqe *)(ring->rings + ring->params.cq_off.cqes))->res;
}

/* The one in the namespace, as that uid there: the number of the personality it has lent. */
static int lend(const struct ring *ring, uid_t uid)
{
    (void)prctl(PR_SET_DUMPABLE, 1); /* its maps are its own */
    if (unshare(CLONE_NEWUSER) < 0)
        end("unshare");
    (void)printf("maps %d\n", (int)getpid());
    (void)fflush(stdout);
    if (getchar() == EOF)
        end("no maps");
    if (setresgid(uid, uid, uid) < 0 || setresuid(uid, uid, uid) < 0)
        end("setresuid");
    long personality =
        syscall(SYS_io_uring_register, ring->fd, IORING_REGISTER_PERSONALITY, NULL, 0);
    if (personality < 0)
        end("IORING_REGISTER_PERSONALITY");
    return (int)personality;
}

int main(int argc, char **argv)
{
    static const char call[] = "{\"method\":\"io.isolate.List\"}";
    struct ring ring;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    char reply[4096];
    int status = 0;
    if (argc != 3)
        return 2;
    (void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", argv[1]);
    ring_open(&ring);
    pid_t pid = fork();
    if (pid == 0)
        _exit(lend(&ring, (uid_t)atoi(argv[2])));
    if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status) || WEXITSTATUS(status) == 0)
        end("waitpid");
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    errno = -ring_connect(&ring, fd, &address, WEXITSTATUS(status));
    if (errno != 0)
        end("connect");
    (void)!send(fd, call, sizeof(call), MSG_NOSIGNAL);
    ssize_t n = recv(fd, reply, sizeof(reply), 0);
    (void)printf("%.*s\n", n > 0 ? (int)n : 0, reply);
    return 0;
}
