/* SPDX-License-Identifier: Apache-2.0 */
/* Isolated's side of image/layers.h. Runs as root in a fork of isolated, or in a one-shot. The
 * worker's processes read hostile images, but who asks here reads none of it; what it asks is
 * checked all the same, and never waited for. */
#include "daemon/image_layers.h"

#include "daemon/daemon.h"
#include "image/layers.h"
#include "storage/layers.h"
#include "sys/fd.h"
#include "sys/socket.h"

#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

_Static_assert(IMAGE_LAYERS_MAX == STORAGE_IMAGE_LAYERS_MAX, "the storage says how many");
_Static_assert(IMAGE_LAYERS_CHAIN_SIZE == STORAGE_CHAIN_SIZE, "the storage says how long");
_Static_assert((int)IMAGE_LAYERS_NEW == LAYER_NEW && (int)IMAGE_LAYERS_FOUND == LAYER_FOUND &&
                   (int)IMAGE_LAYERS_FOUND_BLOB == LAYER_FOUND_BLOB,
               "the storage says what it finds");

struct image_layers {
    struct storage *storage;
    char key[64];
    struct layering *layering; /* from the first question on */
    sd_event_source *io;
    int fd;
};

static int begin(struct image_layers *layers, const struct layer_content *content,
                 int *ret_mount, struct error *err)
{
    const struct storage_layers *ops = layers->storage->driver->layers;
    int r =
        layers->layering ? 0 : ops->open(layers->storage, layers->key, &layers->layering, err);
    return r < 0 ? r : ops->begin(layers->layering, content, ret_mount, err);
}

static int end(struct image_layers *layers, struct error *err)
{
    return layers->layering
               ? layers->storage->driver->layers->end(layers->layering, err)
               : fail(err, ERROR_PROTOCOL, EPROTO, "a layer of the image has no beginning");
}

static void forget(struct image_layers *layers)
{
    layers->storage->driver->layers->close(layers->layering);
    layers->layering = NULL;
}

static int do_asked(struct image_layers *layers, const struct image_layers_ask *ask,
                    int *ret_mount, struct error *err)
{
    const struct layer_content content = {ask->chain, ask->blob};
    if (!memchr(ask->chain, 0, sizeof(ask->chain)) || !memchr(ask->blob, 0, sizeof(ask->blob)))
        return fail(err, ERROR_PROTOCOL, EPROTO, "a layer of the image has no name");
    switch (ask->kind) {
    case IMAGE_LAYERS_BEGIN:
        return begin(layers, &content, ret_mount, err);
    case IMAGE_LAYERS_END:
        return end(layers, err);
    case IMAGE_LAYERS_FORGET:
        forget(layers);
        return 0;
    default:
        return fail(err, ERROR_PROTOCOL, EPROTO, "an unknown question about layers");
    }
}

static int on_question(sd_event_source *source, int fd, uint32_t events, void *data)
{
    struct image_layers *layers = data;
    struct image_layers_ask ask;
    struct image_layers_answer answer = {0};
    _cleanup_close_ int mount = -EBADF;
    _cleanup_fd_list_ struct fd_list fds = {0};
    ssize_t n = socket_receive(fd, &ask, sizeof(ask), MSG_DONTWAIT, &fds);
    if (n == -EAGAIN || n == -EINTR)
        return 0;
    int r = n == (ssize_t)sizeof(ask) && fds.n == 0 ? 0 : -EPROTO;
    if (r == 0) {
        r = do_asked(layers, &ask, &mount, &answer.error);
        answer.found = r > 0 ? (uint32_t)r : 0;
        r = socket_send_flags(fd, &answer, sizeof(answer), &mount, mount >= 0 ? 1 : 0,
                              MSG_DONTWAIT);
    }
    if (r < 0) { /* the worker is gone, or learns by this that there is no answer */
        layers->io = sd_event_source_unref(layers->io);
        layers->fd = fd_close(layers->fd);
    }
    return 0;
}

int image_layers_start(struct daemon *daemon, struct storage *storage, const char *key,
                       struct image_layers **ret, int *ret_fd, struct error *err)
{
    int ends[2];
    struct image_layers *layers = calloc(1, sizeof(*layers));
    int r = layers ? socket_pair(SOCK_SEQPACKET, ends) : -ENOMEM;
    if (r < 0) {
        free(layers);
        return fail(err, ERROR_SYSTEM, r, "layers of the image: ");
    }
    layers->storage = storage;
    layers->fd = ends[0];
    (void)snprintf(layers->key, sizeof(layers->key), "%s", key);
    r = sd_event_add_io(daemon->event, &layers->io, layers->fd, EPOLLIN, on_question, layers);
    if (r < 0) {
        fd_close(ends[1]);
        image_layers_free(layers);
        return fail(err, ERROR_SYSTEM, r, "layers of the image: ");
    }
    *ret = layers;
    *ret_fd = ends[1];
    return 0;
}

struct layering *image_layers_made(const struct image_layers *layers)
{
    return layers ? layers->layering : NULL;
}

void image_layers_free(struct image_layers *layers)
{
    if (!layers)
        return;
    layers->io = sd_event_source_unref(layers->io);
    if (layers->layering)
        forget(layers);
    fd_close(layers->fd);
    free(layers);
}
