/* SPDX-License-Identifier: Apache-2.0 */
/* Files of callers that isolated holds: control sockets and connections, with whatever is
 * queued in them. */
#pragma once

#include "sys/socket.h"

#include <stdbool.h>
#include <sys/types.h>

/* At the start of isolated, before it makes any process. */
void foreign_open(void);
/* Closes them where isolated may be the last who does: a TCP socket with SO_LINGER that is
 * queued in one of them would make that wait, for as long as its owner likes. At the end of a
 * process the kernel does not wait (inet_release, PF_EXITING), so that is how they are closed.
 * Takes a fraction of a millisecond: not for what has been passed on well. Nobody waits for it,
 * and each uid only behind what is its own. */
void foreign_close(uid_t uid, struct fd_list *list);
/* At the end of isolated, which is not to wait for what still waits for a turn. */
void foreign_close_all(void);
/* So much of the uid's is to be closed, and does not come to its end, that nothing more is to
 * be taken of it. Never of root's. */
bool foreign_is_stuck(uid_t uid);
/* Files of very many uids are to be closed: they may be one user's. */
bool foreign_is_crowded(void);
/* Closes those of the list that are neither O_PATH nor sockets of AF_UNIX, and says whether
 * there were any. Only a decoder in hostile hands sends these. Closing a file of a FUSE
 * server's would wait for its answer, and for ever, whoever else has it open: that one, and all
 * of the uid and its subordinate ids, are aborted first, unless they are root's; everybody's
 * where it cannot be known whose it is (an overlay over one). */
bool foreign_refuse(uid_t uid, struct fd_list *list);
/* Forgets those that have closed, and goes on with what could not be begun. Called now and
 * then. */
void foreign_reap(void);
