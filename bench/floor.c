/* SPDX-License-Identifier: Apache-2.0 */
/* The floor under every launcher: starts a program, waits for it, hands its exit status on, and
 * does nothing else. Linked statically, so that no dynamic linker is in its time. */
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    pid_t pid = 0;
    int status = 0;
    if (argc < 2) {
        (void)fprintf(stderr, "usage: floor PROGRAM [ARG…]\n");
        return 2;
    }
    int r = posix_spawn(&pid, argv[1], NULL, NULL, argv + 1, environ);
    if (r != 0) {
        (void)fprintf(stderr, "floor: %s: %s\n", argv[1], strerror(r));
        return 127;
    }
    if (waitpid(pid, &status, 0) < 0)
        return 1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
