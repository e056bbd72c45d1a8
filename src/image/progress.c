/* SPDX-License-Identifier: Apache-2.0 */
/* The progress line. Runs in isolate-image as root; the log of a child may hold anything and is
 * escaped before it reaches the terminal. */
#include "image/progress.h"

#include "base/cleanup.h"
#include "base/text.h"
#include "sys/process.h"

#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define DRAW_EVERY_MS  200
#define LINE_MAX_BYTES 256

void progress_init(struct progress *progress)
{
    *progress = (struct progress){.log_fd = -EBADF, .phase = ""};
    progress->draws = isatty(STDERR_FILENO) == 1 && !getenv("ISOLATE_QUIET");
    void *shared = mmap(NULL, sizeof(*progress->counters), PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    progress->counters = shared == MAP_FAILED ? &progress->own : shared;
}

void progress_begin(struct progress *progress, const char *phase)
{
    if (!progress)
        return;
    progress->phase = phase;
    progress->started_ms = time_now_ms();
    *progress->counters = (struct progress_counters){0};
}

void progress_add(struct progress *progress, uint64_t entries, uint64_t bytes)
{
    if (!progress)
        return;
    /* one writer at a time; readers only draw */
    __atomic_fetch_add(&progress->counters->entries, entries, __ATOMIC_RELAXED);
    __atomic_fetch_add(&progress->counters->bytes, bytes, __ATOMIC_RELAXED);
    progress_tick(progress);
}

void progress_expect(struct progress *progress, uint64_t total)
{
    if (progress)
        __atomic_store_n(&progress->counters->total, total, __ATOMIC_RELAXED);
}

void progress_input(struct progress *progress, uint64_t bytes)
{
    if (!progress)
        return;
    __atomic_fetch_add(&progress->counters->input, bytes, __ATOMIC_RELAXED);
    progress_tick(progress);
}

#define MIB 1048576.0

void progress_text(const char *phase, const struct progress_counters *counters,
                   uint64_t elapsed_ms, char *out, size_t size)
{
    double seconds = (double)elapsed_ms / 1000;
    uint64_t total = counters->total;
    uint64_t input = counters->input < total ? counters->input : total;
    double rate = elapsed_ms ? (double)counters->bytes / MIB / seconds : 0.0;
    int n =
        snprintf(out, size, "%s: %llu entries, %.1f MiB, %.1f MiB/s", phase,
                 (unsigned long long)counters->entries, (double)counters->bytes / MIB, rate);
    if (total == 0 || input == 0 || n < 0 || (size_t)n >= size)
        return;
    /* at the rate at which it has been read so far */
    double left = seconds * (double)(total - input) / (double)input;
    (void)snprintf(out + n, size - (size_t)n, ", %u%% of %.1f MiB, %llu s left",
                   (unsigned)(input * 100 / total), (double)total / MIB,
                   (unsigned long long)(left + 0.5));
}

/* The last line of the log without its "I: ", or the phase. */
static void phase_text(const struct progress *progress, char *out, size_t size)
{
    char tail[512];
    struct stat st;
    (void)snprintf(out, size, "%s", progress->phase);
    if (progress->log_fd < 0 || fstat(progress->log_fd, &st) < 0)
        return;
    off_t from =
        st.st_size > (off_t)sizeof(tail) - 1 ? st.st_size - (off_t)sizeof(tail) + 1 : 0;
    ssize_t n = pread(progress->log_fd, tail, sizeof(tail) - 1, from);
    if (n <= 0)
        return;
    tail[n] = '\0';
    while (n > 0 && tail[n - 1] == '\n')
        tail[--n] = '\0';
    char *line = strrchr(tail, '\n');
    line = line ? line + 1 : tail;
    const char *rest = text_after(line, "I: ");
    if (rest)
        text_escape(out, size, rest);
}

static unsigned terminal_columns(void)
{
    struct winsize window;
    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &window) < 0 || window.ws_col < 20)
        return 80;
    return window.ws_col < LINE_MAX_BYTES - 8 ? window.ws_col : LINE_MAX_BYTES - 8;
}

void progress_tick(struct progress *progress)
{
    if (!progress || !progress->draws)
        return;
    uint64_t now = time_now_ms();
    if (now - progress->drawn_ms < DRAW_EVERY_MS)
        return;
    progress->drawn_ms = now;
    const struct progress_counters counters = {
        .entries = __atomic_load_n(&progress->counters->entries, __ATOMIC_RELAXED),
        .bytes = __atomic_load_n(&progress->counters->bytes, __ATOMIC_RELAXED),
        .input = __atomic_load_n(&progress->counters->input, __ATOMIC_RELAXED),
        .total = __atomic_load_n(&progress->counters->total, __ATOMIC_RELAXED),
    };
    uint64_t elapsed_ms = now - progress->started_ms;
    char text[LINE_MAX_BYTES];
    char line[LINE_MAX_BYTES + 16];
    if (counters.entries == 0 && progress->log_fd >= 0) {
        char phase[128];
        phase_text(progress, phase, sizeof(phase));
        (void)snprintf(text, sizeof(text), "%s: %s, %llu s", progress->phase, phase,
                       (unsigned long long)elapsed_ms / 1000);
    } else {
        progress_text(progress->phase, &counters, elapsed_ms, text, sizeof(text));
    }
    int n = snprintf(line, sizeof(line), "\r%.*s\x1b[K", (int)terminal_columns() - 1, text);
    progress->drawn = true;
    if (n > 0 && write(STDERR_FILENO, line, (size_t)n) < 0)
        progress->draws = false;
}

void progress_clear(struct progress *progress)
{
    static const char clear[] = "\r\x1b[K";
    if (!progress || !progress->drawn)
        return;
    progress->drawn = false;
    if (write(STDERR_FILENO, clear, sizeof(clear) - 1) < 0)
        progress->draws = false;
}
