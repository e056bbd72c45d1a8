/* SPDX-License-Identifier: Apache-2.0 */
/* Attack 9: a descriptor of the host as stdin, stdout or stderr is a door: `stdio FD WANTED`
 * walks up from a directory to a file of the host, reads a block device, reopens an O_PATH
 * file. Says whether it got at the word WANTED. It answers on the one of fds 0–2 that is no
 * door. */
#include "attempt.h"

#include <sys/stat.h>

static const char *file_below_root;

static int contains(int fd, const char *wanted)
{
    char text[4096] = "";
    ssize_t n = pread(fd, text, sizeof(text) - 1, 0);
    return n > 0 && memmem(text, (size_t)n, wanted, strlen(wanted)) != NULL;
}

static int through_directory(int fd, const char *wanted)
{
    char path[4200] = "";
    for (int i = 0; i < 16; i++)
        (void)strcat(path, "../");
    (void)snprintf(path + strlen(path), 4096, "%s", file_below_root + 1);
    int file = openat(fd, path, O_RDONLY);
    return file >= 0 && contains(file, wanted);
}

static int through_link(int fd, const char *wanted)
{
    char path[64];
    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    int file = open(path, O_RDONLY);
    return file >= 0 && contains(file, wanted);
}

int main(int argc, char **argv)
{
    struct stat st;
    if (argc != 4)
        return 2;
    int fd = atoi(argv[1]);
    file_below_root = argv[3];
    int got = fstat(fd, &st) == 0 && (S_ISDIR(st.st_mode) ? through_directory(fd, argv[2])
                                                          : through_link(fd, argv[2]));
    (void)dprintf(fd == 1 ? 2 : 1, got ? "door: SUCCEEDED\n" : "door: denied EACCES\n");
    return 0;
}
