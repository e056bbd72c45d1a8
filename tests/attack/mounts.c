/* SPDX-License-Identifier: Apache-2.0 */
/* What the mounts of a sandbox give to who looks for it. With an argument the root is to be
 * read-only. */
#include "attempt.h"

#include <sys/statvfs.h>

/* One that nothing covers lets a nested user namespace have a new one that nothing covers. */
static long proc_beside_proc(void)
{
    char line[4096];
    char root[1024];
    char place[1024];
    char type[64];
    int found = 0;
    FILE *mounts = fopen("/proc/self/mountinfo", "re");
    if (!mounts)
        return -1;
    while (fgets(line, sizeof(line), mounts)) {
        const char *dash = strstr(line, " - ");
        if (dash && sscanf(line, "%*d %*d %*s %1023s %1023s", root, place) == 2 &&
            sscanf(dash, " - %63s", type) == 1 && strcmp(type, "proc") == 0 &&
            strcmp(root, "/") == 0 && strcmp(place, "/proc") != 0)
            found = 1;
    }
    (void)fclose(mounts);
    return found ? 0 : fail_with(ENOENT);
}

static long lacks(unsigned long flag)
{
    struct statvfs vfs;
    return statvfs("/", &vfs) < 0 ? -1 : vfs.f_flag & flag ? fail_with(EPERM) : 0;
}

static long root_gives_set_id(void)
{
    return lacks(ST_NOSUID);
}

static long root_gives_devices(void)
{
    return lacks(ST_NODEV);
}

static long write_to_root(void)
{
    return open_and_close("/made-by-mounts", O_CREAT | O_WRONLY);
}

int main(int argc, char **argv UNUSED)
{
    attempt("proc_beside_proc", proc_beside_proc);
    attempt("root_gives_set_id", root_gives_set_id);
    attempt("root_gives_devices", root_gives_devices);
    if (argc > 1)
        attempt("write_to_root", write_to_root);
    return 0;
}
