/* SPDX-License-Identifier: Apache-2.0 */
/* Says as whom it runs: `ids` prints "UID GID"; `ids SECONDS` stays for so long. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    (void)printf("%u %u\n", getuid(), getgid());
    (void)fflush(stdout);
    if (argc > 1)
        (void)sleep((unsigned)atoi(argv[1]));
    return 0;
}
