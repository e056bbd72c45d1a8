/* SPDX-License-Identifier: Apache-2.0 */
/* A worker's questions about layers. Runs in isolate-image as root, which trusts isolated. */
#include "image/layers.h"

#include "sys/fd.h"
#include "sys/socket.h"

static int ask(int socket_fd, const struct image_layers_ask *question, struct fd_list *fds,
               struct error *err)
{
    struct image_layers_answer answer = {0};
    int r = socket_send(socket_fd, question, sizeof(*question), NULL, 0);
    ssize_t n = r < 0 ? r : socket_receive(socket_fd, &answer, sizeof(answer), 0, fds);
    if (n != (ssize_t)sizeof(answer))
        return fail(err, ERROR_SYSTEM, n < 0 ? (int)n : EPROTO, "ask for a layer: ");
    if (answer.error.code != ERROR_NONE) {
        *err = answer.error;
        return answer.error.errnum > 0 ? -answer.error.errnum : -EIO;
    }
    return (int)answer.found;
}

int image_layers_begin(int socket_fd, const char *chain, const char *blob, int *ret_mount,
                       struct error *err)
{
    _cleanup_fd_list_ struct fd_list fds = {0};
    struct image_layers_ask question = {.kind = IMAGE_LAYERS_BEGIN};
    (void)snprintf(question.chain, sizeof(question.chain), "%s", chain);
    (void)snprintf(question.blob, sizeof(question.blob), "%s", blob);
    int r = ask(socket_fd, &question, &fds, err);
    if (r != IMAGE_LAYERS_NEW)
        return r;
    if (fds.n != 1)
        return fail(err, ERROR_SYSTEM, EPROTO, "ask for a layer: ");
    *ret_mount = TAKE_FD(fds.fds[0]);
    return 0;
}

int image_layers_end(int socket_fd, struct error *err)
{
    _cleanup_fd_list_ struct fd_list fds = {0};
    const struct image_layers_ask question = {.kind = IMAGE_LAYERS_END};
    return ask(socket_fd, &question, &fds, err);
}

int image_layers_forget(int socket_fd, struct error *err)
{
    _cleanup_fd_list_ struct fd_list fds = {0};
    const struct image_layers_ask question = {.kind = IMAGE_LAYERS_FORGET};
    return ask(socket_fd, &question, &fds, err);
}
