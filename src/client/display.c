/* SPDX-License-Identifier: Apache-2.0 */
/* What of the caller's display goes into a sandbox; here what is common to all of it, and
 * Wayland. Runs as the caller; the environment is the caller's. */
#include "client/display.h"

#include "base/text.h"
#include "client/forward.h"
#include "sys/fd.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#define PATIENCE_SECONDS 10

int display_connect(int socket_fd)
{
    const struct timeval patience = {.tv_sec = PATIENCE_SECONDS};
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct fd_path path = fd_path(socket_fd);
    _cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    (void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", path.text);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience)) < 0 ||
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) < 0 ||
        connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
        return -errno;
    return TAKE_FD(fd);
}

static int refuse(const char *what, const char *path, int errnum, struct error *err)
{
    switch (errnum) {
    case ENOENT:
    case ENOTDIR:
        return fail(err, ERROR_NOT_FOUND, errnum, "%s: no server's socket at %.200s: ", what,
                    path);
    case ECONNREFUSED:
        return fail(err, ERROR_NOT_FOUND, errnum,
                    "%s: nobody listens at %.200s; its server has ended: ", what, path);
    case EAGAIN:
        return fail(err, ERROR_BUSY, ETIMEDOUT,
                    "%s: the server at %.200s does not answer: ", what, path);
    default:
        return fail(err, ERROR_SYSTEM, errnum, "%s: connect to %.200s: ", what, path);
    }
}

int display_add_socket(struct display *display, const char *path, const char *target,
                       const char *what, struct error *err)
{
    struct stat st;
    struct display_socket *socket = &display->sockets[display->n_sockets];
    _cleanup_close_ int fd = open(path, O_PATH | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0)
        return refuse(what, path, errno, err);
    if (!S_ISSOCK(st.st_mode))
        return fail(err, ERROR_INVALID, ENOTSOCK, "%s: %.200s: ", what, path);
    _cleanup_close_ int connection = display_connect(fd);
    if (connection < 0)
        return refuse(what, path, -connection, err);
    if (!realpath(path, socket->source))
        return fail(err, ERROR_SYSTEM, errno, "%s: %.200s: ", what, path);
    if (!text_is_utf8(socket->source, strlen(socket->source)))
        return fail(err, ERROR_INVALID, EILSEQ, "%s: the socket's path is not valid UTF-8",
                    what);
    (void)snprintf(socket->target, sizeof(socket->target), "%s", target);
    socket->fd = -EBADF;
    socket->forward = (struct forward){.alive_fd = -EBADF};
    bool forward = display->reach == DISPLAY_REACH_CLIENT && forward_is_needed(fd);
    if (forward && forward_start(fd, &socket->fd, &socket->forward, err) < 0)
        return error_prefix(err, -err->errnum, "%s: ", what);
    if (!forward)
        socket->fd = TAKE_FD(fd);
    display->n_sockets++;
    return 0;
}

int display_add_secret(struct display *display, const char *name, const void *data,
                       size_t length, struct error *err)
{
    struct display_secret *secret = &display->secrets[display->n_secrets++];
    secret->name = name;
    buffer_append(&secret->content, data, length);
    return secret->content.failed ? fail(err, ERROR_SYSTEM, ENOMEM, "%s: ", name) : 0;
}

void display_set(struct display *display, const char *name, const char *value, ...)
{
    char text[1024];
    va_list arguments;
    va_start(arguments, value);
    (void)vsnprintf(text, sizeof(text), value, arguments);
    va_end(arguments);
    buffer_append_text(&display->env, name);
    buffer_append_char(&display->env, '=');
    buffer_append(&display->env, text, strlen(text) + 1);
}

static int wayland_hand_over(struct display *display, struct error *err)
{
    char path[PATH_MAX];
    char target[sizeof(display->directory) + 16];
    const char *name = getenv("WAYLAND_DISPLAY");
    const char *directory = getenv("XDG_RUNTIME_DIR");
    name = name && *name ? name : "wayland-0"; /* as libwayland has it */
    if (*name != '/' && (!directory || *directory != '/'))
        return fail(err, ERROR_NOT_FOUND, ENOENT,
                    "--wayland: WAYLAND_DISPLAY is no absolute path and XDG_RUNTIME_DIR is not "
                    "set, so no compositor can be found; run it in a Wayland session");
    int n = *name == '/' ? snprintf(path, sizeof(path), "%s", name)
                         : snprintf(path, sizeof(path), "%s/%s", directory, name);
    if (n >= (int)sizeof(path))
        return fail(err, ERROR_INVALID, ENAMETOOLONG, "--wayland: WAYLAND_DISPLAY: ");
    (void)snprintf(target, sizeof(target), "%s/wayland-0", display->directory);
    display_set(display, "WAYLAND_DISPLAY", "wayland-0");
    return display_add_socket(display, path, target, "--wayland", err);
}

static int fill(struct display *display, struct error *err)
{
    int r = 0;
    display_set(display, "XDG_RUNTIME_DIR", "%s", display->directory);
    if (display->kinds & (DISPLAY_X11 | DISPLAY_X11_TRUSTED))
        r = x11_hand_over(display, err);
    if (r == 0 && display->kinds & DISPLAY_WAYLAND)
        r = wayland_hand_over(display, err);
    if (r == 0 && display->kinds & DISPLAY_AUDIO)
        r = sound_hand_over(display, err);
    return r == 0 && display->env.failed ? fail(err, ERROR_SYSTEM, ENOMEM, "display: ") : r;
}

int display_open(unsigned kinds, const char *name, enum display_reach reach,
                 struct display **ret, struct error *err)
{
    struct display *display = calloc(1, sizeof(*display));
    if (!display)
        return fail(err, ERROR_SYSTEM, ENOMEM, "display: ");
    display->kinds = kinds;
    display->reach = reach;
    display->keeper_fd = -EBADF;
    (void)snprintf(display->directory, sizeof(display->directory), DISPLAY_PARENT "/%.*s",
                   DISPLAY_NAME_MAX, name);
    int r = fill(display, err);
    if (r < 0)
        display_free(&display);
    *ret = display;
    return r;
}

static void close_socket(struct display_socket *socket)
{
    fd_close(socket->fd);
    forward_end(&socket->forward);
}

void display_free(struct display **display)
{
    struct display *old = *display;
    *display = NULL;
    for (size_t i = 0; old && i < old->n_sockets; i++)
        close_socket(&old->sockets[i]);
    for (size_t i = 0; old && i < old->n_secrets; i++)
        buffer_clear(&old->secrets[i].content);
    if (old) {
        buffer_clear(&old->env);
        fd_close(old->keeper_fd);
    }
    free(old);
}
