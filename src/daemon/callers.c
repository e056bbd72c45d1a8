/* SPDX-License-Identifier: Apache-2.0 */
/* See callers.h. Runs in isolated. */
#include "daemon/callers.h"

#include "daemon/decoder.h"
#include "daemon/listener.h"

#define TURN 32 /* messages and batches of connections */

static void listen_to_all(struct daemon *daemon, bool on)
{
    listener_listen(daemon, on);
    decoder_listen_to_all(daemon, on);
}

static int on_rested(sd_event_source *source, void *data)
{
    listen_to_all(data, true);
    return 0;
}

void callers_heard(struct daemon *daemon)
{
    if (++daemon->n_heard < TURN)
        return;
    daemon->n_heard = 0;
    int r = 0;
    if (!daemon->callers_rest) {
        r = sd_event_add_defer(daemon->event, &daemon->callers_rest, on_rested, daemon);
        if (r >= 0)
            r = sd_event_source_set_priority(daemon->callers_rest, PRIORITY_LAST);
    }
    if (r >= 0)
        r = sd_event_source_set_enabled(daemon->callers_rest, SD_EVENT_ONESHOT);
    if (r >= 0)
        listen_to_all(daemon, false);
}
