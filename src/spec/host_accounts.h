/* SPDX-License-Identifier: Apache-2.0 */
/* Users and groups of the machine, as root's configuration names them: by name, or by number
 * where there is no such name. Asks the machine's name services, which may block, but for one.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The name of a uid by /etc/passwd alone, which never blocks; else a name made of its number.
 */
void host_user_name(uint32_t uid, char *ret, size_t size);

bool host_user_id(const char *name, uint32_t *ret_uid);
bool host_group_id(const char *name, uint32_t *ret_gid);
