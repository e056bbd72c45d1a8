/* SPDX-License-Identifier: Apache-2.0 */
/* varlink/scan.c: where the text is JSON, it finds what jansson finds, and counts as many
 * values. */
#include "target.h"

#include "base/text.h"
#include "varlink/varlink.h"

#include <jansson.h>
#include <string.h>

const bool target_needs_walls = false;

static const char *const paths[] = {
    "error", "parameters.message", "parameters.exit.code", "parameters", "a.b.c.d", ""};

/* The strings that jansson sees; names with an escape in them are no business of the scanner.
 */
static void compare(const char *text, const json_t *document, const char *path,
                    const char *found)
{
    const json_t *value = document;
    char copy[64];
    char *rest = NULL;
    (void)snprintf(copy, sizeof(copy), "%s", path);
    for (char *key = strtok_r(copy, ".", &rest); key; key = strtok_r(NULL, ".", &rest))
        value = json_object_get(value, key);
    if (strchr(text, '\\'))
        return;
    const char *string = json_string_value(value);
    MUST(!string == !found);
    MUST(!string || streq(string, found));
}

/* Values and names below this one, lists and objects with nothing in them once more. */
static size_t count_below(const json_t *value)
{
    size_t n = 0;
    size_t index = 0;
    const char *name = NULL;
    const json_t *item = NULL;
    if (json_array_size(value) + json_object_size(value) == 0)
        return json_is_array(value) || json_is_object(value);
    json_array_foreach((json_t *)value, index, item) n += 1 + count_below(item);
    json_object_foreach((json_t *)value, name, item) n += 2 + count_below(item);
    return n;
}

void target_run(const uint8_t *data, size_t size)
{
    struct input input = {data, size};
    const char *path = paths[input_below(&input, ELEMENTS(paths))];
    size_t room = input_below(&input, 64) + 1;
    _cleanup_free_ char *text = input_rest(&input);
    _cleanup_free_ char *out = malloc(strlen(text) * 3 + 1);
    _cleanup_free_ char *small = malloc(room);
    size_t length = 0;
    if (!out || !small)
        return;
    const char *value = json_scan(text, path, &length);
    MUST(!value || (value >= text && value + length <= text + strlen(text)));
    bool found = json_scan_string(text, path, out, strlen(text) * 3 + 1);
    /* what does not fit is not looked at any more */
    MUST(json_scan_string(text, path, small, room) || !found);
    MUST(!found || strncmp(small, out, strlen(small)) == 0);
    json_t *document = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    MUST(json_count_values(text) <= strlen(text));
    MUST(!document || json_count_values(text) == count_below(document));
    if (document)
        compare(text, document, path, found ? out : NULL);
    json_decref(document);
}
