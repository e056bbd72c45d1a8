/* SPDX-License-Identifier: Apache-2.0 */
/* Bombs that go on where they are held to a limit: `bomb fork` and `bomb memory`. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    if (argc != 2)
        return 99;
    while (strcmp(argv[1], "fork") == 0)
        (void)!fork();
    for (;;) {
        char *block = malloc(1 << 20);
        if (block)
            memset(block, 1, 1 << 20);
    }
}
