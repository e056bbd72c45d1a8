/* SPDX-License-Identifier: Apache-2.0 */
/* Passing fds out of a sandbox: `pass_fd SOCKET FILE DIRECTORY` makes FILE, opens it for
 * writing, and sends it and DIRECTORY by SCM_RIGHTS to who listens at SOCKET, in a bind that
 * both see. With `-` for FILE only the directory is sent, with -t's terminal `tty`: fd 0. One
 * more argument: waits until who listens hangs up. */
#include "attempt.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

int main(int argc, char **argv)
{
    union {
        struct cmsghdr header;
        char data[CMSG_SPACE(2 * sizeof(int))];
    } control = {0};
    struct iovec part = {"x", 1};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control};
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fds[2];
    int n = 0;
    if (argc != 4 && argc != 5)
        return 2;
    if (strcmp(argv[2], "tty") == 0)
        fds[n++] = 0;
    else if (strcmp(argv[2], "-") != 0)
        fds[n++] = open(argv[2], O_RDWR | O_CREAT, 0666);
    fds[n++] = open(argv[3], O_RDONLY | O_DIRECTORY);
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", argv[1]);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    if (fds[0] < 0 || fds[n - 1] < 0 ||
        connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
        return 3;
    message.msg_controllen = CMSG_SPACE((size_t)n * sizeof(int));
    control.header.cmsg_level = SOL_SOCKET;
    control.header.cmsg_type = SCM_RIGHTS;
    control.header.cmsg_len = CMSG_LEN((size_t)n * sizeof(int));
    memcpy(CMSG_DATA(&control.header), fds, (size_t)n * sizeof(int));
    if (sendmsg(fd, &message, 0) != 1)
        return 4;
    char byte;
    return argc == 4 || read(fd, &byte, 1) <= 0 ? 0 : 5;
}
