/* SPDX-License-Identifier: Apache-2.0 */
/* The command of the torture: `end STATUS MILLISECONDS [FILE]` writes FILE, so that it is known
 * that it ran, waits and exits with STATUS. With less than 0 it says "up" and waits for the end
 * of its stdin. */
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    if (argc < 3 || (argc > 3 && open(argv[3], O_WRONLY | O_CREAT | O_EXCL, 0600) < 0))
        return 99;
    if (atoi(argv[2]) < 0) {
        struct pollfd input = {.fd = 0, .events = POLLIN};
        (void)puts("up");
        (void)fflush(stdout);
        (void)poll(&input, 1, -1);
    } else {
        (void)poll(NULL, 0, atoi(argv[2]));
    }
    return atoi(argv[1]);
}
