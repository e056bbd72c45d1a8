/* SPDX-License-Identifier: Apache-2.0 */
/* Not an attack: says of each path whether it is there, and waits while stdin is open when the
 * first argument is "-". */
#include "attempt.h"

int main(int argc, char **argv)
{
    int first = argc > 1 && strcmp(argv[1], "-") == 0 ? 2 : 1;
    char byte = 0;
    for (int i = first; i < argc; i++)
        (void)printf("%s: %s\n", argv[i], access(argv[i], F_OK) == 0 ? "present" : "absent");
    (void)fflush(stdout);
    while (first == 2 && read(0, &byte, 1) > 0)
        continue;
    return 0;
}
