/* SPDX-License-Identifier: Apache-2.0 */
/* Sound: the sockets of PulseAudio and of PipeWire, whichever there are, found as their own
 * libraries find them. PulseAudio lets users of other ids in by its cookie; that is copied.
 * Runs as the caller. Source: libpulse's client.conf(5), PipeWire's module-protocol-native. */
#include "client/sound.h"

#include "base/text.h"
#include "client/display.h"
#include "sys/fd.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WHAT        "--audio"
#define SYSTEM_WIDE "/run/pulse/native"
#define COOKIE_NAME "pulse-cookie"

int sound_parse_pulse(const char *servers, char *ret, size_t size, struct error *err)
{
    for (const char *at = servers; *at;) {
        size_t n = strcspn(at, " ");
        const char *brace = *at == '{' ? memchr(at, '}', n) : NULL;
        const char *server = brace ? brace + 1 : at;
        const char *path = *server == '/' ? server : text_after(server, "unix:");
        if (path && *path == '/') {
            if ((size_t)(at + n - path) >= size)
                return fail(err, ERROR_INVALID, ENAMETOOLONG, WHAT ": PULSE_SERVER: ");
            (void)snprintf(ret, size, "%.*s", (int)(at + n - path), path);
            return 0;
        }
        at += n;
        at += strspn(at, " ");
    }
    return 1;
}

/* DIRECTORY/name, where a variable names the directory. */
static bool path_in(const char *variable, const char *name, char ret[static PATH_MAX])
{
    const char *directory = getenv(variable);
    return directory && *directory == '/' &&
           snprintf(ret, PATH_MAX, "%s/%s", directory, name) < PATH_MAX;
}

/* Where PulseAudio's socket must be, because the caller says so, or can be; 1: nowhere. */
static int find_pulse(char ret[static PATH_MAX], bool *ret_named, struct error *err)
{
    const char *servers = getenv("PULSE_SERVER");
    *ret_named = servers && *servers;
    if (*ret_named) {
        int r = sound_parse_pulse(servers, ret, PATH_MAX, err);
        return r != 1 ? r
                      : fail(err, ERROR_UNSUPPORTED, EOPNOTSUPP,
                             WHAT ": PULSE_SERVER \"%.60s\": only a server of this machine can "
                                  "be handed over (unix:/PATH), none by network",
                             servers);
    }
    if ((path_in("PULSE_RUNTIME_PATH", "native", ret) ||
         path_in("XDG_RUNTIME_DIR", "pulse/native", ret)) &&
        access(ret, F_OK) == 0)
        return 0;
    (void)snprintf(ret, PATH_MAX, SYSTEM_WIDE);
    return access(ret, F_OK) == 0 ? 0 : 1;
}

static int open_cookie(void)
{
    char path[PATH_MAX];
    const char *named = getenv("PULSE_COOKIE");
    if (named && *named)
        return open(named, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (path_in("XDG_CONFIG_HOME", "pulse/cookie", path) ||
        path_in("HOME", ".config/pulse/cookie", path)) {
        int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
        if (fd >= 0 || errno != ENOENT)
            return fd;
    }
    return path_in("HOME", ".pulse-cookie", path)
               ? open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC)
               : -1;
}

/* A server without cookies (PipeWire's) makes no file of them. */
static int add_pulse_cookie(struct display *display, struct error *err)
{
    const char *named = getenv("PULSE_COOKIE");
    bool must = named && *named;
    _cleanup_buffer_ struct buffer content = {0};
    errno = ENOENT;
    _cleanup_close_ int fd = open_cookie();
    if (fd < 0 && errno == ENOENT && !must)
        return 0;
    int r = fd < 0 ? -errno : fd_read_all(fd, DISPLAY_FILE_MAX, &content);
    if (r < 0)
        return fail(err, ERROR_SYSTEM, r,
                    WHAT ": PulseAudio's cookie%s%.200s: ", must ? " " : "", must ? named : "");
    if (content.length == 0)
        return 0;
    display_set(display, "PULSE_COOKIE", "%s/" COOKIE_NAME, display->directory);
    return display_add_secret(display, COOKIE_NAME, content.data, content.length, err);
}

static int add_pulse(struct display *display, const char *path, struct error *err)
{
    char target[sizeof(display->directory) + 16];
    (void)snprintf(target, sizeof(target), "%s/pulse/native", display->directory);
    int r = display_add_socket(display, path, target, WHAT " (PulseAudio)", err);
    if (r < 0)
        return r;
    display_set(display, "PULSE_SERVER", "unix:%s", target);
    return add_pulse_cookie(display, err);
}

/* Where PipeWire's is; 1: nowhere. */
static int find_pipewire(char ret[static PATH_MAX], bool *ret_named, struct error *err)
{
    const char *remote = getenv("PIPEWIRE_REMOTE");
    *ret_named = remote && *remote;
    const char *name = *ret_named ? remote : "pipewire-0";
    if (strlen(name) >= PATH_MAX)
        return fail(err, ERROR_INVALID, ENAMETOOLONG, WHAT ": PIPEWIRE_REMOTE: ");
    if (*name == '/')
        (void)snprintf(ret, PATH_MAX, "%s", name);
    else if (!path_in("PIPEWIRE_RUNTIME_DIR", name, ret) &&
             !path_in("XDG_RUNTIME_DIR", name, ret))
        return *ret_named ? fail(err, ERROR_NOT_FOUND, ENOENT,
                                 WHAT ": PIPEWIRE_REMOTE \"%.60s\": XDG_RUNTIME_DIR, where it "
                                      "would be, is not set",
                                 name)
                          : 1;
    return *ret_named || access(ret, F_OK) == 0 ? 0 : 1;
}

static int add_pipewire(struct display *display, const char *path, struct error *err)
{
    char target[sizeof(display->directory) + 16];
    (void)snprintf(target, sizeof(target), "%s/pipewire-0", display->directory);
    int r = display_add_socket(display, path, target, WHAT " (PipeWire)", err);
    if (r == 0)
        display_set(display, "PIPEWIRE_REMOTE", "pipewire-0");
    return r;
}

int sound_hand_over(struct display *display, struct error *err)
{
    char pulse[PATH_MAX];
    char pipewire[PATH_MAX];
    bool pulse_named = false;
    bool pipewire_named = false;
    size_t before = display->n_sockets;
    int with_pulse = find_pulse(pulse, &pulse_named, err);
    if (with_pulse < 0)
        return with_pulse;
    int with_pipewire = find_pipewire(pipewire, &pipewire_named, err);
    if (with_pipewire < 0)
        return with_pipewire;
    if (with_pulse == 1 && with_pipewire == 1)
        return fail(err, ERROR_NOT_FOUND, ENOENT,
                    WHAT ": there is no sound server: neither PULSE_SERVER nor "
                         "PIPEWIRE_REMOTE is set, and XDG_RUNTIME_DIR (%.80s) has neither "
                         "pulse/native nor pipewire-0",
                    getenv("XDG_RUNTIME_DIR") ? getenv("XDG_RUNTIME_DIR") : "not set");
    int r = with_pulse == 0 ? add_pulse(display, pulse, err) : 0;
    /* what an ended server has left does not count where there is the other one */
    if (r == -ECONNREFUSED && !pulse_named && with_pipewire == 0)
        r = 0;
    if (r < 0 || with_pipewire == 1)
        return r;
    r = add_pipewire(display, pipewire, err);
    return r == -ECONNREFUSED && !pipewire_named && display->n_sockets > before ? 0 : r;
}
