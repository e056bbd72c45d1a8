/* SPDX-License-Identifier: Apache-2.0 */
/* FUSE servers of users: whoever closes a file of one waits for its answer, for as long as the
 * server likes. */
#pragma once

#include "sys/socket.h"

#include <sys/types.h>

/* Aborts the file systems of the uid's servers, and those of its subordinate ids (with
 * UID_REFUSED of all users), and those that the files (or NULL) are of: who waits for them goes
 * on. Never those of root's. What came of it is logged. */
void servers_abort(const struct fd_list *files, uid_t uid);
