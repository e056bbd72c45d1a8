/* SPDX-License-Identifier: Apache-2.0 */
/* The decoders, one a uid with connections, and one for all who are not served: see
 * varlink/decoder.h and decoder.c. */
#pragma once

#include "daemon/session.h"
#include "sys/packet.h"

struct decoder;

#define UID_REFUSED ((uid_t)-1) /* nobody's: all that are not served share one decoder */

/* Gives a new connection of that peer to the decoder of its uid, which is started where there
 * is none. -EBUSY where the uid has too many. */
int decoder_add(struct daemon *daemon, const struct peer *peer, int take_fd,
                struct error *err) _must_check_;
/* Lets it, or the one of all who are not served, tell a connection why. fd is borrowed. */
void decoder_refuse(struct daemon *daemon, const struct peer *peer, int fd, const char *text);
/* Sends a reply or a stream for a connection; a decoder that does not take it is ended. */
void decoder_send(struct decoder *decoder, const struct packet *packet, const char *text);
/* Whether the uid's decoder takes nothing any more: it hangs in a file of that uid's, or has
 * been killed. */
bool decoder_hangs(const struct daemon *daemon, uid_t uid);
/* Whether what they say is read (callers.h). */
void decoder_listen_to_all(const struct daemon *daemon, bool on);
/* Takes all of them away, at the end of isolated. */
void decoder_close_all(struct daemon *daemon);
