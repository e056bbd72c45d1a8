/* SPDX-License-Identifier: Apache-2.0 */
/* Users and groups of the machine, as root's configuration names them: by name, or by number
 * where there is no such name. Asks the machine's name services, which may block. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

bool host_user_id(const char *name, uint32_t *ret_uid);
bool host_group_id(const char *name, uint32_t *ret_gid);
