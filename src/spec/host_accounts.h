/* SPDX-License-Identifier: Apache-2.0 */
/* Users and groups of the machine, as root's configuration names them: by name, or by number
 * where there is no such name. Asks the machine's name services, which may block, but for the
 * first two.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Whether the uid has a line in /etc/passwd itself, and its name there, else "". Never blocks.
 */
bool host_user_is_local(uint32_t uid, char *ret_name, size_t size);

/* The uid of a name that has a line there, or of a number. Never blocks. */
bool host_user_local_id(const char *name, uint32_t *ret_uid);

bool host_user_id(const char *name, uint32_t *ret_uid);
bool host_group_id(const char *name, uint32_t *ret_gid);
