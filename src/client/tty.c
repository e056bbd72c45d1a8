/* SPDX-License-Identifier: Apache-2.0 */
/* The caller's terminal. Runs as the caller; the pty's fd comes from init, which may be
 * hostile. */
#include "client/tty.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

/* The terminal that a deadly signal must leave as it was: a handler has no other way to know.
 */
static const struct tty *restored_on_death;

static void on_deadly_signal(int number)
{
    if (restored_on_death)
        (void)tcsetattr(restored_on_death->fd, TCSADRAIN, &restored_on_death->saved);
    (void)signal(number, SIG_DFL);
    (void)raise(number);
}

/* Signals that end a process and are not forwarded to the command. */
static void watch_deadly_signals(void)
{
    static const int deadly[] = {SIGALRM, SIGXCPU, SIGXFSZ, SIGVTALRM, SIGPROF,
                                 SIGIO,   SIGPWR,  SIGSYS,  SIGSEGV,   SIGBUS,
                                 SIGABRT, SIGILL,  SIGFPE,  SIGTRAP};
    for (size_t i = 0; i < ELEMENTS(deadly); i++)
        (void)signal(deadly[i], on_deadly_signal);
}

int tty_make_raw(struct tty *tty, int fd)
{
    struct termios raw;
    if (!isatty(fd))
        return 0;
    if (tcgetattr(fd, &raw) < 0)
        return -errno;
    tty->saved = raw;
    tty->fd = fd;
    cfmakeraw(&raw);
    restored_on_death = tty;
    watch_deadly_signals();
    if (tcsetattr(fd, TCSADRAIN, &raw) < 0)
        return -errno;
    tty->raw = true;
    return 0;
}

void tty_restore(struct tty *tty)
{
    int saved = errno;
    if (tty->raw)
        (void)tcsetattr(tty->fd, TCSADRAIN, &tty->saved);
    tty->raw = false;
    restored_on_death = NULL;
    errno = saved;
}

static bool is_same(const struct termios *a, const struct termios *b)
{
    return a->c_iflag == b->c_iflag && a->c_oflag == b->c_oflag && a->c_cflag == b->c_cflag &&
           a->c_lflag == b->c_lflag && memcmp(a->c_cc, b->c_cc, sizeof(a->c_cc)) == 0;
}

void stdio_save(struct stdio_state *state)
{
    for (int fd = 0; fd <= 2; fd++) {
        state->flags[fd] = fcntl(fd, F_GETFL);
        state->is_tty[fd] = isatty(fd) && tcgetattr(fd, &state->termios[fd]) == 0;
    }
}

void stdio_restore(const struct stdio_state *state)
{
    for (int fd = 0; fd <= 2; fd++) {
        struct termios now;
        int flags = fcntl(fd, F_GETFL);
        if (flags >= 0 && state->flags[fd] >= 0 && flags != state->flags[fd])
            (void)fcntl(fd, F_SETFL, state->flags[fd]);
        if (!state->is_tty[fd] || tcgetattr(fd, &now) < 0 || is_same(&now, &state->termios[fd]))
            continue;
        /* from the background this would stop us */
        void (*old)(int) = signal(SIGTTOU, SIG_IGN);
        (void)tcsetattr(fd, TCSADRAIN, &state->termios[fd]);
        (void)signal(SIGTTOU, old);
    }
}

void tty_copy_size(int pty)
{
    struct winsize size;
    for (int fd = 0; fd <= 2; fd++)
        if (ioctl(fd, TIOCGWINSZ, &size) == 0) {
            (void)ioctl(pty, TIOCSWINSZ, &size);
            return;
        }
}

bool tty_is_master(int fd)
{
    struct stat st;
    unsigned number = 0;
    return fstat(fd, &st) == 0 && S_ISCHR(st.st_mode) && major(st.st_rdev) == 5 &&
           minor(st.st_rdev) == 2 && ioctl(fd, TIOCGPTN, &number) == 0;
}
