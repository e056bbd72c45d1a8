/* SPDX-License-Identifier: Apache-2.0 */
/* The parent of all who work on an image (oci.h). Runs in isolate-image as root. What the
 * planner says is checked, because what it reads may have taken it over. */
#include "image/oci.h"

#include "base/text.h"
#include "image/child.h"
#include "image/confine.h"
#include "image/image.h"
#include "image/layers.h"
#include "image/progress.h"
#include "sys/fd.h"
#include "sys/socket.h"

#include <limits.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#define TICK_MS  200
#define MORE_MAX OCI_DEFAULTS_MAX /* bytes behind a question */

struct plan {
    struct oci_files files;
    int socket_fd;
    struct image_child reader; /* of the file that the planner reads now */
    struct oci_layers layers;
    uint64_t total;
    struct buffer workdir;
    struct buffer *defaults;
};

static void plan_clear(struct plan *plan)
{
    image_child_kill(&plan->reader);
    free(plan->layers.items);
    buffer_clear(&plan->workdir);
}

static int answer(const struct plan *plan, const struct error *error, int fd)
{
    return socket_send(plan->socket_fd, error, sizeof(*error), &fd, fd >= 0 ? 1 : 0);
}

static int on_question(struct plan *plan, const struct oci_ask *ask)
{
    struct error told = {0};
    if (ask->kind == OCI_ASK_VERDICT) {
        if (plan->reader.pid > 0)
            (void)!image_child_wait(&plan->reader, plan->files.container->what,
                                    plan->files.progress, &told);
        return answer(plan, &told, -EBADF);
    }
    if (plan->reader.pid > 0 || ask->is_layer)
        return -EPROTO;
    _cleanup_close_ int fd = oci_files_read(&plan->files, ask, &plan->reader, &told);
    return answer(plan, &told, fd);
}

static int on_layer(struct plan *plan, const struct oci_ask *ask)
{
    struct oci_layer *layer = NULL;
    if (!oci_ask_is_ended(ask) || !digest_is_valid(ask->diff_digest) ||
        plan->layers.n >= OCI_LAYERS_MAX)
        return -EPROTO;
    if (!plan->layers.items && !(plan->layers.items = calloc(OCI_LAYERS_MAX, sizeof(*layer))))
        return -ENOMEM;
    layer = &plan->layers.items[plan->layers.n++];
    layer->size = ask->size;
    memcpy(layer->name, ask->name, sizeof(layer->name));
    memcpy(layer->digest, ask->digest, sizeof(layer->digest));
    memcpy(layer->diff_digest, ask->diff_digest, sizeof(layer->diff_digest));
    return 0;
}

/* What is said once, and behind the message. */
static int on_text(struct buffer *ret, const struct oci_ask *ask, const char *text, size_t size)
{
    if (size != ask->size || size == 0 || size > MORE_MAX || ret->length > 0)
        return -EPROTO;
    buffer_append(ret, text, size);
    return ret->failed ? -ENOMEM : 0;
}

static int on_workdir(struct plan *plan, const struct oci_ask *ask, const char *text,
                      size_t size)
{
    if (size >= PATH_MAX || memchr(text, 0, size))
        return -EPROTO;
    return on_text(&plan->workdir, ask, text, size);
}

/* One message of the planner's: 1, 0 at the end, -errno where it breaks the rules. */
static int on_message(struct plan *plan, char *message, size_t size)
{
    struct oci_ask ask;
    _cleanup_fd_list_ struct fd_list fds = {0};
    ssize_t n = socket_receive(plan->socket_fd, message, size, 0, &fds);
    if (n <= 0)
        return (int)n;
    if ((size_t)n < sizeof(ask) || fds.n > 0)
        return -EPROTO;
    memcpy(&ask, message, sizeof(ask));
    const char *text = message + sizeof(ask);
    size_t more = (size_t)n - sizeof(ask);
    int r = 0;
    if (more > 0 && ask.kind != OCI_ASK_WORKDIR && ask.kind != OCI_ASK_DEFAULTS)
        return -EPROTO;
    switch (ask.kind) {
    case OCI_ASK_FILE:
    case OCI_ASK_BLOB:
    case OCI_ASK_VERDICT:
        r = on_question(plan, &ask);
        break;
    case OCI_ASK_TOTAL:
        plan->total = ask.size;
        progress_expect(plan->files.progress, plan->total);
        break;
    case OCI_ASK_LAYER:
        r = on_layer(plan, &ask);
        break;
    case OCI_ASK_WORKDIR:
        r = on_workdir(plan, &ask, text, more);
        break;
    case OCI_ASK_DEFAULTS:
        r = on_text(plan->defaults, &ask, text, more);
        break;
    default:
        return -EPROTO;
    }
    return r < 0 ? r : 1;
}

static int serve(struct plan *plan, struct error *err)
{
    size_t size = sizeof(struct oci_ask) + MORE_MAX;
    _cleanup_free_ char *message = malloc(size);
    struct pollfd fd = {.fd = plan->socket_fd, .events = POLLIN};
    int r = message ? 1 : -ENOMEM;
    while (r > 0) {
        if (poll(&fd, 1, TICK_MS) > 0)
            r = on_message(plan, message, size);
        progress_tick(plan->files.progress);
    }
    return r == 0 || r == -EPIPE || r == -ECONNRESET
               ? 0
               : fail(err, ERROR_SYSTEM, r, "read the image: ");
}

static _Noreturn void plan_in_child(const struct oci_files *files,
                                    const struct image_child *child, int socket_fd)
{
    struct error err = {0};
    const int keep[] = {socket_fd, child->error_fd};
    const struct image_container *container = files->container;
    int r = confine(CONFINE_STREAMS, keep, ELEMENTS(keep), files->root_fd, NULL, &err);
    if (r == 0)
        r = oci_plan(socket_fd, container->tag, container->is_archive, &err);
    image_child_exit(child, r, &err);
}

/* Has the planner read the image. */
static int make_plan(struct plan *plan, struct error *err)
{
    int ends[2];
    const char *what = plan->files.container->what;
    struct image_child planner = {.error_fd = -EBADF};
    int r = socket_pair(SOCK_SEQPACKET, ends);
    if (r < 0)
        return fail(err, ERROR_SYSTEM, r, "read the image: ");
    _cleanup_close_ int ours = ends[0];
    _cleanup_close_ int theirs = ends[1];
    r = image_child_fork(what, &planner, err);
    if (r < 0)
        return r;
    if (planner.pid == 0)
        plan_in_child(&plan->files, &planner, theirs);
    fd_closep(&theirs);
    plan->socket_fd = ours;
    r = serve(plan, err);
    image_child_kill(&plan->reader);
    if (r < 0) {
        image_child_kill(&planner);
        return r;
    }
    return image_child_wait(&planner, what, plan->files.progress, err);
}

static const char *workdir_of(const struct plan *plan)
{
    return plan->workdir.length > 0 ? plan->workdir.data : NULL;
}

/* All layers in one tree. */
static int unpack_flat(const struct plan *plan, int target_fd, struct error *err)
{
    const struct oci_layers *layers = &plan->layers;
    for (size_t i = 0; i < layers->n; i++) {
        int r = oci_layer_unpack(&plan->files, &layers->items[i], target_fd, i > 0, err);
        if (r < 0)
            return error_prefix(err, r, "layer %zu of %zu: ", i + 1, layers->n);
    }
    return workdir_of(plan)
               ? oci_workdir_make(&plan->files, workdir_of(plan), target_fd, layers->n > 0, err)
               : 0;
}

static int unpack(const struct plan *plan, int target_fd, struct error *err)
{
    int layers_fd = plan->files.container->layers_fd;
    if (layers_fd < 0 || plan->layers.n == 0)
        return unpack_flat(plan, target_fd, err);
    int r = oci_stack(&plan->files, &plan->layers, workdir_of(plan), err);
    if (r != -EXDEV)
        return r;
    *err = (struct error){0};
    r = image_layers_forget(layers_fd, err);
    if (r < 0)
        return r;
    progress_begin(plan->files.progress, "unpack");
    progress_expect(plan->files.progress, plan->total);
    return unpack_flat(plan, target_fd, err);
}

int image_unpack_container(const struct image_container *given, int target_fd,
                           struct progress *progress, struct buffer *ret_defaults,
                           struct error *err)
{
    struct image_container container = *given;
    _cleanup_close_ int spool = -EBADF;
    struct plan plan = {
        .files = {.container = &container, .root_fd = target_fd, .progress = progress},
        .socket_fd = -EBADF,
        .reader = {.error_fd = -EBADF},
        .defaults = ret_defaults,
    };
    int r = given->is_archive ? oci_spool(&plan.files, &spool, err) : 0;
    if (r > 0)
        container.fd = spool;
    if (r >= 0)
        r = make_plan(&plan, err);
    if (r == 0)
        r = unpack(&plan, target_fd, err);
    plan_clear(&plan);
    return r < 0 ? error_prefix(err, r, "%.150s: ", given->what) : 0;
}
