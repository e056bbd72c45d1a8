/* SPDX-License-Identifier: Apache-2.0 */
/* Headers of streams. Run in isolated as root; a header that is read is hostile: each value is
 * checked before it becomes a name. */
#include "daemon/stream_header.h"

#include "base/text.h"
#include "spec/defaults.h"

#include <string.h>

char *stream_header_make(const struct storage *storage, const struct template_info *info,
                         const struct generation *generation, const struct generation *base,
                         bool has_program)
{
    json_t *header = json_pack(
        "{s:s, s:s, s:s, s:s, s:s, s:I, s:b, s:s*}", "driver", storage->driver->name,
        "template", info->name, "source", info->source, "generation", generation->id,
        "identity", generation->identity, "created", (json_int_t)generation->created, "pinned",
        (int)generation->pinned, "payload", has_program ? storage->driver->name : NULL);
    if (header && base &&
        json_object_set_new(
            header, "base",
            json_pack("{s:s, s:s}", "generation", base->id, "identity", base->identity)) < 0) {
        json_decref(header);
        return NULL;
    }
    if (header && !base && info->defaults &&
        json_object_set(header, "defaults", info->defaults) < 0) {
        json_decref(header);
        return NULL;
    }
    char *text = header ? json_dumps(header, JSON_COMPACT) : NULL;
    json_decref(header);
    return text;
}

static int fail_header(struct error *err)
{
    return fail(err, ERROR_INVALID, EBADMSG,
                "the stream is damaged: its header is none; send it again");
}

static bool take_text(const json_t *value, char *out, size_t size)
{
    const char *text = json_string_value(value);
    if (!text || strlen(text) >= size)
        return false;
    (void)snprintf(out, size, "%s", text);
    return true;
}

static bool take_generation(const json_t *value, char out[static GENERATION_SIZE])
{
    return take_text(value, out, GENERATION_SIZE) && name_is_generation(out);
}

static bool take_identity(const json_t *value, char out[static GENERATION_IDENTITY_SIZE])
{
    return take_text(value, out, GENERATION_IDENTITY_SIZE) && *out &&
           strspn(out, "0123456789abcdefghijklmnopqrstuvwxyz-") == strlen(out);
}

static bool take_base(const json_t *base, struct stream_header *ret)
{
    return !base || (take_generation(json_object_get(base, "generation"), ret->base) &&
                     take_identity(json_object_get(base, "identity"), ret->base_identity));
}

static int take_defaults(const json_t *value, struct stream_header *ret, struct error *err)
{
    if (!value || *ret->base)
        return 0;
    _cleanup_free_ char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
    return text ? defaults_parse(text, strlen(text), &ret->defaults, err)
                : fail(err, ERROR_SYSTEM, ENOMEM, "read the stream: ");
}

static bool take_tree(const json_t *value, struct stream_header *ret)
{
    return take_text(value, ret->tree, sizeof(ret->tree)) &&
           strspn(ret->tree, "0123456789abcdef") == sizeof(ret->tree) - 1;
}

static int take_payload(const json_t *payload, const json_t *tree, struct stream_header *header,
                        struct error *err)
{
    char shown[64];
    const char *text = json_string_value(payload);
    header->is_native = text && streq(text, header->driver);
    if (header->is_native)
        return !tree || take_tree(tree, header) ? 0 : fail_header(err);
    if (text && streq(text, "tar"))
        return take_tree(tree, header) ? 0 : fail_header(err);
    text_escape(shown, sizeof(shown), text ? text : "none");
    return fail(err, ERROR_UNSUPPORTED, EOPNOTSUPP,
                "the stream is one of the storage driver %s (%s), which this isolate cannot "
                "take; send it from there in the form that all drivers take",
                header->driver, shown);
}

int stream_header_read(const char *text, struct stream_header *ret, struct error *err)
{
    struct stream_header header = {0};
    json_t *value = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    const json_t *created = json_object_get(value, "created");
    bool good =
        take_text(json_object_get(value, "driver"), header.driver, sizeof(header.driver)) &&
        strspn(header.driver, "abcdefghijklmnopqrstuvwxyz") == strlen(header.driver) &&
        take_text(json_object_get(value, "template"), header.template_name,
                  sizeof(header.template_name)) &&
        name_check_template(header.template_name, NULL) == 0 &&
        take_text(json_object_get(value, "source"), header.source, sizeof(header.source)) &&
        take_generation(json_object_get(value, "generation"), header.arrival.id) &&
        take_identity(json_object_get(value, "identity"), header.arrival.identity) &&
        json_is_boolean(json_object_get(value, "pinned")) && json_is_integer(created) &&
        json_integer_value(created) >= 0 && take_base(json_object_get(value, "base"), &header);
    header.arrival.created = (time_t)json_integer_value(created);
    header.arrival.pinned = json_is_true(json_object_get(value, "pinned"));
    int r = good ? take_payload(json_object_get(value, "payload"),
                                json_object_get(value, "tree"), &header, err)
                 : fail_header(err);
    if (r == 0)
        r = take_defaults(json_object_get(value, "defaults"), &header, err);
    json_decref(value);
    if (r == 0)
        *ret = header;
    return r;
}
