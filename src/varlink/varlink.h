/* SPDX-License-Identifier: Apache-2.0 */
/* Varlink framing: JSON messages, each ended by a NUL byte, over a stream socket, with fds by
 * SCM_RIGHTS attached to the message they were sent with. No JSON library here: messages are
 * text. Source: varlink.org/Wire-Protocol. The peer is untrusted: a message larger than the
 * limit, or with more fds than fit, is -EMSGSIZE. */
#pragma once

#include "base/buffer.h"
#include "base/error.h"
#include "sys/socket.h"

#include <stdbool.h>

#define VARLINK_MESSAGE_MAX (16U << 20)

/* Values of a call, as json_count_values counts them: each costs a tree up to 120 bytes, and 16
 * MiB of `{},` were 1.2 GiB, and more than a second in which nobody else was served. What a Run
 * may have: 65536 arguments and 65536 variables (START_STRINGS), and some thousands of others.
 */
#define VARLINK_VALUES_MAX      150000
#define VARLINK_TOO_MANY_VALUES "the message has more than 150000 values"

struct varlink {
    int fd;
    struct buffer in;   /* received, not yet returned */
    size_t consumed;    /* bytes at the beginning of `in` that were returned */
    struct fd_list fds; /* that came with what is in `in` */
};

void varlink_clear(struct varlink *varlink); /* closes everything */

/* Sends one message (text without its NUL) with borrowed fds. Blocks. */
int varlink_send(struct varlink *varlink, const char *text, size_t length, const int *fds,
                 size_t n_fds) _must_check_;

/* Returns the next message: 1 and *ret_text (valid until the next call), 0 at the end of the
 * stream, -EAGAIN where `wait` is false and none is complete, -errno. */
int varlink_receive(struct varlink *varlink, bool wait, const char **ret_text) _must_check_;

/* Finds a member of a JSON message by a path of object keys such as "parameters.message"
 * without building a tree, for programs that have no JSON library. Returns where its value
 * begins and its length, or NULL. Well-formed JSON is assumed; on anything else the answer is
 * NULL or part of the text, never outside of it. */
const char *json_scan(const char *text, const char *path, size_t *ret_length);

/* The same for a string, unescaped into out (truncated to size). False where it is no string.
 */
bool json_scan_string(const char *text, const char *path, char *out, size_t size);

/* How many values a JSON message has, names of members too, without building a tree: those that
 * a parser comes to are at most one more, also where it gives up because it is no JSON. Counts
 * `{`, `[`, `,` and `:` outside of strings, so an empty list or object is two. */
size_t json_count_values(const char *text);
