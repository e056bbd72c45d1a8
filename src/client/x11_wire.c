/* SPDX-License-Identifier: Apache-2.0 */
/* The X protocol's first steps. Runs as the caller. Source: X Window System Protocol, sections
 * 8 (connection setup) and 9 (ListHosts); families of hosts: X.h, Xauth(3). */
#include "client/x11_wire.h"

#include "client/display.h"
#include "sys/fd.h"
#include "sys/socket.h"

#include <string.h>

#define PROTOCOL_MAJOR 11
#define LIST_HOSTS     110
#define REPLY          1
#define ACCEPTED       1
#define FAMILY_LOCAL   252 /* "LOCAL:" of xhost */
#define FAMILY_NAMED   5   /* "SI:localuser:…" */
#define REASON_MAX     200
#define PAD4(n)        (((n) + 3) & ~(size_t)3)

struct setup {
    unsigned char byte_order;
    unsigned char unused;
    uint16_t major;
    uint16_t minor;
    uint16_t name_length;
    uint16_t data_length;
    uint16_t unused2;
    char rest[PAD4(sizeof(XAUTH_PROTOCOL) - 1) + XAUTH_COOKIE];
};

struct setup_answer {
    unsigned char status;
    unsigned char reason_length;
    uint16_t major;
    uint16_t minor;
    uint16_t length; /* of what follows, in units of 4 bytes */
};

struct hosts_answer {
    unsigned char type;
    unsigned char enabled;
    uint16_t sequence;
    uint32_t length; /* of what follows, in units of 4 bytes */
    uint16_t n;
    char unused[22];
};

struct host {
    unsigned char family;
    unsigned char unused;
    uint16_t length;
};

static int broken(int r, struct error *err)
{
    if (r == -EAGAIN)
        return fail(err, ERROR_BUSY, ETIMEDOUT, "the X server does not answer: ");
    return fail(err, ERROR_SYSTEM, r == -ENODATA ? ECONNRESET : r, "the X server: ");
}

/* Reads length bytes, of which the first size go into data. */
static int read_all(int fd, void *data, size_t size, size_t length)
{
    char scrap[4096];
    size_t n = length < size ? length : size;
    int r = fd_read_exactly(fd, data, n);
    for (length -= n; r == 0 && length > 0; length -= n) {
        n = length < sizeof(scrap) ? length : sizeof(scrap);
        r = fd_read_exactly(fd, scrap, n);
    }
    return r;
}

static int handshake(int fd, const struct xauth_cookie *cookie, struct error *err)
{
    const size_t name = sizeof(XAUTH_PROTOCOL) - 1;
    char reason[REASON_MAX] = "";
    struct setup_answer answer = {0};
    struct setup setup = {
        .byte_order = __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? 'l' : 'B',
        .major = PROTOCOL_MAJOR,
        .name_length = cookie ? name : 0,
        .data_length = cookie ? XAUTH_COOKIE : 0,
    };
    memcpy(setup.rest, XAUTH_PROTOCOL, name);
    if (cookie)
        memcpy(setup.rest + PAD4(name), cookie->data, sizeof(cookie->data));
    size_t length = cookie ? sizeof(setup) : offsetof(struct setup, rest);
    int r = socket_send(fd, &setup, length, NULL, 0);
    if (r == 0)
        r = fd_read_exactly(fd, &answer, sizeof(answer));
    if (r == 0)
        r = read_all(fd, reason, sizeof(reason) - 1, 4 * (size_t)answer.length);
    if (r < 0)
        return broken(r, err);
    if (answer.status == ACCEPTED)
        return 0;
    if (answer.reason_length < sizeof(reason))
        reason[answer.reason_length] = '\0';
    reason[strcspn(reason, "\n")] = '\0';
    return fail(err, ERROR_DENIED, EACCES, "the X server does not let us in: %s", reason);
}

int x11_connect(int socket_fd, const struct xauth_cookie *cookie, struct error *err)
{
    _cleanup_close_ int fd = display_connect(socket_fd);
    int r = fd < 0 ? broken(fd, err) : handshake(fd, cookie, err);
    return r < 0 ? r : TAKE_FD(fd);
}

/* One of the list: its family. */
static int read_host(int fd, size_t *left)
{
    struct host host = {0};
    char scrap[4];
    int r = *left < sizeof(host) ? -EPROTO : fd_read_exactly(fd, &host, sizeof(host));
    size_t length = PAD4((size_t)host.length);
    if (r == 0 && length > *left - sizeof(host))
        r = -EPROTO;
    if (r == 0)
        r = read_all(fd, scrap, 0, length);
    *left -= r < 0 ? 0 : sizeof(host) + length;
    return r < 0 ? r : host.family;
}

/* Who may connect without a cookie. */
struct hosts {
    bool enabled; /* else everybody */
    bool local;   /* every local user */
    bool named;   /* some users */
};

static int list_hosts(int fd, struct hosts *ret, struct error *err)
{
    const struct {
        unsigned char opcode;
        unsigned char unused;
        uint16_t length;
    } request = {.opcode = LIST_HOSTS, .length = 1};
    struct hosts_answer answer = {0};
    int r = socket_send(fd, &request, sizeof(request), NULL, 0);
    if (r == 0)
        r = fd_read_exactly(fd, &answer, sizeof(answer));
    if (r == 0 && answer.type != REPLY)
        r = -EPROTO;
    if (r < 0)
        return broken(r, err);
    ret->enabled = answer.enabled;
    size_t left = 4 * (size_t)answer.length;
    for (unsigned i = 0; i < answer.n; i++) {
        r = read_host(fd, &left);
        if (r < 0)
            return broken(r, err);
        ret->local = ret->local || r == FAMILY_LOCAL;
        ret->named = ret->named || r == FAMILY_NAMED;
    }
    return 0;
}

int x11_is_open(int fd, int socket_fd, struct error *err)
{
    struct hosts hosts = {0};
    int r = list_hosts(fd, &hosts, err);
    if (r < 0)
        return r;
    if (!hosts.enabled || hosts.local)
        return 1;
    if (hosts.named)
        return 0;
    /* a server that was given no cookies lets local users in and has nobody in its list */
    _cleanup_close_ int without = x11_connect(socket_fd, NULL, err);
    return without >= 0 ? 1 : without == -EACCES ? 0 : without;
}
