/* SPDX-License-Identifier: Apache-2.0 */
/* Attack 21: `connect SOCKET` calls the daemon from inside and says what it answers. */
#include "attempt.h"

#include <sys/socket.h>
#include <sys/un.h>

static const char *path;

static long call(void)
{
    static const char question[] = "{\"method\":\"io.isolate.List\"}";
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    char reply[4096] = "";
    (void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
        send(fd, question, sizeof(question), MSG_NOSIGNAL) < 0)
        return -1;
    if (recv(fd, reply, sizeof(reply) - 1, 0) <= 0)
        return fail_with(ECONNRESET);
    /* an answer that is an error has won nothing */
    return strstr(reply, "\"sandboxes\"") ? 0 : fail_with(EACCES);
}

int main(int argc, char **argv)
{
    path = argc > 1 ? argv[1] : "";
    attempt("connect", call);
    return 0;
}
