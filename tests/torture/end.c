/* SPDX-License-Identifier: Apache-2.0 */
/* The command of the torture: `end STATUS MILLISECONDS [FILE]` writes FILE, so that it is known
 * that it ran, waits and exits with STATUS. */
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    if (argc < 3 || (argc > 3 && open(argv[3], O_WRONLY | O_CREAT | O_EXCL, 0600) < 0))
        return 99;
    (void)poll(NULL, 0, atoi(argv[2]));
    return atoi(argv[1]);
}
