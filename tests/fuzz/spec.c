/* SPDX-License-Identifier: Apache-2.0 */
/* client/spec_file.c, saved.c: a spec in a file, of anybody. */
#include "target.h"

#include "client/run.h"
#include "client/saved.h"

#include <string.h>

const bool target_needs_walls = true; /* roots and binds are opened */

void target_run(const uint8_t *data, size_t size)
{
    char path[320];
    struct error err = {0};
    _cleanup_run_draft_ struct run_draft draft = {0};
    json_t *spec = NULL;
    (void)snprintf(path, sizeof(path), "%s/spec.json", target_directory());
    target_write("spec.json", data, size);
    if (spec_read(path, &spec, &err) < 0) {
        MUST(err.code != ERROR_NONE && strstr(err.text, "--spec"));
        return;
    }
    run_draft_string(&draft, "client", "0");
    if (spec_draft(path, spec, &draft, &err) == 0) {
        _cleanup_buffer_ struct buffer text = {0};
        buffer_append_char(&text, '{');
        run_draft_write(&draft, &text);
        buffer_append_char(&text, '}');
        json_t *again = json_loadb(text.data, text.length, JSON_REJECT_DUPLICATES, NULL);
        MUST(json_is_object(again));
        json_t *saved = spec_of_request(again);
        MUST(saved);
        json_decref(saved);
        json_decref(again);
    }
    json_decref(spec);
}
