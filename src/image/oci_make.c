/* SPDX-License-Identifier: Apache-2.0 */
/* The maker: an image becomes a tree. Runs in the confined child of image_unpack_container as
 * root; everything that it reads is hostile. */
#include "base/text.h"
#include "image/beneath.h"
#include "image/oci.h"
#include "image/progress.h"
#include "image/tar.h"
#include "sys/fd.h"
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

/* What a reader says is the reason where it failed first, and not where nobody read on. */
static int unpack_layer(int socket_fd, const struct oci_layer *layer, struct tar_target *target,
                        struct error *err)
{
    struct error reader = {0};
    struct oci_ask ask = {
        .kind = *layer->name ? OCI_ASK_FILE : OCI_ASK_BLOB,
        .is_layer = 1,
        .size = layer->size,
    };
    memcpy(ask.name, layer->name, sizeof(ask.name));
    memcpy(ask.digest, layer->digest, sizeof(ask.digest));
    memcpy(ask.diff_digest, layer->diff_digest, sizeof(ask.diff_digest));
    int fd = oci_ask_open(socket_fd, &ask, err);
    if (fd < 0)
        return fd;
    int r = tar_read_layer(fd, target, err);
    fd_close(fd);
    int verdict = oci_ask_verdict(socket_fd, &reader);
    if (verdict < 0 && reader.errnum != EPIPE) {
        *err = reader;
        return verdict;
    }
    return r < 0         ? r
           : verdict < 0 ? fail(err, ERROR_SYSTEM, verdict, "read: ")
                         : tar_target_finish(target, err);
}

static int unpack_layers(int socket_fd, const struct oci_image *image,
                         struct tar_target *target, struct error *err)
{
    for (size_t i = 0; i < image->n_layers; i++) {
        int r = unpack_layer(socket_fd, &image->layers[i], target, err);
        if (r < 0)
            return error_prefix(err, r, "layer %zu of %zu: ", i + 1, image->n_layers);
        tar_target_next_layer(target);
    }
    return 0;
}

/* Where a command is to start there is a directory, as with other engines. */
static int make_workdir(struct tar_target *target, const json_t *defaults, struct error *err)
{
    int at = -EBADF;
    const char *name = NULL;
    const char *text = json_string_value(json_object_get(defaults, "workdir"));
    if (!text)
        return 0;
    /* as if something were to be made in it */
    _cleanup_buffer_ struct buffer path = {0};
    buffer_printf(&path, "%s/x", text + strspn(text, "/"));
    _cleanup_free_ char *normal = path.failed ? NULL : malloc(path.length + 1);
    int r = normal ? beneath_normalize(path.data + strspn(path.data, "/"), normal, err)
                   : fail(err, ERROR_SYSTEM, ENOMEM, "make it: ");
    if (r == 0)
        r = tar_target_parent(target, normal, &name, &at, err);
    if (r == 0)
        r = tar_target_finish(target, err);
    return r < 0 ? error_prefix(err, r, "its working directory \"%.100s\": ", text) : 0;
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

int oci_make(int socket_fd, const char *tag, bool is_archive, int root_fd,
             struct progress *progress, struct error *err)
{
    json_t *defaults = NULL;
    struct oci_image *image = calloc(1, sizeof(*image));
    struct tar_target target = TAR_TARGET_NEW(root_fd, progress);
    target.layered = true;
    if (!image)
        return fail(err, ERROR_SYSTEM, ENOMEM, "read the image: ");
    xattrs_remove_others(root_fd, &(struct xattrs){0});
    int r = oci_read_image(socket_fd, tag, is_archive, image, err);
    if (r == 0)
        r = oci_defaults(image->config, &defaults, err);
    if (r == 0) {
        tell_total(socket_fd, image);
        r = unpack_layers(socket_fd, image, &target, err);
    }
    if (r == 0)
        r = make_workdir(&target, defaults, err);
    if (r == 0)
        r = tell_defaults(socket_fd, defaults, err);
    json_decref(defaults);
    oci_image_clear(image);
    free(image);
    tar_target_clear(&target);
    return r;
}
