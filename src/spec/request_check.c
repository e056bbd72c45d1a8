/* SPDX-License-Identifier: Apache-2.0 */
/* Whether a request's members go together, once each of them has been decoded. Runs in
 * isolated; all values are the caller's. */
#include "base/text.h"
#include "spec/names.h"
#include "spec/request.h"

#include <string.h>

static int check_duplicates(const struct run_request *request, struct error *err)
{
    uint32_t n = request->n_binds + request->n_tmpfs;
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t j = 0; j < i; j++) {
            const char *a = i < request->n_binds ? request->binds[i].target
                                                 : request->tmpfs[i - request->n_binds].target;
            const char *b = j < request->n_binds ? request->binds[j].target
                                                 : request->tmpfs[j - request->n_binds].target;
            if (streq(a, b))
                return fail(err, ERROR_INVALID, EEXIST, "two binds or tmpfs at %s", a);
        }
    return 0;
}

static bool is_at_or_below(const char *path, const char *parent)
{
    const char *rest = text_after(path, parent);
    return rest && (*rest == '/' || *rest == '\0');
}

/* Nothing else may be mounted over what is handed over of the display. */
static int check_display(const struct run_request *request, struct error *err)
{
    const char *directory = request->display.directory;
    for (uint32_t i = 0; directory && i < request->n_binds + request->n_tmpfs; i++) {
        const struct run_bind *bind = i < request->n_binds ? &request->binds[i] : NULL;
        const char *over = bind ? bind->target : request->tmpfs[i - request->n_binds].target;
        const char *covered =
            !(bind && bind->connect) && is_at_or_below(directory, over) ? directory : NULL;
        for (uint32_t j = 0; bind && !bind->connect && j < request->n_binds; j++)
            if (request->binds[j].connect && is_at_or_below(request->binds[j].target, over))
                covered = request->binds[j].target;
        if (covered)
            return fail(err, ERROR_INVALID, EBUSY,
                        "%s at %.100s: would cover %.150s, where the display or sound is "
                        "handed over; choose another place for it",
                        bind ? "bind" : "tmpfs", over, covered);
    }
    return 0;
}

/* The template's init is started as it wants to be: by root, from "/", on a console. */
static int check_boot(const struct run_request *request, struct error *err)
{
    const struct {
        bool asked;
        const char *what;
    } refused[] = {
        {request->n_argv > 0, "a command"},
        {request->entrypoint && *request->entrypoint, "--entrypoint"},
        {request->user != NULL, "--user"},
        {request->here, "--here"},
        {request->workdir != NULL, "--workdir"},
    };
    for (size_t i = 0; request->boot && i < ELEMENTS(refused); i++)
        if (refused[i].asked)
            return fail(err, ERROR_INVALID, EINVAL,
                        "--boot: %s cannot go with it: the template's own init is started, as "
                        "root; other commands by `isolate exec`",
                        refused[i].what);
    return request->boot && !request->tty
               ? fail(err, ERROR_INVALID, EINVAL, "request: boot needs tty, for its console")
               : 0;
}

int run_request_check(const struct run_request *request, struct error *err)
{
    int sources = !!request->template_name + !!request->root + !!request->kept +
                  !!request->sandbox + request->host;
    if (sources != 1)
        return fail(err, ERROR_INVALID, EINVAL,
                    "request: exactly one of template, root, host, kept and sandbox is needed");
    if ((request->pre_hook || request->post_hook) && (request->detach || request->hold))
        return fail(err, ERROR_INVALID, EINVAL, "request: hooks are not for %s",
                    request->detach ? "detach: nobody is there to run them" : "hold");
    if (request->kept && request->first_id)
        return fail(err, ERROR_INVALID, EINVAL,
                    "request: first_id: a kept sandbox has the ids that it was made with");
    int r = request->template_name ? name_check_template(request->template_name, err) : 0;
    if (r == 0 && request->name)
        r = name_check_sandbox(request->name, err);
    if (r == 0 && request->hostname)
        r = name_check_hostname(request->hostname, err);
    if (r == 0 && request->workdir && request->workdir[0] != '/')
        r = fail(err, ERROR_INVALID, EINVAL, "working directory \"%.200s\": not absolute",
                 request->workdir);
    if (r == 0)
        r = network_check(&request->network, err);
    if (r == 0)
        r = check_boot(request, err);
    if (r == 0)
        r = check_duplicates(request, err);
    return r < 0 ? r : check_display(request, err);
}

/* Whoever closes what nothing is done with may wait for it: see daemon/foreign.h. */
int run_request_check_fds(const bool *named, size_t n_fds, struct error *err)
{
    for (size_t i = 0; i < n_fds; i++)
        if (!named[i])
            return fail(err, ERROR_INVALID, EINVAL,
                        "request: fd %zu of the message is named by no member", i);
    return 0;
}
