/* SPDX-License-Identifier: Apache-2.0 */
/* varlink/scan.c: where the text is JSON, it finds what jansson finds. */
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
    if (document)
        compare(text, document, path, found ? out : NULL);
    json_decref(document);
}
