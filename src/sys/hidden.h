/* SPDX-License-Identifier: Apache-2.0 */
/* What of proc and sysfs no sandbox sees, as the container engines hide it: files read as
 * empty, directories are empty; and what cannot be written even by root of a less careful
 * kernel. Paths, ended by NULL; some exist on some machines only. */
#pragma once

extern const char *const hidden_in_proc[];
extern const char *const hidden_in_sys[];
extern const char *const read_only_in_proc[];
