/* SPDX-License-Identifier: Apache-2.0 */
/* What an image says of the commands that run in it (image-spec: config.md). Pure; runs in the
 * confined planner. The configuration is hostile: isolated decodes what comes out of here
 * again.
 */
#include "base/text.h"
#include "image/oci.h"

#include <limits.h>
#include <string.h>

static int bad(struct error *err, const char *what, const char *must_be)
{
    return fail(err, ERROR_INVALID, EINVAL, "the image's configuration: \"%s\" must be %s",
                what, must_be);
}

static bool is_plain_text(const json_t *value)
{
    const char *text = json_string_value(value);
    return text && strlen(text) == json_string_length(value);
}

/* config[name], a list of strings, becomes out[as]; null and missing are the same. */
static int take_list(const json_t *config, const char *name, json_t *out, const char *as,
                     struct error *err)
{
    size_t index = 0;
    const json_t *item = NULL;
    json_t *list = json_object_get(config, name);
    if (!list || json_is_null(list))
        return 0;
    if (!json_is_array(list))
        return bad(err, name, "a list of strings");
    json_array_foreach(list, index, item)
    {
        if (!is_plain_text(item))
            return bad(err, name, "a list of strings without NUL");
    }
    if (json_array_size(list) == 0)
        return 0;
    return json_object_set(out, as, list) < 0
               ? fail(err, ERROR_SYSTEM, ENOMEM, "the image's configuration: ")
               : 0;
}

static int take_text(const json_t *config, const char *name, json_t *out, const char *as,
                     struct error *err)
{
    json_t *value = json_object_get(config, name);
    if (!value || json_is_null(value))
        return 0;
    if (!is_plain_text(value))
        return bad(err, name, "a string without NUL");
    if (!*json_string_value(value))
        return 0;
    return json_object_set(out, as, value) < 0
               ? fail(err, ERROR_SYSTEM, ENOMEM, "the image's configuration: ")
               : 0;
}

/* A directory that is relative is so to "/". */
static int make_absolute(json_t *out, const char *name, struct error *err)
{
    const char *path = json_string_value(json_object_get(out, name));
    if (path && strlen(path) >= PATH_MAX - 1)
        return bad(err, "WorkingDir", "shorter");
    if (!path || *path == '/')
        return 0;
    return json_object_set_new(out, name, json_sprintf("/%s", path)) < 0
               ? fail(err, ERROR_SYSTEM, ENOMEM, "the image's configuration: ")
               : 0;
}

/* NAME=VALUE; a name alone would be copied from somewhere, and there is no such place here. */
static int take_env(const json_t *config, json_t *out, struct error *err)
{
    size_t index = 0;
    const json_t *item = NULL;
    int r = take_list(config, "Env", out, "env", err);
    json_t *kept = json_array();
    json_array_foreach(json_object_get(out, "env"), index, item)
    {
        const char *equals = strchr(json_string_value(item), '=');
        if (equals && equals != json_string_value(item))
            (void)json_array_append(kept, (json_t *)item);
    }
    if (json_object_get(out, "env"))
        (void)json_object_set(out, "env", kept);
    json_decref(kept);
    return r;
}

int oci_defaults(const json_t *config, json_t **ret, struct error *err)
{
    const json_t *run = json_object_get(config, "config");
    json_t *out = json_object();
    int r = out ? 0 : fail(err, ERROR_SYSTEM, ENOMEM, "the image's configuration: ");
    if (r == 0 && run && !json_is_object(run) && !json_is_null(run))
        r = bad(err, "config", "an object");
    if (r == 0)
        r = take_list(run, "Entrypoint", out, "entrypoint", err);
    if (r == 0)
        r = take_list(run, "Cmd", out, "cmd", err);
    if (r == 0)
        r = take_env(run, out, err);
    if (r == 0)
        r = take_text(run, "WorkingDir", out, "workdir", err);
    if (r == 0)
        r = make_absolute(out, "workdir", err);
    if (r == 0)
        r = take_text(run, "User", out, "user", err);
    if (r < 0) {
        json_decref(out);
        return r;
    }
    *ret = out;
    return 0;
}
