/* SPDX-License-Identifier: Apache-2.0 */
/* Decoding of what a run gets of the caller's display. Runs in isolated; the JSON is the
 * caller's. */
#include "spec/display.h"

#include "base/text.h"

#include <string.h>

static int bad(struct error *err, const char *what)
{
    return fail(err, ERROR_INVALID, EINVAL, "request: \"display\": %s", what);
}

/* One component of a path, of letters that need no care anywhere. */
static bool is_name(const char *text)
{
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
    size_t n = strspn(text, letters);
    return n > 0 && n <= DISPLAY_NAME_MAX && text[n] == '\0' && text[0] != '.';
}

static bool is_hex(const char *text)
{
    size_t n = strspn(text, "0123456789abcdef");
    return text[n] == '\0' && n % 2 == 0 && n <= 2 * (size_t)DISPLAY_FILE_MAX;
}

/* A string without NUL inside, else "". */
static const char *string_of(const json_t *object, const char *name)
{
    const json_t *value = json_object_get(object, name);
    const char *text = json_string_value(value);
    return text && strlen(text) == json_string_length(value) ? text : "";
}

static int check_members(const json_t *object, const char *const *known, struct error *err)
{
    const char *name = NULL;
    const json_t *value = NULL;
    if (!json_is_object(object))
        return bad(err, "must be {kinds, directory, files}, each file {name, hex}");
    json_object_foreach((json_t *)object, name, value)
    {
        size_t i = 0;
        while (known[i] && !streq(known[i], name))
            i++;
        if (!known[i])
            return fail(err, ERROR_INVALID, EINVAL,
                        "request: \"display\": no member \"%.40s\" is known", name);
    }
    return 0;
}

static int check_kinds(const json_t *kinds, struct error *err)
{
    static const char *const known[] = {"x11", "x11-trusted", "wayland", "audio"};
    size_t index = 0;
    const json_t *item = NULL;
    if (json_array_size(kinds) == 0 || json_array_size(kinds) > ELEMENTS(known))
        return bad(err, "\"kinds\" must be a list of x11, x11-trusted, wayland and audio");
    json_array_foreach((json_t *)kinds, index, item)
    {
        const char *word = json_string_value(item);
        size_t i = 0;
        while (word && i < ELEMENTS(known) && !streq(known[i], word))
            i++;
        if (!word || i == ELEMENTS(known))
            return bad(err, "\"kinds\" must be a list of x11, x11-trusted, wayland and audio");
    }
    return 0;
}

static int take_file(const json_t *value, struct run_display *display, struct error *err)
{
    static const char *const members[] = {"name", "hex", NULL};
    int r = check_members(value, members, err);
    if (r < 0)
        return r;
    const char *name = string_of(value, "name");
    const char *hex = string_of(value, "hex");
    if (!is_name(name) || !is_hex(hex))
        return bad(err, "a file needs a plain name and at most 1024 bytes in lower-case hex");
    for (uint32_t i = 0; i < display->n_files; i++)
        if (streq(display->files[i].name, name))
            return bad(err, "two files of one name");
    struct display_file *file = &display->files[display->n_files++];
    file->name = strdup(name);
    file->hex = strdup(hex);
    return file->name && file->hex ? 0 : fail(err, ERROR_SYSTEM, ENOMEM, "request: ");
}

static int decode(const json_t *value, struct run_display *display, struct error *err)
{
    static const char *const members[] = {"kinds", "directory", "files", NULL};
    int r = check_members(value, members, err);
    if (r == 0)
        r = check_kinds(json_object_get(value, "kinds"), err);
    if (r < 0)
        return r;
    const char *directory = string_of(value, "directory");
    const char *name = text_after(directory, DISPLAY_PARENT "/");
    if (!name || !is_name(name))
        return bad(err, "\"directory\" must be " DISPLAY_PARENT "/NAME");
    display->directory = strdup(directory);
    if (!display->directory)
        return fail(err, ERROR_SYSTEM, ENOMEM, "request: ");
    const json_t *files = json_object_get(value, "files");
    if (files && (!json_is_array(files) || json_array_size(files) > DISPLAY_FILES))
        return bad(err, "\"files\" must be a list of at most 4");
    for (size_t i = 0; r == 0 && i < json_array_size(files); i++)
        r = take_file(json_array_get(files, i), display, err);
    return r;
}

int run_display_decode(const json_t *value, struct run_display *ret, struct error *err)
{
    struct run_display display = {0};
    int r = decode(value, &display, err);
    if (r == 0)
        *ret = display;
    else
        run_display_clear(&display);
    return r;
}

void run_display_clear(struct run_display *display)
{
    freep(&display->directory);
    for (uint32_t i = 0; i < display->n_files; i++) {
        freep(&display->files[i].name);
        freep(&display->files[i].hex);
    }
    display->n_files = 0;
}

json_t *run_display_without_secrets(json_t *parameters)
{
    const json_t *display = json_object_get(parameters, "display");
    if (!json_object_get(display, "files"))
        return json_incref(parameters);
    json_t *shown = json_copy((json_t *)display);
    json_t *copy = json_copy(parameters);
    if (shown && copy && json_object_del(shown, "files") == 0 &&
        json_object_set(copy, "display", shown) == 0) {
        json_decref(shown);
        return copy;
    }
    json_decref(shown);
    json_decref(copy);
    return NULL;
}
