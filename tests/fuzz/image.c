/* SPDX-License-Identifier: Apache-2.0 */
/* image/oci_*.c: what says of an image what it is made of. The input is a number and then all
 * files, each ended by NUL, in the order in which they are asked for. Who answers is another
 * thread, with files in memory in place of pipes. */
#include "target.h"

#include "image/beneath.h"
#include "image/oci.h"
#include "sys/fd.h"
#include "sys/socket.h"

#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

const bool target_needs_walls = false;

#define QUESTIONS_MAX 64

struct answerer {
    struct input *input;
    int socket_fd;
};

/* The next file, or that there is none. */
static int answer(struct answerer *answerer, const struct oci_ask *ask)
{
    struct error error = {0};
    _cleanup_close_ int file = -EBADF;
    if (ask->kind != OCI_ASK_VERDICT) {
        size_t left = answerer->input->left;
        _cleanup_free_ char *text = left > 0 ? input_text(answerer->input) : NULL;
        file = text ? memfd_of("file", text, strlen(text), 0600) : -EBADF;
        if (file >= 0 && lseek(file, 0, SEEK_SET) < 0)
            file = fd_close(file);
        if (file < 0)
            (void)fail(&error, ERROR_NOT_FOUND, ENOENT, "%s: is not there", ask->name);
    }
    return socket_send(answerer->socket_fd, &error, sizeof(error), &file, file >= 0 ? 1 : 0);
}

static void *answer_all(void *data)
{
    struct answerer *answerer = data;
    struct oci_ask ask;
    int r = 0;
    for (int i = 0; r == 0 && i < QUESTIONS_MAX; i++) {
        _cleanup_fd_list_ struct fd_list fds = {0};
        if (socket_receive(answerer->socket_fd, &ask, sizeof(ask), 0, &fds) !=
            (ssize_t)sizeof(ask))
            break;
        MUST(fds.n == 0 && memchr(ask.name, 0, sizeof(ask.name)));
        MUST(ask.kind == OCI_ASK_VERDICT || ask.kind == OCI_ASK_FILE ||
             digest_is_valid(ask.digest));
        r = answer(answerer, &ask);
    }
    (void)shutdown(answerer->socket_fd, SHUT_RDWR);
    return NULL;
}

static void check_layer(const struct oci_layer *layer, bool is_archive)
{
    char normal[OCI_NAME_SIZE];
    MUST(digest_is_valid(layer->diff_digest));
    MUST(memchr(layer->name, 0, sizeof(layer->name)));
    MUST(!*layer->digest || digest_is_valid(layer->digest));
    MUST(*layer->name || digest_is_valid(layer->digest));
    MUST(is_archive || !*layer->name);
    MUST(!*layer->name || (beneath_normalize(layer->name, normal, NULL) == 0 &&
                           strcmp(normal, layer->name) == 0));
}

static void check_image(const struct oci_image *image, bool is_archive)
{
    struct error err = {0};
    json_t *defaults = NULL;
    MUST(image->n_layers <= OCI_LAYERS_MAX && image->config);
    for (size_t i = 0; i < image->n_layers; i++)
        check_layer(&image->layers[i], is_archive);
    int r = oci_defaults(image->config, &defaults, &err);
    MUST(r == 0 || (err.code != ERROR_NONE && *err.text));
    const char *workdir = json_string_value(json_object_get(defaults, "workdir"));
    MUST(!workdir || *workdir == '/');
    json_decref(defaults);
}

void target_run(const uint8_t *data, size_t size)
{
    int ends[2];
    pthread_t thread;
    struct error err = {0};
    struct input input = {data, size};
    uint8_t how = input_byte(&input);
    bool is_archive = how & 1;
    struct oci_image *image = calloc(1, sizeof(*image));
    if (!image || socket_pair(SOCK_SEQPACKET, ends) < 0) {
        free(image);
        return;
    }
    struct answerer answerer = {&input, ends[1]};
    MUST(pthread_create(&thread, NULL, answer_all, &answerer) == 0);
    int r = oci_read_image(ends[0], how & 2 ? "latest" : NULL, is_archive, image, &err);
    MUST(r == 0 || (r < 0 && err.code != ERROR_NONE && *err.text));
    if (r == 0)
        check_image(image, is_archive);
    oci_image_clear(image);
    free(image);
    fd_close(ends[0]);
    MUST(pthread_join(thread, NULL) == 0);
    fd_close(ends[1]);
}
