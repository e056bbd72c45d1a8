/* SPDX-License-Identifier: Apache-2.0 */
/* See config_file.h. By inih, which hands over one line after the other. Runs in isolated and
 * isolate-ctl; the files are root's. */
#include "spec/config_file.h"

#include <ini.h>
#include <string.h>

struct reader {
    FILE *stream;
    const char *file;
    int (*on_key)(void *data, const struct config_line *line, struct error *err);
    void *data;
    struct error *err;
    int result;    /* -errno of the first failure */
    unsigned line; /* the one that was read last */
    bool cut;      /* it does not fit: what follows would be taken for a line of its own */
};

/* Of a comment nothing is lost. */
static void skip_rest(struct reader *reader)
{
    int c = 0;
    while (c != '\n' && c != EOF)
        c = fgetc(reader->stream);
    reader->cut = false;
}

static char *next_line(char *out, int size, void *data)
{
    struct reader *reader = data;
    if (reader->cut || reader->result < 0 || !fgets(out, size, reader->stream))
        return NULL;
    reader->line++;
    reader->cut = !strchr(out, '\n') && !feof(reader->stream);
    if (reader->cut && (*out == '#' || *out == ';'))
        skip_rest(reader);
    return reader->cut ? NULL : out;
}

static int on_key(void *data, const char *section, const char *name, const char *value)
{
    char from[512];
    struct reader *reader = data;
    const struct config_line line = {section, name, value, from};
    (void)snprintf(from, sizeof(from), "%.480s:%u", reader->file, reader->line);
    if (reader->result == 0)
        reader->result = reader->on_key(reader->data, &line, reader->err);
    return reader->result == 0;
}

int config_file_read(const char *file,
                     int (*handler)(void *data, const struct config_line *line,
                                    struct error *err),
                     void *data, struct error *err)
{
    struct reader reader = {.file = file, .on_key = handler, .data = data, .err = err};
    reader.stream = fopen(file, "re");
    if (!reader.stream)
        return fail(err, ERROR_NOT_FOUND, errno, "configuration %s: ", file);
    int bad = ini_parse_stream(next_line, &reader, on_key, &reader);
    bool unreadable = ferror(reader.stream) != 0;
    (void)fclose(reader.stream);
    if (reader.result < 0)
        return error_prefix(err, reader.result, "%s:%u: ", file, reader.line);
    if (unreadable)
        return fail(err, ERROR_SYSTEM, EIO, "configuration %s: ", file);
    if (reader.cut)
        return fail(err, ERROR_INVALID, EINVAL,
                    "%s:%u: longer than %d bytes; write a list as several lines with the same "
                    "key where that may be",
                    file, reader.line, INI_MAX_LINE - 2);
    if (bad != 0)
        return fail(err, ERROR_INVALID, EINVAL, "%s:%d: neither [Section] nor Key=value", file,
                    bad);
    return 0;
}
