/* SPDX-License-Identifier: Apache-2.0 */
/* The planner: what an image is made of. Runs in a confined child of image_unpack_container,
 * which may open nothing; everything that it reads is hostile. */
#include "base/buffer.h"
#include "image/oci.h"
#include "sys/socket.h"

#include <string.h>

static int tell(int socket_fd, enum oci_ask_kind kind, const void *more, size_t size)
{
    _cleanup_buffer_ struct buffer message = {0};
    const struct oci_ask ask = {.kind = kind, .size = size};
    buffer_append(&message, &ask, sizeof(ask));
    if (more)
        buffer_append(&message, more, size);
    return message.failed ? -ENOMEM
                          : socket_send(socket_fd, message.data, message.length, NULL, 0);
}

static void tell_total(int socket_fd, const struct oci_image *image)
{
    uint64_t total = 0;
    for (size_t i = 0; i < image->n_layers; i++) {
        if (image->layers[i].size == 0)
            return;
        total += image->layers[i].size;
    }
    (void)!tell(socket_fd, OCI_ASK_TOTAL, NULL, total);
}

static int tell_layers(int socket_fd, const struct oci_image *image)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < image->n_layers; i++) {
        const struct oci_layer *layer = &image->layers[i];
        struct oci_ask ask = {.kind = OCI_ASK_LAYER, .is_layer = 1, .size = layer->size};
        memcpy(ask.name, layer->name, sizeof(ask.name));
        memcpy(ask.digest, layer->digest, sizeof(ask.digest));
        memcpy(ask.diff_digest, layer->diff_digest, sizeof(ask.diff_digest));
        r = socket_send(socket_fd, &ask, sizeof(ask), NULL, 0);
    }
    return r;
}

/* Where a command is to start there is a directory, as with other engines. */
static int tell_workdir(int socket_fd, const json_t *defaults)
{
    const char *text = json_string_value(json_object_get(defaults, "workdir"));
    return text ? tell(socket_fd, OCI_ASK_WORKDIR, text, strlen(text)) : 0;
}

static int tell_defaults(int socket_fd, const json_t *defaults, struct error *err)
{
    char *text = json_dumps(defaults, JSON_COMPACT);
    size_t length = text ? strlen(text) : 0;
    int r = !text                       ? -ENOMEM
            : length > OCI_DEFAULTS_MAX ? -E2BIG
                                        : tell(socket_fd, OCI_ASK_DEFAULTS, text, length);
    free(text);
    return r < 0 ? fail(err, r == -E2BIG ? ERROR_INVALID : ERROR_SYSTEM, r,
                        "the image's configuration (command, variables): ")
                 : 0;
}

int oci_plan(int socket_fd, const char *tag, bool is_archive, struct error *err)
{
    json_t *defaults = NULL;
    struct oci_image *image = calloc(1, sizeof(*image));
    if (!image)
        return fail(err, ERROR_SYSTEM, ENOMEM, "read the image: ");
    int r = oci_read_image(socket_fd, tag, is_archive, image, err);
    if (r == 0)
        r = oci_defaults(image->config, &defaults, err);
    if (r == 0) {
        tell_total(socket_fd, image);
        r = tell_layers(socket_fd, image);
        if (r == 0)
            r = tell_workdir(socket_fd, defaults);
        r = r < 0 ? fail(err, ERROR_SYSTEM, r, "say what is in the image: ")
                  : tell_defaults(socket_fd, defaults, err);
    }
    json_decref(defaults);
    oci_image_clear(image);
    free(image);
    return r;
}
