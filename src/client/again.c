/* SPDX-License-Identifier: Apache-2.0 */
/* When isolated went while the command ran: the next one has taken the sandbox over and may
 * know what came of it. Runs as the caller. */
#include "client/run.h"

#include "base/text.h"
#include "client/connect.h"
#include "spec/message.h"
#include "sys/process.h"

#include <poll.h>
#include <string.h>

#define PATIENCE_MS 5000 /* for another isolated to come, and to see the end */

/* The exit that a reply tells of, where init has not told it. */
static void take_exit(struct run_outcome *outcome, const char *text)
{
    char kind[16] = "";
    char number[16] = "";
    size_t length = 0;
    (void)json_scan_string(text, "parameters.exit.kind", kind, sizeof(kind));
    bool signaled = streq(kind, "signaled");
    const char *value =
        json_scan(text, signaled ? "parameters.exit.signal" : "parameters.exit.code", &length);
    if (value && length < sizeof(number))
        (void)snprintf(number, sizeof(number), "%.*s", (int)length, value);
    int detail = (int)strtol(number, NULL, 10);
    if (outcome->kind != 0)
        return;
    if ((!signaled || detail > 0) && (!streq(kind, "exited") || value))
        outcome->kind = exit_kind_named(kind);
    outcome->detail = detail & (signaled ? 127 : 255);
}

/* 1 and the answer, 0 where it is no use to ask again, -EAGAIN. */
static int ask_once(const char *id, uint64_t until_ms, struct varlink *varlink,
                    const char **ret_text)
{
    struct error ignored;
    _cleanup_buffer_ struct buffer request = {0};
    int r = client_connect_resident(varlink, &ignored);
    if (r <= 0)
        return -EAGAIN;
    buffer_append_text(&request, "{\"method\":\"io.isolate.Wait\",\"parameters\":{\"name\":");
    buffer_append_json_string(&request, id);
    buffer_append_text(&request, "}}");
    if (request.failed || varlink_send(varlink, request.data, request.length, NULL, 0) < 0)
        return -EAGAIN;
    uint64_t now = time_now_ms();
    struct pollfd answer = {.fd = varlink->fd, .events = POLLIN};
    if (now >= until_ms || poll(&answer, 1, (int)(until_ms - now)) != 1)
        return 0;
    return varlink_receive(varlink, true, ret_text) == 1 ? 1 : -EAGAIN;
}

void run_ask_again(const char *id, struct run_outcome *outcome)
{
    uint64_t until_ms = time_now_ms() + PATIENCE_MS;
    size_t length = 0;
    while (time_now_ms() < until_ms) {
        const char *text = NULL;
        struct varlink varlink = {.fd = -EBADF};
        int r = ask_once(id, until_ms, &varlink, &text);
        if (r == 1 && !json_scan(text, "error", &length)) {
            take_exit(outcome, text);
            outcome->reply = strdup(text);
        }
        varlink_clear(&varlink);
        if (r >= 0)
            return;
        (void)poll(NULL, 0, 50);
    }
}
