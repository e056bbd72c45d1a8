/* SPDX-License-Identifier: Apache-2.0 */
/* Messages to people. Names inside a message may be hostile: they are escaped here. */
#include "base/log.h"

#include "base/text.h"

#include <stdarg.h>

/* The one setting of the process, written by main before anything else runs. */
static bool quiet_notes;

void log_set_quiet(bool quiet)
{
    quiet_notes = quiet;
}

static void _printf_(2, 0) log_line(const char *kind, const char *format, va_list arguments)
{
    int saved = errno;
    char text[1024];
    char escaped[2048];
    char line[2304];
    (void)vsnprintf(text, sizeof(text), format, arguments);
    text_escape(escaped, sizeof(escaped), text);
    int n = snprintf(line, sizeof(line), "isolate: %s%s\n", kind, escaped);
    /* one write, so that lines of parallel runs do not mix */
    if (n > 0 && write(STDERR_FILENO, line, (size_t)n) < 0) {
        /* nobody is left to tell */
    }
    errno = saved;
}

#define LOG(kind)                                                                              \
    va_list arguments;                                                                         \
    va_start(arguments, format);                                                               \
    log_line(kind, format, arguments);                                                         \
    va_end(arguments)

void log_error(const char *format, ...)
{
    LOG("");
}

void log_warning(const char *format, ...)
{
    LOG("warning: ");
}

void log_note(const char *format, ...)
{
    if (quiet_notes)
        return;
    LOG("");
}
