/* SPDX-License-Identifier: Apache-2.0 */
/* daemon/record.c, storage/store_json.c: files of isolate's own, damaged. What was read is
 * written and read as the same. */
#include "target.h"

#include "daemon/record.h"
#include "storage/store.h"
#include "storage/store_json.h"

#include <string.h>

const bool target_needs_walls = false;

#define ID "t_1790000000000000000"

static void check_again(const struct record *record)
{
    struct record again = {0};
    struct buffer text = {0};
    json_t *value = record_to_json(record);
    if (!value)
        return; /* a text was cut off in the middle of a character */
    MUST(record_print(record, &text) == 0);
    target_write(ID, (const uint8_t *)text.data, text.length);
    buffer_clear(&text);
    MUST(record_read_head(target_directory_fd(), ID, &again, NULL) == 0);
    MUST(memcmp(again.storage, record->storage, sizeof(again.storage)) == 0 && !again.request);
    record_clear(&again);
    MUST(record_read(target_directory_fd(), ID, &again, NULL) == 0);
    json_t *other = record_to_json(&again);
    MUST(other && json_equal(value, other));
    json_decref(value);
    json_decref(other);
    record_clear(&again);
}

void target_run(const uint8_t *data, size_t size)
{
    struct error err = {0};
    struct record record = {0};
    static struct layer_stack stack;
    target_write(ID, data, size);
    int r = record_read(target_directory_fd(), ID, &record, &err);
    MUST(r == 0 || err.code == ERROR_SYSTEM);
    if (r == 0) {
        MUST(name_is_clone(record.id));
        check_again(&record);
        record_clear(&record);
    }
    target_write(ID, data, size);
    r = record_read_damaged(target_directory_fd(), ID, &record, &err);
    MUST(r >= 0 && name_is_clone(record.id));
    record_clear(&record);
    json_t *value = store_json_read(target_directory_fd(), ID);
    if (layer_stack_from_json(json_object_get(value, "layers"), &stack) == 0) {
        json_t *layers = layer_stack_to_json(&stack);
        MUST(json_array_size(layers) == stack.n && stack.n > 0 && stack.n <= LAYERS_MAX);
        json_decref(layers);
    }
    json_decref(value);
}
