/* SPDX-License-Identifier: Apache-2.0 */
/* FUSE servers of users: whoever closes a file of one waits for its answer, for as long as the
 * server likes. Those of root are never aborted. What comes of it is logged. */
#pragma once

#include "sys/socket.h"

#include <stdbool.h>
#include <sys/types.h>

/* Aborts the file systems that these files are of themselves, whoever mounted them. Whether
 * some may lie on others: of what has no device, as overlay. */
bool servers_abort_of(uid_t uid, const struct fd_list *files) _must_check_;
/* All of the uid's, and of its subordinate ids, or everybody's: what these n files (sorted
 * then) are of may lie on one of them. There can be very many, so it is done by a process of
 * its own, of which the pid is returned; -errno. It has nothing else of isolated's open. */
pid_t servers_abort_all(uid_t uid, bool everybodys, int *files, size_t n);
