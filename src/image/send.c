/* SPDX-License-Identifier: Apache-2.0 */
/* Sending. Runs in isolate-image as root; the trees are hostile, what is said about them is
 * isolated's. */
#include "image/send.h"

#include "image/delta.h"
#include "image/export.h"
#include "image/image.h"
#include "image/progress.h"
#include "image/stream.h"

#include <jansson.h>

/* The header, to be freed; NULL without memory. */
static char *make_header(const char *about, const char *payload, const char *hash)
{
    json_t *header = json_loads(about, 0, NULL);
    bool good = header && json_object_set_new(header, "payload", json_string(payload)) == 0 &&
                json_object_set_new(header, "tree", json_string(hash)) == 0;
    char *text = good ? json_dumps(header, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
    json_decref(header);
    return text;
}

static int send_payload(const struct image_sending *sending, struct stream_writer *stream,
                        struct progress *progress, struct error *err)
{
    progress_begin(progress, "send");
    if (sending->is_btrfs) /* how much that will be is known to nobody */
        return image_send_btrfs(sending->root_fd, sending->base_fd, &stream->sink, progress,
                                err);
    image_expect(sending->root_fd, progress);
    return sending->base_fd >= 0
               ? image_delta(sending->base_fd, sending->root_fd, stream, progress, err)
               : image_export(sending->root_fd, &stream->sink, progress, err);
}

int image_send(const struct image_sending *sending, struct progress *progress,
               struct error *err)
{
    char hash[IMAGE_HASH_TEXT];
    struct sink_fd out = sink_fd(sending->out_fd, "write the stream");
    progress_begin(progress, "hash");
    image_expect(sending->root_fd, progress);
    int r = image_hash(sending->root_fd, hash, progress, err);
    if (r < 0)
        return r;
    _cleanup_free_ char *header =
        make_header(sending->about, sending->is_btrfs ? "btrfs" : "tar", hash);
    _cleanup_free_ struct stream_writer *stream = malloc(sizeof(*stream));
    if (!header || !stream)
        return fail(err, ERROR_SYSTEM, ENOMEM, "write the stream: ");
    r = stream_begin(stream, &out.sink, header, err);
    if (r == 0)
        r = send_payload(sending, stream, progress, err);
    return r < 0 ? r : stream_end(stream, err);
}
