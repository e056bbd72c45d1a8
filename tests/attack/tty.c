/* SPDX-License-Identifier: Apache-2.0 */
/* Attacks 1, 2 and 4: typing into the terminal on fd 0, which is the caller's (CVE-2017-5226),
 * with high bits in the request (CVE-2019-10063), and pasting a console's selection
 * (CVE-2023-28100). */
#include "attempt.h"

#define PASTE_SELECTION 3

static long push(void)
{
    return ioctl(0, TIOCSTI, "A");
}

static long push_high(void)
{
    return syscall(SYS_ioctl, 0, HIGH(TIOCSTI), "B");
}

static long push_by_name(void)
{
    int fd = open("/dev/tty", O_RDWR | O_NOCTTY);
    return fd < 0 ? -1 : ioctl(fd, TIOCSTI, "C");
}

static long paste(void)
{
    char subcode[8] = {PASTE_SELECTION};
    return ioctl(0, TIOCLINUX, subcode);
}

static long paste_high(void)
{
    char subcode[8] = {PASTE_SELECTION};
    return syscall(SYS_ioctl, 0, HIGH(TIOCLINUX), subcode);
}

static void all(void)
{
    take_terminal();
    attempt("tiocsti", push);
    attempt("tiocsti_high_bits", push_high);
    attempt("tiocsti_dev_tty", push_by_name);
    attempt("tioclinux", paste);
    attempt("tioclinux_high_bits", paste_high);
    release_terminal();
}

int main(void)
{
    pid_t pid = fork();
    if (pid == 0) {
        all();
        _exit(0);
    }
    return pid < 0 || waitpid(pid, NULL, 0) < 0;
}
