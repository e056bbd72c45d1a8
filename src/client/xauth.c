/* SPDX-License-Identifier: Apache-2.0 */
/* Runs xauth. It gets its commands in a memfd, and another one as the authority file that it
 * would change: where it wants to put its new one beside that, in /proc, it cannot, so that
 * nothing comes of it but what it prints. Runs as the caller. */
#include "client/xauth.h"

#include "base/text.h"
#include "sys/fd.h"
#include "sys/program.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define PATIENCE_MS 10000
#define SAID_MAX    65536

/* The protocol's name, and 16 bytes of data, as `xauth nlist` writes them. */
#define ENTRY " 0012 4d49542d4d414749432d434f4f4b49452d31 0010 "

static int give_up(void *data, uint64_t running_ms, struct error *err)
{
    return running_ms < PATIENCE_MS
               ? 0
               : fail(err, ERROR_BUSY, ETIMEDOUT,
                      "xauth: the X server does not answer within %d s", PATIENCE_MS / 1000);
}

/* "NAME=VALUE" of the caller's; "NAME=" where it is not set would mean another thing. */
static void copy_variable(const char *name, const char *otherwise, char *ret, size_t size)
{
    const char *value = getenv(name);
    (void)snprintf(ret, size, "%s=%s", value ? name : otherwise, value ? value : "");
}

/* Runs xauth with these arguments and takes in everything that it says, whatever it ends with;
 * *ret_status is that. */
static int run(const char *const *arguments, struct buffer *ret, int *ret_status,
               struct error *err)
{
    char home[4200];
    char authority[4200];
    pid_t pid = -1;
    const struct program_watch watch = {give_up, NULL};
    const char *argv[16] = {"env", home, authority, "xauth", "-q", "-i"};
    _cleanup_close_ int out = memfd_create("xauth-said", MFD_CLOEXEC);
    if (out < 0)
        return fail(err, ERROR_SYSTEM, errno, "xauth: ");
    for (size_t i = 0; arguments[i]; i++)
        argv[6 + i] = arguments[i];
    copy_variable("HOME", "ISOLATE_NOTHING", home, sizeof(home));
    copy_variable("XAUTHORITY", "ISOLATE_NOTHING", authority, sizeof(authority));
    int r = program_start(argv, out, out, &pid, err);
    if (r == 0)
        r = program_wait_watched(pid, &watch, ret_status, err);
    if (r < 0)
        return r;
    r = lseek(out, 0, SEEK_SET) < 0 ? -errno : fd_read_all(out, SAID_MAX, ret);
    return r < 0 ? fail(err, ERROR_SYSTEM, r, "read what xauth says: ") : 0;
}

static int run_script(const char *script, struct buffer *ret, int *ret_status,
                      struct error *err)
{
    /* these are inherited */
    _cleanup_close_ int authority = memfd_create("xauth-authority", 0);
    _cleanup_close_ int commands = memfd_create("xauth-commands", 0);
    int r =
        authority < 0 || commands < 0 ? -errno : fd_write_all(commands, script, strlen(script));
    if (r < 0)
        return fail(err, ERROR_SYSTEM, r, "xauth: ");
    struct fd_path authority_path = fd_path(authority);
    struct fd_path commands_path = fd_path(commands);
    const char *const arguments[] = {"-f", authority_path.text, "source", commands_path.text,
                                     NULL};
    return run(arguments, ret, ret_status, err);
}

static unsigned digit(char c)
{
    return (unsigned)(c <= '9' ? c - '0' : c - 'a' + 10) & 15;
}

bool xauth_parse(const char *text, struct xauth_cookie *ret)
{
    const char *entry = strstr(text, ENTRY);
    const char *hex = entry ? entry + strlen(ENTRY) : "";
    if (strspn(hex, "0123456789abcdef") != 2 * sizeof(ret->data))
        return false;
    for (size_t i = 0; i < sizeof(ret->data); i++)
        ret->data[i] = (unsigned char)(digit(hex[2 * i]) << 4 | digit(hex[2 * i + 1]));
    return true;
}

/* The last thing it said is why. */
static int complain(const char *said, int status, struct error *err)
{
    char why[300];
    if (WIFEXITED(status) && (WEXITSTATUS(status) == 126 || WEXITSTATUS(status) == 127))
        return fail(err, ERROR_NOT_FOUND, ENOENT,
                    "the program xauth, which makes cookies of the X server, %s; install the "
                    "package xauth",
                    WEXITSTATUS(status) == 127 ? "is not installed" : "cannot be executed");
    program_complaint(said, why, sizeof(why));
    return fail(err, ERROR_SYSTEM, EIO, "xauth has made no cookie: %s", why);
}

int xauth_generate(const char *display, bool trusted, unsigned timeout_seconds,
                   struct xauth_cookie *ret, struct error *err)
{
    char script[160];
    int status = 0;
    _cleanup_buffer_ struct buffer said = {0};
    (void)snprintf(script, sizeof(script),
                   "generate %.40s " XAUTH_PROTOCOL " %s timeout %u\nnlist\nexit\n", display,
                   trusted ? "trusted" : "untrusted", timeout_seconds);
    int r = run_script(script, &said, &status, err);
    if (r < 0)
        return r;
    const char *text = said.data ? said.data : "";
    if (strstr(text, "couldn't query Security extension"))
        return 1;
    return xauth_parse(text, ret) ? 0 : complain(text, status, err);
}

int xauth_find(const char *display, struct xauth_cookie *ret, struct error *err)
{
    int status = 0;
    _cleanup_buffer_ struct buffer said = {0};
    const char *const arguments[] = {"nlist", display, NULL};
    int r = run(arguments, &said, &status, err);
    if (r < 0)
        return r;
    const char *text = said.data ? said.data : "";
    if (WIFEXITED(status) && WEXITSTATUS(status) > 1)
        return complain(text, status, err);
    return xauth_parse(text, ret) ? 0 : 1;
}

static void append_counted(struct buffer *out, const void *data, size_t length)
{
    buffer_append_char(out, (char)(length >> 8));
    buffer_append_char(out, (char)length);
    buffer_append(out, data, length);
}

void xauth_entry(const struct xauth_cookie *cookie, const char *number, struct buffer *ret)
{
    static const unsigned char family_wild[] = {0xff, 0xff};
    buffer_append(ret, family_wild, sizeof(family_wild));
    append_counted(ret, "", 0); /* the host's address: any */
    append_counted(ret, number, strlen(number));
    append_counted(ret, XAUTH_PROTOCOL, strlen(XAUTH_PROTOCOL));
    append_counted(ret, cookie->data, sizeof(cookie->data));
}
