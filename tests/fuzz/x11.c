/* SPDX-License-Identifier: Apache-2.0 */
/* client/x11_wire.c, xauth.c: an X server that answers as it likes, and what xauth prints. */
#include "target.h"

#include "client/x11_wire.h"
#include "sys/fd.h"
#include "sys/socket.h"

#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

const bool target_needs_walls = false;

/* A server, in a thread: whoever connects gets the same bytes. */
static struct {
    int fd;
    const uint8_t *answer;
    size_t length;
} server = {.fd = -EBADF};

static void *serve(void *data)
{
    /* those that were served last stay open: an end of the connection with something unread
     * would take the answer along */
    int open_fds[4] = {-EBADF, -EBADF, -EBADF, -EBADF};
    for (size_t i = 0;; i = (i + 1) % ELEMENTS(open_fds)) {
        fd_close(open_fds[i]);
        open_fds[i] = accept4(server.fd, NULL, NULL, SOCK_CLOEXEC);
        if (open_fds[i] < 0)
            continue;
        (void)!socket_send(open_fds[i], server.answer, server.length, NULL, 0);
        (void)shutdown(open_fds[i], SHUT_WR);
    }
    return data;
}

static void begin(void)
{
    pthread_t thread;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    (void)snprintf(address.sun_path, sizeof(address.sun_path), "%.90s/x", target_directory());
    server.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    MUST(server.fd >= 0 && bind(server.fd, (struct sockaddr *)&address, sizeof(address)) == 0 &&
         listen(server.fd, 16) == 0 && pthread_create(&thread, NULL, serve, NULL) == 0);
}

void target_run(const uint8_t *data, size_t size)
{
    struct input input = {data, size};
    struct error err = {0};
    struct xauth_cookie cookie = {0};
    _cleanup_buffer_ struct buffer entry = {0};
    bool with_cookie = input_byte(&input) & 1;
    if (server.fd < 0)
        begin();
    server.answer = input.at;
    server.length = input.left;
    _cleanup_close_ int place = openat(target_directory_fd(), "x", O_PATH | O_CLOEXEC);
    _cleanup_close_ int fd = x11_connect(place, with_cookie ? &cookie : NULL, &err);
    MUST(fd >= 0 || (err.code != ERROR_NONE && *err.text));
    if (fd >= 0)
        MUST(x11_is_open(fd, place, &err) <= 1);
    _cleanup_free_ char *said = input_rest(&input);
    if (xauth_parse(said, &cookie)) {
        xauth_entry(&cookie, "7700", &entry);
        MUST(!entry.failed);
    }
}
