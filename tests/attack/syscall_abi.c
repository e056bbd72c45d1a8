/* SPDX-License-Identifier: Apache-2.0 */
/* Attack 3: the same system calls by the kernel's other doors, int 0x80 (i386 numbers) and the
 * x32 numbers, which a filter for x86-64 alone does not see. */
#include "attempt.h"

#include <sched.h>
#include <sys/mman.h>

#define X32 0x40000000L

enum {
    I386_GETPID = 20,
    I386_CHMOD = 15,
    I386_IOCTL = 54,
    I386_UNSHARE = 310,
    X32_IOCTL = 514
};

static long int80(long number, long a, long b, long c)
{
    long result = number;
    __asm__ volatile("int $0x80"
                     : "+a"(result)
                     : "b"(a), "c"(b), "d"(c)
                     : "memory", "r8", "r9", "r10", "r11");
    return result < 0 && result > -4096 ? fail_with((int)-result) : result;
}

static long int80_getpid(void)
{
    return int80(I386_GETPID, 0, 0, 0) == getpid() ? 0 : -1;
}

static long int80_unshare(void)
{
    return int80(I386_UNSHARE, CLONE_NEWUSER, 0, 0);
}

static long int80_tiocsti(void)
{
    char *low = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
    if (low == MAP_FAILED)
        return -1;
    *low = 'D';
    return int80(I386_IOCTL, 0, TIOCSTI, (long)low);
}

/* The high bits are the kernel's to ignore, and the filter's. */
static long int80_chmod_set_id(void)
{
    char *low = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
    if (low == MAP_FAILED)
        return -1;
    (void)strcpy(low, "/tmp/isolate-attack-set-id");
    int fd = open(low, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    long r = fd < 0 ? -1 : int80(I386_CHMOD, (long)low, HIGH(04755), 0);
    int error = errno;
    (void)unlink(low);
    return r < 0 ? fail_with(error) : r;
}

static long x32_getpid(void)
{
    return syscall(X32 | SYS_getpid);
}

static long x32_unshare(void)
{
    return syscall(X32 | SYS_unshare, CLONE_NEWUSER);
}

static long x32_tiocsti(void)
{
    return syscall(X32 | X32_IOCTL, 0, TIOCSTI, "E");
}

static long x32_plain_ioctl(void)
{
    return syscall(X32 | SYS_ioctl, 0, TIOCSTI, "F");
}

int main(void)
{
    pid_t pid = fork();
    if (pid == 0) {
        take_terminal();
        attempt("int80_getpid", int80_getpid);
        attempt("int80_unshare", int80_unshare);
        attempt("int80_tiocsti", int80_tiocsti);
        attempt("int80_chmod_set_id", int80_chmod_set_id);
        attempt("x32_getpid", x32_getpid);
        attempt("x32_unshare", x32_unshare);
        attempt("x32_tiocsti", x32_tiocsti);
        attempt("x32_plain_ioctl", x32_plain_ioctl);
        release_terminal();
        _exit(0);
    }
    return pid < 0 || waitpid(pid, NULL, 0) < 0;
}
