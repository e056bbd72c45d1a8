/* SPDX-License-Identifier: Apache-2.0 */
/* An image as layers that a storage keeps one by one (image/layers.h). Runs in the parent as
 * root. What a layer is known by, its chain (image-spec: config.md, ChainID), is computed here
 * of what checkers have found right, and told when the layer's processes are gone. */
#include "image/image.h"
#include "image/layers.h"
#include "image/oci.h"
#include "sys/fd.h"

#include <string.h>

_Static_assert(DIGEST_TEXT <= IMAGE_LAYERS_CHAIN_SIZE, "a chain is a digest");

/* chain: that of the layers below, "" where there is none; then with this one. */
static void chain_extend(char chain[static DIGEST_TEXT], const char *diff_digest)
{
    struct sha256_ctx context;
    if (!*chain) {
        (void)snprintf(chain, DIGEST_TEXT, "%s", diff_digest);
        return;
    }
    sha256_init(&context);
    sha256_update(&context, strlen(chain), (const uint8_t *)chain);
    sha256_update(&context, 1, (const uint8_t *)" ");
    sha256_update(&context, strlen(diff_digest), (const uint8_t *)diff_digest);
    digest_text(&context, chain);
}

static int unpack_new(const struct oci_files *files, const struct oci_layers *layers,
                      size_t first, size_t end, int mount, struct error *err)
{
    int r = 0;
    for (size_t i = first; r == 0 && i < end; i++) {
        r = oci_layer_unpack(files, &layers->items[i], mount, i > 0, err);
        if (r < 0)
            (void)error_prefix(err, r, "layer %zu of %zu: ", i + 1, layers->n);
    }
    return r;
}

/* The layer i of the image, which nobody gets who only knows its digests. */
static int use_found(const struct oci_files *files, const struct oci_layers *layers, size_t i,
                     bool by_blob, struct error *err)
{
    int r = oci_layer_check(files, &layers->items[i], by_blob, err);
    return r < 0 ? error_prefix(err, r, "layer %zu of %zu: ", i + 1, layers->n) : 0;
}

/* Of the layers first to end - 1 one of the storage's. Only one that is one of the image's,
 * too, is of use to others. */
static int stack_layers(const struct oci_files *files, const struct oci_layers *layers,
                        size_t first, size_t end, const char *chain, struct error *err)
{
    int mount = -EBADF;
    int layers_fd = files->container->layers_fd;
    int r = image_layers_begin(layers_fd, chain, layers->items[first].digest, &mount, err);
    if (r != IMAGE_LAYERS_NEW)
        return r < 0 ? r : use_found(files, layers, first, r == IMAGE_LAYERS_FOUND_BLOB, err);
    r = unpack_new(files, layers, first, end, mount, err);
    fd_close(mount);
    return r < 0 ? r : image_layers_end(layers_fd, err);
}

static int stack_workdir(const struct oci_files *files, const char *path, struct error *err)
{
    int mount = -EBADF;
    int r = image_layers_begin(files->container->layers_fd, "", "", &mount, err);
    if (r != 0)
        return r;
    r = oci_workdir_make(files, path, mount, true, err);
    fd_close(mount);
    return r < 0 ? r : image_layers_end(files->container->layers_fd, err);
}

int oci_stack(const struct oci_files *files, const struct oci_layers *layers,
              const char *workdir, struct error *err)
{
    char chain[DIGEST_TEXT] = "";
    size_t last = layers->n - 1;
    int r = 0;
    for (size_t i = 0; r == 0 && i < layers->n; i++) {
        /* the last one that there may be is all that is left */
        if (i + 1 == IMAGE_LAYERS_MAX && i < last) {
            r = stack_layers(files, layers, i, layers->n, "", err);
            break;
        }
        chain_extend(chain, layers->items[i].diff_digest);
        r = stack_layers(files, layers, i, i + 1, chain, err);
    }
    return r == 0 && workdir ? stack_workdir(files, workdir, err) : r;
}
