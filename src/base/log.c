/* SPDX-License-Identifier: Apache-2.0 */
/* Messages to people. Names inside a message may be hostile: they are escaped here. */
#include "base/log.h"

#include "base/text.h"

#include <stdarg.h>
#include <string.h>
#include <time.h>

#define TEXT_MAX   1024
#define REMEMBERED 16 /* warnings */
#define SILENT_S   60

/* The one setting of the process, written by main before anything else runs. */
static bool quiet_notes;

/* The last warnings, so that what is met at every turn is said once. */
static struct {
    char text[TEXT_MAX];
    time_t at_s;
} said[REMEMBERED];
static size_t said_next;

void log_set_quiet(bool quiet)
{
    quiet_notes = quiet;
}

static void log_line(const char *kind, const char *text)
{
    char escaped[2 * TEXT_MAX];
    char line[2304];
    text_escape(escaped, sizeof(escaped), text);
    int n = snprintf(line, sizeof(line), "isolate: %s%s\n", kind, escaped);
    /* one write, so that lines of parallel runs do not mix */
    if (n > 0 && write(STDERR_FILENO, line, (size_t)n) < 0) {
        /* nobody is left to tell */
    }
}

/* Whether a process that lives long has just said that, too; if not, it counts as said now. */
static bool was_said(const char *text)
{
    struct timespec now = {0};
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    for (size_t i = 0; i < REMEMBERED; i++)
        if (strcmp(said[i].text, text) == 0 && now.tv_sec - said[i].at_s < SILENT_S)
            return true;
    (void)snprintf(said[said_next].text, TEXT_MAX, "%s", text);
    said[said_next].at_s = now.tv_sec;
    said_next = (said_next + 1) % REMEMBERED;
    return false;
}

static void _printf_(3, 0)
    log_message(const char *kind, bool once, const char *format, va_list arguments)
{
    int saved = errno;
    char text[TEXT_MAX];
    (void)vsnprintf(text, sizeof(text), format, arguments);
    if (!once || !was_said(text))
        log_line(kind, text);
    errno = saved;
}

#define LOG(kind, once)                                                                        \
    va_list arguments;                                                                         \
    va_start(arguments, format);                                                               \
    log_message(kind, once, format, arguments);                                                \
    va_end(arguments)

void log_error(const char *format, ...)
{
    LOG("", false);
}

void log_warning(const char *format, ...)
{
    LOG("warning: ", true);
}

void log_note(const char *format, ...)
{
    if (quiet_notes)
        return;
    LOG("", false);
}
