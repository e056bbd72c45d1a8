/* SPDX-License-Identifier: Apache-2.0 */
/* Small JSON files of stores. Runs in isolated as root; the files are isolate's own,
 * below a directory that only root enters, but may be damaged: every value is checked. */
#include "storage/store_json.h"
#include "storage/store.h"
#include "sys/fd.h"

#include <string.h>

json_t *store_json_read(int dir_fd, const char *name)
{
    _cleanup_buffer_ struct buffer text = {0};
    if (file_read_at(dir_fd, name, 1U << 20, &text) < 0 || !text.data)
        return NULL;
    return json_loadb(text.data, text.length, 0, NULL);
}

static int write_value(int dir_fd, const char *name, json_t *take_value, bool durable)
{
    if (!take_value)
        return -ENOMEM;
    char *text = json_dumps(take_value, JSON_INDENT(1));
    json_decref(take_value);
    if (!text)
        return -ENOMEM;
    int r = file_replace_at(dir_fd, name, text, strlen(text), durable);
    free(text);
    return r;
}

int store_json_write(int dir_fd, const char *name, json_t *take_value)
{
    return write_value(dir_fd, name, take_value, true);
}

int store_json_write_unsynced(int dir_fd, const char *name, json_t *take_value)
{
    return write_value(dir_fd, name, take_value, false);
}

json_t *layer_stack_to_json(const struct layer_stack *stack)
{
    json_t *array = json_array();
    for (size_t i = 0; array && i < stack->n; i++)
        if (json_array_append_new(array,
                                  json_pack("{s:s, s:I}", "id", stack->items[i].id, "first_id",
                                            (json_int_t)stack->items[i].first_id)) < 0) {
            json_decref(array);
            return NULL;
        }
    return array;
}

int layer_stack_from_json(const json_t *value, struct layer_stack *ret)
{
    size_t index = 0;
    json_t *item = NULL;
    ret->n = 0;
    if (!json_is_array(value) || json_array_size(value) == 0 ||
        json_array_size(value) > LAYERS_MAX)
        return -EINVAL;
    json_array_foreach(value, index, item)
    {
        const char *id = NULL;
        json_int_t first_id = 0;
        struct layer *layer = &ret->items[index];
        if (json_unpack(item, "{s:s, s:I}", "id", &id, "first_id", &first_id) < 0 ||
            strlen(id) >= sizeof(layer->id) || strchr(id, '/') || id[0] == '.' ||
            first_id < 0 || first_id > UINT32_MAX)
            return -EINVAL;
        (void)snprintf(layer->id, sizeof(layer->id), "%s", id);
        layer->first_id = (uint32_t)first_id;
    }
    ret->n = json_array_size(value);
    return 0;
}
