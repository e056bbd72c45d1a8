/* SPDX-License-Identifier: Apache-2.0 */
/* Between isolated and a decoder (struct packet of sys/packet.h; id names a connection). A
 * decoder serves the connections of one uid: it alone reads what callers send, and it alone
 * ever closes a file that a caller sent, which can hang for ever. isolated trusts nothing of it
 * but that it speaks for that uid. */
#pragma once

#define DECODER_CONNECTIONS 256 /* of one uid */

enum decoder_packet {
    /* isolated → decoder: one fd, a new connection; value 1: of root, whose fds may be anything
     */
    DECODER_ADD = 1,
    /* isolated → decoder: one fd, a connection that is not served: payload tells it why */
    DECODER_REFUSE,
    /* isolated → decoder: payload is a message for the caller, with fds; value 1: more follow
     */
    DECODER_REPLY,
    /* isolated → decoder: one fd, a pipe or socket; all that comes from it goes to the caller
     * as it is, and is the end of the reply */
    DECODER_STREAM,
    /* isolated → decoder: nothing more is to be said on it */
    DECODER_CLOSE,

    /* decoder → isolated: payload is a whole message of the caller, with its fds: each of them
     * an O_PATH fd or a SOCK_SEQPACKET unix socket, root's excepted. One call at a time. The
     * decoder keeps its copies until the first reply, so that it is the one who closes last. */
    DECODER_CALL = 16,
    /* decoder → isolated: the caller is gone */
    DECODER_GONE,
    /* decoder → isolated: the stream has ended */
    DECODER_STREAMED,
};
