/* SPDX-License-Identifier: Apache-2.0 */
/* What a sandbox is, as its command sees it: `state STATUS FILE` writes FILE, so that it is
 * known that it ran, prints everything that isolates it and that was asked for, without what
 * differs from one sandbox to the next, and exits with STATUS. */
#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Those that begin with one of the words; without words all. */
static void print_lines(const char *path, const char *const words[])
{
    char line[4096];
    FILE *file = fopen(path, "re");
    if (!file)
        exit(99);
    while (fgets(line, sizeof(line), file))
        for (size_t i = 0; !words || words[i]; i++)
            if (!words || strncmp(line, words[i], strlen(words[i])) == 0) {
                (void)printf("%s: %s", path, line);
                break;
            }
    (void)fclose(file);
}

/* Without ids, devices, and the paths on the host that an overlay has as options. */
static void print_mounts(void)
{
    char line[8192];
    FILE *file = fopen("/proc/self/mountinfo", "re");
    if (!file)
        exit(99);
    while (fgets(line, sizeof(line), file)) {
        char *from = line, *end = strstr(line, " - ");
        for (int i = 0; i < 3; i++)
            from += strcspn(from, " ") + 1;
        if (end)
            end[3 + strcspn(end + 3, " ")] = 0;
        (void)printf("mount: %s\n", from);
    }
    (void)fclose(file);
}

/* What is open, and where it leads; which pipe it is does not count. */
static void print_fds(void)
{
    DIR *dir = opendir("/proc/self/fd");
    if (!dir)
        exit(99);
    for (struct dirent *entry = NULL; (entry = readdir(dir));) {
        char target[4096] = "";
        if (!isdigit((unsigned char)*entry->d_name) || atoi(entry->d_name) == dirfd(dir))
            continue;
        (void)!readlinkat(dirfd(dir), entry->d_name, target, sizeof(target) - 1);
        target[strcspn(target, "0123456789")] = 0;
        (void)printf("fd %s: %s\n", entry->d_name, target);
    }
    (void)closedir(dir);
}

/* 1 of its namespace, and nobody else. */
static void print_processes(void)
{
    DIR *dir = opendir("/proc");
    unsigned n = 0;
    if (!dir)
        exit(99);
    for (struct dirent *entry = NULL; (entry = readdir(dir));)
        n += isdigit((unsigned char)*entry->d_name) != 0;
    (void)closedir(dir);
    (void)printf("processes: %u\n", n);
}

int main(int argc, char **argv)
{
    static const char *const rights[] = {"Uid",     "Gid",    "Groups", "Umask",  "CapInh",
                                         "CapPrm",  "CapEff", "CapBnd", "CapAmb", "NoNewPrivs",
                                         "Seccomp", "SigBlk", "SigIgn", "SigCgt", NULL};
    char text[4096];
    if (argc < 3 || open(argv[2], O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600) < 0)
        return 99;
    print_lines("/proc/self/status", rights);
    print_lines("/proc/1/status", (const char *const[]){"Name", "Uid", NULL});
    print_lines("/proc/self/limits", NULL);
    print_lines("/proc/self/oom_score_adj", NULL);
    print_lines("/proc/net/dev", NULL);
    print_lines("/proc/net/fib_trie", NULL);
    print_mounts();
    print_fds();
    print_processes();
    (void)printf("scheduler: %d\n", sched_getscheduler(0));
    (void)printf("directory: %s\n", getcwd(text, sizeof(text)) ? text : "none");
    (void)printf("host: %s\n", gethostname(text, sizeof(text)) == 0 ? text : "none");
    for (char **variable = environ; *variable; variable++)
        (void)printf("environment: %s\n", *variable);
    (void)fflush(stdout);
    return atoi(argv[1]);
}
