/* SPDX-License-Identifier: Apache-2.0 */
/* What isolate says to people: on stderr, one line a message, "isolate: " in front, control
 * characters escaped. stdout belongs to the command. */
#pragma once

#include "base/error.h"

#include <stdbool.h>

/* Set once in main: -q silences log_note; errors and warnings are never silenced. */
void log_set_quiet(bool quiet);

void log_error(const char *format, ...) _printf_(1, 2);
/* The same text is said once a minute. */
void log_warning(const char *format, ...) _printf_(1, 2);
void log_note(const char *format, ...) _printf_(1, 2);
