/* SPDX-License-Identifier: Apache-2.0 */
/* The caller's display and sound, handed over to a sandbox: sockets that the caller can connect
 * to, cookies for them, and the variables by which programs find them. Everything is looked up
 * and opened with the caller's rights. Inside, all of it is in /run/user/NAME, which only the
 * command's user may enter, but for the X server's socket. */
#pragma once

#include "base/buffer.h"
#include "base/error.h"
#include "client/forward.h"
#include "spec/display_path.h"

#include <limits.h>
#include <stdbool.h>

/* What is asked for. */
enum display_kind {
    DISPLAY_X11 = 1 << 0,         /* clients that the X server does not trust */
    DISPLAY_X11_TRUSTED = 1 << 1, /* with all that the caller may do there */
    DISPLAY_WAYLAND = 1 << 2,
    DISPLAY_AUDIO = 1 << 3, /* PulseAudio, PipeWire, or both */
};

/* How the command comes to its servers. */
enum display_reach {
    DISPLAY_REACH_CLIENT, /* the client is there while it runs, and may forward */
    DISPLAY_REACH_OWNER,  /* the same, and it is as good as the sockets' owner anyway */
    DISPLAY_REACH_ALONE,  /* detached: nobody is there while it runs */
};

#define DISPLAY_SOCKETS 4

struct display_socket {
    char source[PATH_MAX];
    char target[160];       /* inside, absolute */
    int fd;                 /* O_PATH */
    struct forward forward; /* what is behind it in place of the server, if anything */
};

struct display_secret {
    const char *name; /* in the directory */
    struct buffer content;
};

struct display {
    unsigned kinds;
    enum display_reach reach;
    char directory[sizeof(DISPLAY_PARENT) + DISPLAY_NAME_MAX + 1];
    struct display_socket sockets[DISPLAY_SOCKETS];
    size_t n_sockets;
    struct display_secret secrets[DISPLAY_FILES];
    size_t n_secrets;
    struct buffer env; /* NAME=VALUE, each ended by NUL */
    int keeper_fd;     /* connection that keeps the X cookie alive; -EBADF: none */
};

/* name: of the directory, a file name's letters only. Blocks up to 10 s for each server that
 * does not answer. ERROR_NOT_FOUND where a server, its socket or a program is missing. */
int display_open(unsigned kinds, const char *name, enum display_reach reach,
                 struct display **ret, struct error *err) _must_check_;
void display_free(struct display **display);

/* For the parts of it. */

/* Opens the socket at path, which must be one that the caller can connect to; target is where
 * it is inside. what: "--wayland". */
int display_add_socket(struct display *display, const char *path, const char *target,
                       const char *what, struct error *err) _must_check_;
int display_add_secret(struct display *display, const char *name, const void *data,
                       size_t length, struct error *err) _must_check_;
/* value is a format. */
void display_set(struct display *display, const char *name, const char *value, ...)
    _printf_(3, 4);
/* Connects to an O_PATH socket; fd, or -errno. Reads and writes give up after 10 s. */
int display_connect(int socket_fd) _must_check_;

/* x11.c, sound.c */
int x11_hand_over(struct display *display, struct error *err) _must_check_;
int sound_hand_over(struct display *display, struct error *err) _must_check_;
