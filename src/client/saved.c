/* SPDX-License-Identifier: Apache-2.0 */
/* See saved.h. What stands in the request was checked, by isolated or by spec_read. */
#include "client/saved.h"

#include "base/text.h"
#include "spec/base64.h"

#include <string.h>

int run_draft_repeat(struct run_draft *draft, const json_t *request, const char *const *names,
                     size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const json_t *value =
            run_draft_has(draft, names[i]) ? NULL : json_object_get(request, names[i]);
        char *text = value ? json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
        if (value && !text)
            return -ENOMEM;
        if (text)
            buffer_append_text(run_draft_member(draft, names[i]), text);
        free(text);
    }
    return 0;
}

static int add_variables(struct buffer *out, const json_t *list, bool base64)
{
    size_t index = 0;
    const json_t *item = NULL;
    json_array_foreach((json_t *)list, index, item)
    {
        const char *text = json_string_value(item);
        char *value = !text ? NULL : base64 ? base64_decode_text(text) : strdup(text);
        if (!value)
            return -ENOMEM;
        buffer_append(out, value, strlen(value) + 1);
        free(value);
    }
    return 0;
}

int run_draft_repeat_environment(struct run_draft *draft, const json_t *request)
{
    _cleanup_buffer_ struct buffer variables = {0};
    int r = add_variables(&variables, json_object_get(request, "env"), false);
    if (r == 0)
        r = add_variables(&variables, json_object_get(request, "env_base64"), true);
    run_draft_env_first(draft, &variables);
    return r;
}

int run_draft_repeat_binds(struct run_draft *draft, const json_t *request, struct error *err)
{
    size_t index = 0;
    const json_t *bind = NULL;
    int r = 0;
    json_array_foreach(json_object_get(request, "binds"), index, bind)
    {
        if (json_is_true(json_object_get(bind, "connect")))
            continue; /* of the display, which is looked for again */
        bool read_only = json_is_true(json_object_get(bind, "read_only"));
        bool recursive = json_is_true(json_object_get(bind, "recursive"));
        const char *options = read_only && recursive ? "ro,rbind"
                              : read_only            ? "ro"
                              : recursive            ? "rbind"
                                                     : "";
        const char *source = json_string_value(json_object_get(bind, "source"));
        const char *target = json_string_value(json_object_get(bind, "target"));
        r = json_is_true(json_object_get(bind, "device"))
                ? run_draft_device(draft, source, target, err)
                : run_draft_bind(draft, source, target, options, err);
        if (r < 0)
            return r;
    }
    return 0;
}

void run_draft_repeat_ulimits(struct run_draft *draft, const json_t *request)
{
    size_t index = 0;
    const json_t *item = NULL;
    _cleanup_buffer_ struct buffer given = draft->ulimits;
    draft->ulimits = (struct buffer){.failed = given.failed};
    json_array_foreach(json_object_get(request, "ulimits"), index, item)
    {
        const char *text = json_string_value(item);
        buffer_append_text(&draft->ulimits, index > 0 ? "," : "");
        buffer_append_json_string(&draft->ulimits, text ? text : "");
    }
    if (given.length == 0)
        return;
    buffer_append_text(&draft->ulimits, draft->ulimits.length > 0 ? "," : "");
    buffer_append(&draft->ulimits, given.data, given.length);
}

void run_draft_repeat_display(struct run_draft *draft, const json_t *request)
{
    size_t index = 0;
    const json_t *kind = NULL;
    const json_t *display = json_object_get(request, "display");
    json_array_foreach(json_object_get(display, "kinds"), index, kind)
    {
        (void)run_draft_display_kind(draft, json_string_value(kind));
    }
}
