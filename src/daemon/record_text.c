/* SPDX-License-Identifier: Apache-2.0 */
/* What is in a record's file: two lines of JSON, one object each. The first is
 * small, and all that is looked for; the second is what a caller has sent, up to megabytes,
 * which the event loop is not to parse for each name that somebody asks for. Runs in isolated
 * as root; the files are its own, but every value is checked. */
#include "base/text.h"
#include "daemon/daemon.h"
#include "sys/fd.h"

#include <fcntl.h>
#include <string.h>

#define RECORD_MAX (32U << 20)
#define HEAD_MAX   (32U << 10) /* a path of 4 KiB can be six times that in JSON */

static const char *const part_names[] = {"request", "defaults", "provided"};

void record_clear(struct record *record)
{
    freep(&record->root);
    json_decref(record->request);
    json_decref(record->provided);
    json_decref(record->defaults);
    record->request = record->provided = record->defaults = NULL;
}

json_t *record_to_json(const struct record *record)
{
    json_t *value =
        json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:I}", "id", record->id,
                  "name", record->name, "state", record->state, "storage", record->storage,
                  "engine", record->engine, "template", record->template_name, "generation",
                  record->generation, "first_id", (json_int_t)record->first_id, "owner_uid",
                  (json_int_t)record->owner_uid, "created_us", (json_int_t)record->created_us);
    if (!value)
        return NULL;
    if (record->started_us)
        (void)json_object_set_new(value, "started_us",
                                  json_integer((json_int_t)record->started_us));
    if (record->shares_ids)
        (void)json_object_set_new(value, "shares_ids", json_true());
    if (record->disk_bytes)
        (void)json_object_set_new(
            value, "limits", json_pack("{s:I}", "disk_bytes", (json_int_t)record->disk_bytes));
    if (record->clocks.request_length)
        (void)json_object_set_new(
            value, "clocks",
            json_pack("{s:I, s:I, s:I, s:I}", "started_us",
                      (json_int_t)record->clocks.started_us, "timeout_ms",
                      (json_int_t)record->clocks.timeout_ms, "cpu_time_ms",
                      (json_int_t)record->clocks.cpu_time_ms, "request_length",
                      (json_int_t)record->clocks.request_length));
    if (record->open_elsewhere)
        (void)json_object_set_new(value, "open_elsewhere", json_true());
    if (record->root)
        (void)json_object_set_new(value, "root", json_string(record->root));
    if (record->request)
        (void)json_object_set(value, "request", record->request);
    if (record->defaults)
        (void)json_object_set(value, "defaults", record->defaults);
    if (record->provided)
        (void)json_object_set(value, "provided", record->provided);
    return value;
}

static uint64_t number_of(const json_t *value, const char *key)
{
    return (uint64_t)json_integer_value(json_object_get(value, key));
}

static void copy_text(const json_t *value, const char *key, char *out, size_t size)
{
    const char *text = json_string_value(json_object_get(value, key));
    (void)snprintf(out, size, "%s", text ? text : "");
}

int record_from_json(const json_t *value, struct record *record)
{
    copy_text(value, "id", record->id, sizeof(record->id));
    copy_text(value, "name", record->name, sizeof(record->name));
    copy_text(value, "state", record->state, sizeof(record->state));
    copy_text(value, "storage", record->storage, sizeof(record->storage));
    copy_text(value, "engine", record->engine, sizeof(record->engine));
    copy_text(value, "template", record->template_name, sizeof(record->template_name));
    copy_text(value, "generation", record->generation, sizeof(record->generation));
    record->first_id = (uint32_t)json_integer_value(json_object_get(value, "first_id"));
    record->owner_uid = (uint32_t)json_integer_value(json_object_get(value, "owner_uid"));
    record->created_us = number_of(value, "created_us");
    record->started_us = number_of(value, "started_us");
    const char *root = json_string_value(json_object_get(value, "root"));
    if (root && !(record->root = strdup(root)))
        return -ENOMEM;
    record->shares_ids = json_is_true(json_object_get(value, "shares_ids"));
    const json_t *limits = json_object_get(value, "limits");
    record->disk_bytes = number_of(limits, "disk_bytes");
    const json_t *clocks = json_object_get(value, "clocks");
    record->clocks = (struct record_clocks){
        .started_us = number_of(clocks, "started_us"),
        .timeout_ms = number_of(clocks, "timeout_ms"),
        .cpu_time_ms = number_of(clocks, "cpu_time_ms"),
        .request_length = number_of(clocks, "request_length"),
    };
    record->open_elsewhere = json_is_true(json_object_get(value, "open_elsewhere"));
    record->request = json_incref(json_object_get(value, "request"));
    record->defaults = json_incref(json_object_get(value, "defaults"));
    record->provided = json_incref(json_object_get(value, "provided"));
    return name_is_clone(record->id) ? 0 : -EINVAL;
}

int record_print(const struct record *record, struct buffer *ret)
{
    json_t *head = record_to_json(record);
    json_t *parts = json_object();
    for (size_t i = 0; head && parts && i < ELEMENTS(part_names); i++) {
        json_t *part = json_object_get(head, part_names[i]);
        if (part && json_object_set(parts, part_names[i], part) == 0)
            (void)json_object_del(head, part_names[i]);
    }
    const json_t *const lines[] = {head, parts};
    for (size_t i = 0; i < ELEMENTS(lines); i++) {
        char *text = lines[i] ? json_dumps(lines[i], JSON_COMPACT) : NULL;
        if (text)
            buffer_append_text(ret, text);
        buffer_append_char(ret, '\n');
        ret->failed = ret->failed || !text;
        free(text);
    }
    json_decref(head);
    json_decref(parts);
    return ret->failed ? -ENOMEM : 0;
}

/* The first line, which may be all that there is: then what it has of the second's is no use.
 */
static int read_head(int dir_fd, const char *id, struct buffer *ret)
{
    _cleanup_close_ int fd = openat(dir_fd, id, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    char *head = fd < 0 ? NULL : malloc(HEAD_MAX);
    if (fd < 0 || !head)
        return fd < 0 ? -errno : -ENOMEM;
    ssize_t n = read(fd, head, HEAD_MAX);
    const char *end = n > 0 ? memchr(head, '\n', (size_t)n) : NULL;
    int r = n < 0 ? -errno : !end && n == HEAD_MAX ? -EINVAL : 0;
    buffer_append(ret, head, end ? (size_t)(end - head) : r == 0 ? (size_t)n : 0);
    free(head);
    return ret->failed ? -ENOMEM : r;
}

/* Both lines as one object. */
static json_t *parse(const struct buffer *text)
{
    const char *data = text->data ? text->data : "";
    const char *end = memchr(data, '\n', text->length);
    size_t first = end ? (size_t)(end - data) + 1 : text->length;
    json_t *value = json_loadb(data, first, 0, NULL);
    json_t *parts = value && first < text->length
                        ? json_loadb(data + first, text->length - first, 0, NULL)
                        : json_object();
    if (value && (!parts || json_object_update_missing(value, parts) < 0)) {
        json_decref(value);
        value = NULL;
    }
    json_decref(parts);
    return value;
}

static int take(const char *id, json_t *take_value, struct record *ret, struct error *err)
{
    struct record record = {0};
    int r = take_value ? record_from_json(take_value, &record) : -EINVAL;
    json_decref(take_value);
    if (r < 0) {
        record_clear(&record);
        return fail(err, ERROR_SYSTEM, r, "record %s is damaged: ", id);
    }
    *ret = record;
    return 0;
}

static int unreadable(const char *id, int r, struct error *err)
{
    return fail(err, r == -ENOENT ? ERROR_NOT_FOUND : ERROR_SYSTEM, r, "record %s: ", id);
}

int record_read_head(int dir_fd, const char *id, struct record *ret, struct error *err)
{
    _cleanup_buffer_ struct buffer text = {0};
    int r = read_head(dir_fd, id, &text);
    if (r < 0)
        return unreadable(id, r, err);
    json_t *value = json_loadb(text.data ? text.data : "", text.length, 0, NULL);
    for (size_t i = 0; i < ELEMENTS(part_names); i++)
        (void)json_object_del(value, part_names[i]);
    return take(id, value, ret, err);
}

int record_read(int dir_fd, const char *id, struct record *ret, struct error *err)
{
    _cleanup_buffer_ struct buffer text = {0};
    int r = file_read_at(dir_fd, id, RECORD_MAX, &text);
    return r < 0 ? unreadable(id, r, err) : take(id, parse(&text), ret, err);
}

int record_read_damaged(int dir_fd, const char *id, struct record *ret, struct error *err)
{
    int r = record_read(dir_fd, id, ret, err);
    if (r == 0 || r == -ENOMEM || r == -EMFILE || r == -ENFILE || r == -ENOENT)
        return r;
    if (record_read_head(dir_fd, id, ret, NULL) == 0)
        return 1;
    *ret = (struct record){0};
    (void)snprintf(ret->id, sizeof(ret->id), "%s", id);
    (void)snprintf(ret->storage, sizeof(ret->storage), "%s", storage_drivers[0]->name);
    return 1;
}
