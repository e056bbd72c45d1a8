/* SPDX-License-Identifier: Apache-2.0 */
/* Directories, files, devices and sockets of a run: see run.h. Runs as the caller, whose rights
 * open what is named. */
#include "client/run.h"

#include "base/text.h"
#include "sys/fd.h"

#include <fcntl.h>
#include <limits.h>
#include <string.h>

/* The options behind DST: ro, rw and rbind, separated by ',' or ':'. */
static int parse_bind_options(const char *text, bool *ret_read_only, bool *ret_recursive,
                              struct error *err)
{
    bool writable = false;
    for (const char *p = text; *p;) {
        size_t n = strcspn(p, ",:");
        if (n == 2 && memcmp(p, "ro", 2) == 0)
            *ret_read_only = true;
        else if (n == 2 && memcmp(p, "rw", 2) == 0)
            writable = true;
        else if (n == 5 && memcmp(p, "rbind", 5) == 0)
            *ret_recursive = true;
        else
            return fail(err, ERROR_INVALID, EINVAL,
                        "--bind: unknown option \"%s\"; there are ro, rw and rbind", text);
        p += n + (p[n] != '\0');
    }
    if (writable && *ret_read_only)
        return fail(err, ERROR_INVALID, EINVAL,
                    "--bind: ro and rw exclude each other in \"%s\"", text);
    return 0;
}

/* An element of binds, of the last fd; options are its members of true or false. */
static void append_bind(struct run_draft *draft, const char *source, const char *target,
                        const char *options)
{
    buffer_printf(&draft->binds, "%s{\"fd\":%zu,%s,\"target\":", draft->binds.length ? "," : "",
                  draft->fds.n - 1, options);
    buffer_append_json_string(&draft->binds, target);
    buffer_append_text(&draft->binds, ",\"source\":");
    buffer_append_json_string(&draft->binds, source);
    buffer_append_char(&draft->binds, '}');
}

static int add_opened(struct run_draft *draft, const char *source, const char *target,
                      const char *options, struct error *err)
{
    int fd = open(source, O_PATH | O_CLOEXEC);
    if (fd < 0)
        return fail(err, errno == ENOENT ? ERROR_NOT_FOUND : ERROR_SYSTEM, errno,
                    "%s: source %s: ", strstr(options, "device") ? "--device" : "--bind",
                    source);
    int r = fd_list_add(&draft->fds, fd);
    if (r < 0)
        return fail(err, ERROR_INVALID, r, "--bind: too many binds: ");
    char resolved[PATH_MAX];
    const char *name = realpath(source, resolved) && text_is_utf8(resolved, strlen(resolved))
                           ? resolved
                           : "(not UTF-8)";
    append_bind(draft, name, target, options);
    return 0;
}

int run_draft_socket(struct run_draft *draft, int take_fd, const char *source,
                     const char *target, struct error *err)
{
    int r = fd_list_add(&draft->fds, take_fd);
    if (r < 0)
        return fail(err, ERROR_INVALID, r, "too many binds: ");
    /* read-only: a socket can be connected to all the same, and its mode stays as it is */
    append_bind(draft, source, target, "\"read_only\":true,\"connect\":true");
    return 0;
}

int run_draft_bind(struct run_draft *draft, const char *source, const char *target,
                   const char *options, struct error *err)
{
    bool read_only = false;
    bool recursive = false;
    char flags[64];
    int r = parse_bind_options(options, &read_only, &recursive, err);
    if (r == 0)
        r = draft_need_utf8("--bind", target, err);
    if (r < 0)
        return r;
    (void)snprintf(flags, sizeof(flags), "\"read_only\":%s,\"recursive\":%s",
                   read_only ? "true" : "false", recursive ? "true" : "false");
    return add_opened(draft, source, target, flags, err);
}

int run_draft_device(struct run_draft *draft, const char *source, const char *target,
                     struct error *err)
{
    int r = draft_need_utf8("--device", target, err);
    return r < 0 ? r : add_opened(draft, source, target, "\"device\":true", err);
}

int draft_bind(struct run_draft *draft, const char *value, struct error *err)
{
    char source[PATH_MAX];
    char target[PATH_MAX];
    const char *colon = strchr(value, ':');
    if (!colon || colon == value || (size_t)(colon - value) >= sizeof(source))
        return fail(err, ERROR_INVALID, EINVAL,
                    "--bind \"%s\": write SRC:DST or SRC:DST:ro, for example .:/work", value);
    (void)snprintf(source, sizeof(source), "%.*s", (int)(colon - value), value);
    size_t n = strcspn(colon + 1, ":");
    if (n == 0 || n >= sizeof(target))
        return fail(err, ERROR_INVALID, EINVAL, "--bind \"%s\": DST is missing", value);
    (void)snprintf(target, sizeof(target), "%.*s", (int)n, colon + 1);
    const char *rest = colon + 1 + n;
    /* a slash at the end is how people write directories */
    while (n > 1 && target[n - 1] == '/')
        target[--n] = '\0';
    return run_draft_bind(draft, source, target, *rest ? rest + 1 : "", err);
}
