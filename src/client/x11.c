/* SPDX-License-Identifier: Apache-2.0 */
/* The X server, handed over with a cookie of the sandbox's own: the server sees a user there
 * that it does not know, and lets the command in by that cookie alone. While the client runs, a
 * connection of its own keeps the cookie alive; soon after its end the server forgets it. Runs
 * as the caller. */
#include "client/x11.h"

#include "base/log.h"
#include "base/parse.h"
#include "base/text.h"
#include "client/display.h"
#include "client/x11_wire.h"
#include "client/xauth.h"

#include <stdlib.h>
#include <string.h>

#define FORGET_SECONDS          10
#define FORGET_DETACHED_SECONDS 86400
#define SECRET_NAME             "Xauthority"

int x11_parse(const char *display, unsigned *ret_number, unsigned *ret_screen,
              struct error *err)
{
    char number[12];
    uint32_t screen = 0;
    if (!display || !*display)
        return fail(err, ERROR_NOT_FOUND, ENOENT,
                    "--x11: DISPLAY is not set, so there is no X server to hand over; run it "
                    "in an X session, or set DISPLAY");
    const char *rest = text_after(display, "unix:");
    rest = rest ? rest : text_after(display, ":");
    if (!rest)
        return fail(err, ERROR_UNSUPPORTED, EOPNOTSUPP,
                    "--x11: DISPLAY \"%.60s\": only a server of this machine can be handed "
                    "over (\":N\"), none by network; give the sandbox its network, and DISPLAY "
                    "and its cookie by -e and -v",
                    display);
    size_t n = strcspn(rest, ".");
    (void)snprintf(number, sizeof(number), "%.*s", n < 10 ? (int)n : 10, rest);
    int r = parse_u32(number, 0, X11_NUMBER_MAX, ret_number, "--x11: DISPLAY: number", err);
    if (r == 0 && rest[n] == '.')
        r = parse_u32(rest + n + 1, 0, 255, &screen, "--x11: DISPLAY: screen", err);
    *ret_screen = screen;
    return r;
}

/* A connection of the caller's own, by a cookie or without one. While there is one, a server
 * that begins anew when its last client has gone (Xvfb does) keeps the cookies that it made. */
static int connect_own(int socket_fd, const char *name, struct error *err)
{
    struct xauth_cookie own;
    int r = xauth_find(name, &own, err);
    if (r < 0)
        return r;
    int fd = x11_connect(socket_fd, r == 0 ? &own : NULL, err);
    return fd == -EACCES ? error_suffix(err, fd,
                                        "; see `xauth list %s`: XAUTHORITY names the file "
                                        "with your cookies",
                                        name)
                         : fd;
}

/* A cookie of fewer rights keeps nobody out where one without a cookie has all of them. */
static int refuse_open(int own_fd, int socket_fd, const char *name, struct error *err)
{
    int r = x11_is_open(own_fd, socket_fd, err);
    if (r <= 0)
        return r;
    return fail(
        err, ERROR_DENIED, EPERM,
        "--x11: the X server %s lets every local user in without a cookie (see xhost), "
        "so the command could do as it likes there; start it with -auth, close it (xhost "
        "-local:), or say --x11-trusted",
        name);
}

static int add_cookie(struct display *display, const struct xauth_cookie *cookie,
                      struct error *err)
{
    _cleanup_buffer_ struct buffer entry = {0};
    xauth_entry(cookie, DISPLAY_X11_NUMBER, &entry);
    if (entry.failed)
        return fail(err, ERROR_SYSTEM, ENOMEM, "--x11: ");
    display_set(display, "XAUTHORITY", "%s/" SECRET_NAME, display->directory);
    return display_add_secret(display, SECRET_NAME, entry.data, entry.length, err);
}

/* 1: the server cannot make cookies. */
static int give_new_cookie(struct display *display, int socket_fd, const char *name,
                           struct error *err)
{
    struct xauth_cookie cookie;
    bool trusted = display->kinds & DISPLAY_X11_TRUSTED;
    unsigned seconds =
        display->reach == DISPLAY_REACH_ALONE ? FORGET_DETACHED_SECONDS : FORGET_SECONDS;
    int r = xauth_generate(name, trusted, seconds, &cookie, err);
    if (r != 0)
        return r;
    display->keeper_fd = x11_connect(socket_fd, &cookie, err);
    if (display->keeper_fd < 0)
        return display->keeper_fd;
    if (display->reach == DISPLAY_REACH_ALONE)
        display->keeper_fd = fd_close(display->keeper_fd);
    return add_cookie(display, &cookie, err);
}

/* Without SECURITY there is the caller's own only. */
static int give_own_cookie(struct display *display, int own_fd, int socket_fd, const char *name,
                           struct error *err)
{
    struct xauth_cookie cookie;
    if (!(display->kinds & DISPLAY_X11_TRUSTED))
        return fail(
            err, ERROR_UNSUPPORTED, EOPNOTSUPP,
            "--x11: the X server %s has no SECURITY extension, so it can make no cookie of "
            "fewer rights; --x11-trusted hands over yours, with which the command can see "
            "and control everything there",
            name);
    int r = xauth_find(name, &cookie, err);
    if (r == 0)
        return add_cookie(display, &cookie, err);
    if (r == 1)
        r = x11_is_open(own_fd, socket_fd, err);
    if (r < 0)
        return r;
    return r == 1 ? 0 /* none is needed */
                  : fail(err, ERROR_NOT_FOUND, ENOENT,
                         "--x11-trusted: there is no cookie for the X server %s (see xauth "
                         "list), and the command is let in by nothing else",
                         name);
}

/* Which of the cookies, of the server at socket_fd. */
static int give_cookie(struct display *display, int socket_fd, const char *name,
                       struct error *err)
{
    _cleanup_close_ int own = connect_own(socket_fd, name, err);
    int r = own < 0 ? own : 0;
    if (r == 0 && !(display->kinds & DISPLAY_X11_TRUSTED))
        r = refuse_open(own, socket_fd, name, err);
    if (r == 0)
        r = give_new_cookie(display, socket_fd, name, err);
    return r == 1 ? give_own_cookie(display, own, socket_fd, name, err) : r;
}

int x11_hand_over(struct display *display, struct error *err)
{
    char name[16];
    char path[64];
    unsigned number = 0;
    unsigned screen = 0;
    int r = x11_parse(getenv("DISPLAY"), &number, &screen, err);
    if (r < 0)
        return r;
    (void)snprintf(name, sizeof(name), ":%u", number);
    (void)snprintf(path, sizeof(path), DISPLAY_X11_DIRECTORY "/X%u", number);
    r = display_add_socket(display, path, DISPLAY_X11_DIRECTORY "/X" DISPLAY_X11_NUMBER,
                           "--x11", err);
    if (r < 0)
        return r;
    r = give_cookie(display, display->sockets[display->n_sockets - 1].fd, name, err);
    if (r < 0)
        return text_after(err->text, "--x11") ? r : error_prefix(err, r, "--x11: %s: ", name);
    display_set(display, "DISPLAY", ":" DISPLAY_X11_NUMBER ".%u", screen);
    return r;
}
