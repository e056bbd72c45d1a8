/* SPDX-License-Identifier: Apache-2.0 */
/* Specs in files: the request of a run without what belongs to one connection. Checked here by
 * the code that checks requests in isolated, so that an error names the file; isolated checks
 * again. Runs as the caller; the file may be anybody's. */
#include "client/saved.h"

#include "base/text.h"
#include "client/json_file.h"
#include "spec/display_path.h"
#include "spec/request.h"
#include "sys/fd.h"

#include <fcntl.h>
#include <string.h>

#define SPEC_MAX (16U << 20) /* bytes */
#define VERSION  1           /* of the document with a spec in it */

/* What only means something to one message or while one client is there, or is another verb's:
 * everything else of a request is saved as it is. */
static const struct {
    const char *name;
    const char *why;
} not_saved[] = {
    {"client", "is the client's own"},
    {"control", "is of one connection"},
    {"root_fd", "is of one connection; \"root\" is a path"},
    {"kept", "is for `isolate start`"},
    {"sandbox", "is for `isolate exec`"},
    {"pre_hook", "is run by who runs the spec (--pre-hook)"},
    {"post_hook", "is run by who runs the spec (--post-hook)"},
    {"hold", "is for `isolate template update`"},
    {"usage", "is for who wants a receipt (--receipt)"},
};

static const char *why_not_saved(const char *name)
{
    for (size_t i = 0; i < ELEMENTS(not_saved); i++)
        if (streq(name, not_saved[i].name))
            return not_saved[i].why;
    return NULL;
}

json_t *spec_of_request(const json_t *request)
{
    json_t *spec = json_deep_copy(request);
    size_t index = 0;
    json_t *bind = NULL;
    for (size_t i = 0; i < ELEMENTS(not_saved); i++)
        (void)json_object_del(spec, not_saved[i].name);
    json_t *binds = json_array();
    json_array_foreach(json_object_get(spec, "binds"), index, bind)
    {
        (void)json_object_del(bind, "fd");
        if (!json_is_true(json_object_get(bind, "connect")))
            (void)json_array_append(binds, bind);
    }
    /* sockets and secrets of a display are looked for anew by whoever runs it */
    json_t *display = json_object_get(spec, "display");
    (void)json_object_del(display, "files");
    (void)json_object_del(display, "directory");
    if (json_array_size(binds) < json_array_size(json_object_get(spec, "binds")))
        (void)json_object_set(spec, "binds", binds);
    json_decref(binds);
    return spec;
}

static int check_name(const char *name, struct error *err)
{
    const char *known[64];
    size_t n = 0;
    const char *why = why_not_saved(name);
    if (why)
        return fail(err, ERROR_INVALID, EINVAL, "\"%s\" %s, and no part of a spec", name, why);
    for (size_t i = 0; run_request_member(i); i++) {
        if (streq(name, run_request_member(i)))
            return 0;
        if (n < ELEMENTS(known) && !why_not_saved(run_request_member(i)))
            known[n++] = run_request_member(i);
    }
    const char *nearest = text_nearest(name, known, n);
    return fail(err, ERROR_INVALID, EINVAL, "unknown key \"%.60s\"%s%s%s", name,
                nearest ? "; did you mean \"" : "", nearest ? nearest : "",
                nearest ? "\"?" : "");
}

/* The source is opened by whoever runs the spec, wherever that is. */
static int check_binds(const json_t *binds, struct error *err)
{
    size_t index = 0;
    const json_t *bind = NULL;
    json_array_foreach((json_t *)binds, index, bind)
    {
        const char *source = json_string_value(json_object_get(bind, "source"));
        if (json_object_get(bind, "fd"))
            return fail(err, ERROR_INVALID, EINVAL,
                        "\"binds\"[%zu]: \"fd\" is of one connection, and no part of a spec",
                        index);
        if (!source || source[0] != '/')
            return fail(err, ERROR_INVALID, EINVAL,
                        "\"binds\"[%zu]: \"source\" must be an absolute path", index);
        if (!json_is_string(json_object_get(bind, "target")))
            return fail(err, ERROR_INVALID, EINVAL, "\"binds\"[%zu]: \"target\" is missing",
                        index);
    }
    return 0;
}

/* As isolated checks what is sent: with an fd wherever one will be. */
static int check_as_request(const json_t *spec, struct error *err)
{
    _cleanup_run_request_ struct run_request decoded = {0};
    json_t *request = json_deep_copy(spec);
    json_t *display = json_object_get(request, "display");
    if (display && !json_object_get(display, "directory")) /* found when it is run */
        (void)json_object_set_new(display, "directory", json_string(DISPLAY_PARENT "/0"));
    size_t index = 0;
    json_t *bind = NULL;
    json_array_foreach(json_object_get(request, "binds"), index, bind)
    {
        (void)json_object_set_new(bind, "fd", json_integer(0));
    }
    (void)json_object_set_new(request, "root_fd", json_integer(0));
    int r = request ? run_request_decode_asked(request, 1, &decoded, err)
                    : fail(err, ERROR_SYSTEM, ENOMEM, "out of memory");
    json_decref(request);
    const char *rest = r < 0 ? text_after(err->text, "request: ") : NULL;
    if (rest)
        memmove(err->text, rest, strlen(rest) + 1);
    return r;
}

static int check(const json_t *spec, struct error *err)
{
    const char *name = NULL;
    const json_t *value = NULL;
    if (!json_is_object(spec))
        return fail(err, ERROR_INVALID, EINVAL, "a spec is an object of JSON");
    json_object_foreach((json_t *)spec, name, value)
    {
        int r = check_name(name, err);
        if (r < 0)
            return r;
    }
    const char *root = json_string_value(json_object_get(spec, "root"));
    if (root && root[0] != '/')
        return fail(err, ERROR_INVALID, EINVAL, "\"root\" must be an absolute path");
    int r = check_binds(json_object_get(spec, "binds"), err);
    return r < 0 ? r : check_as_request(spec, err);
}

/* A whole explanation: its spec is taken out, the plan is only what it came to then. */
static int unwrap(json_t **document, struct error *err)
{
    const char *name = NULL;
    const json_t *value = NULL;
    json_t *spec = json_object_get(*document, "spec");
    if (!spec)
        return 0;
    json_object_foreach(*document, name, value)
    {
        if (streq(name, "version") ? json_integer_value(value) != VERSION
                                   : !streq(name, "plan") && !streq(name, "spec"))
            return fail(err, ERROR_INVALID, EINVAL,
                        streq(name, "version")
                            ? "\"%s\" is not 1; it was saved by another version of isolate"
                            : "unknown key \"%.60s\" beside \"spec\"",
                        name);
    }
    json_incref(spec);
    json_decref(*document);
    *document = spec;
    return 0;
}

int spec_read(const char *path, json_t **ret, struct error *err)
{
    json_t *spec = NULL;
    int r = json_file_read("--spec", path, SPEC_MAX, &spec, err);
    if (r < 0)
        return r;
    r = unwrap(&spec, err);
    if (r == 0)
        r = check(spec, err);
    if (r < 0) {
        json_decref(spec);
        return error_prefix(err, r, "--spec %s: ", path);
    }
    *ret = spec;
    return 0;
}

/* What the draft has in another shape than as a member. */
static bool is_drafted(const char *name)
{
    static const char *const drafted[] = {"env",     "env_base64", "binds", "tty",
                                          "detach",  "stdin_open", "root",  "host",
                                          "display", "ulimits"};
    for (size_t i = 0; i < ELEMENTS(drafted); i++)
        if (streq(name, drafted[i]))
            return true;
    return why_not_saved(name) != NULL;
}

static void draft_flags(const json_t *spec, struct run_draft *draft)
{
    const char *engine = json_string_value(json_object_get(spec, "engine"));
    draft->tty = draft->tty || json_is_true(json_object_get(spec, "tty"));
    draft->interactive =
        draft->interactive || json_is_true(json_object_get(spec, "stdin_open"));
    draft->no_isolation = engine && streq(engine, "chroot");
    draft->wants_end = true; /* it may have binds or a name */
    if (!draft->detach && json_is_true(json_object_get(spec, "detach"))) {
        draft->detach = true;
        run_draft_true(draft, "detach");
    }
}

int spec_draft(const char *path, const json_t *spec, struct run_draft *draft, struct error *err)
{
    int r = 0;
    const char *root = json_string_value(json_object_get(spec, "root"));
    for (size_t i = 0; r == 0 && run_request_member(i); i++) {
        const char *name = run_request_member(i);
        if (!is_drafted(name))
            r = run_draft_repeat(draft, spec, &name, 1);
    }
    if (r == 0)
        r = run_draft_repeat_environment(draft, spec);
    if (r < 0)
        return fail(err, ERROR_SYSTEM, r, "--spec %s: ", path);
    draft_flags(spec, draft);
    if (json_is_true(json_object_get(spec, "stdin_open")) && !draft->detach)
        return fail(err, ERROR_INVALID, EINVAL,
                    "--spec %s: \"stdin_open\" goes with \"detach\", or with -d", path);
    if (root || json_is_true(json_object_get(spec, "host")))
        r = run_draft_template(draft, root ? root : "@host", err);
    if (r == 0)
        r = run_draft_repeat_binds(draft, spec, err);
    run_draft_repeat_display(draft, spec);
    run_draft_repeat_ulimits(draft, spec);
    return r < 0 ? error_prefix(err, r, "--spec %s: ", path) : 0;
}
