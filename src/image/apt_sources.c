/* SPDX-License-Identifier: Apache-2.0 */
/* The machine's package sources. Runs in isolate-image as root; apt's configuration is the
 * administrator's and is still checked, because it becomes arguments and lines of another file.
 */
#include "image/apt_sources.h"

#include "base/text.h"
#include "sys/fd.h"
#include "sys/program.h"

#include <ctype.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>

#define FIELDS 6

static void apt_source_clear(struct apt_source *source)
{
    free(source->uri);
    free(source->suite);
    free(source->origin);
    free(source->entry);
    free(source->signed_by);
    *source = (struct apt_source){0};
}

void apt_sources_clear(struct apt_sources *sources)
{
    for (size_t i = 0; i < sources->n; i++)
        apt_source_clear(&sources->items[i]);
    sources->n = 0;
}

/* Nothing that would end a word, an option or a line of sources.list. */
static bool is_word(const char *text)
{
    if (!*text || *text == '[' || *text == '#')
        return false;
    for (const char *p = text; *p; p++)
        if ((unsigned char)*p <= ' ' || *p == 0x7F || strchr("[]\"'\\", *p))
            return false;
    return true;
}

static bool has_source(const struct apt_sources *sources, const char *uri, const char *suite)
{
    for (size_t i = 0; i < sources->n; i++)
        if (streq(sources->items[i].uri, uri) && streq(sources->items[i].suite, suite))
            return true;
    return false;
}

/* Cuts line into its fields, in place; false where it has another number of them. */
static bool split(char *line, char *fields[static FIELDS])
{
    size_t n = 0;
    for (char *p = line; n < FIELDS; n++) {
        fields[n] = p;
        p = strchr(p, '|');
        if (p)
            *p++ = '\0';
        else
            return n == FIELDS - 1;
    }
    return false;
}

static int add_line(char *line, struct apt_sources *ret)
{
    char *field[FIELDS] = {NULL};
    if (ret->n == APT_SOURCES_MAX || !split(line, field) || !streq(field[0], "Packages") ||
        !streq(field[3], "main") || !is_word(field[1]) || !is_word(field[2]) ||
        strchr(field[2], '/') == field[2] || has_source(ret, field[1], field[2]))
        return 0;
    struct apt_source source = {
        .uri = strdup(field[1]),
        .suite = strdup(field[2]),
        /* apt leaves a variable that it has no value for as it is */
        .origin = strdup(*field[4] == '$' ? "" : field[4]),
        .entry = strdup(*field[5] == '/' ? field[5] : ""),
    };
    if (!source.uri || !source.suite || !source.origin || !source.entry) {
        apt_source_clear(&source);
        return -ENOMEM;
    }
    ret->items[ret->n++] = source;
    return 0;
}

int apt_sources_parse(const char *table, struct apt_sources *ret)
{
    _cleanup_free_ char *copy = strdup(table);
    _cleanup_apt_sources_ struct apt_sources sources = {.n = 0};
    if (!copy)
        return -ENOMEM;
    char *rest = copy;
    char *line = NULL;
    while ((line = strsep(&rest, "\n"))) {
        int r = add_line(line, &sources);
        if (r < 0)
            return r;
    }
    *ret = sources;
    sources.n = 0;
    return 0;
}

/* By what the lists say, or while there are none by the end of the path: …/debian/,
 * …/debian-security/, …/ubuntu/, …/ubuntu-ports/. */
static bool serves(const struct apt_source *source, const char *distribution)
{
    if (*source->origin)
        return strcasecmp(source->origin, distribution) == 0;
    size_t n = strlen(source->uri);
    while (n > 0 && source->uri[n - 1] == '/')
        n--;
    size_t start = n;
    while (start > 0 && source->uri[start - 1] != '/')
        start--;
    char last[64];
    if (n - start == 0 || n - start >= sizeof(last))
        return false;
    memcpy(last, source->uri + start, n - start);
    last[n - start] = '\0';
    const char *tail = text_after(last, distribution);
    return tail && (!*tail || streq(tail, "-security") || streq(tail, "-ports"));
}

/* "" for the suite itself, "-updates", "-security", or NULL. */
static const char *pocket(const char *suite, const char *of)
{
    const char *tail = text_after(suite, of);
    if (tail && (!*tail || streq(tail, "-updates") || streq(tail, "-security")))
        return tail;
    return NULL;
}

static bool is_archive(const struct apt_source *source)
{
    static const char *const others[] = {"-updates",          "-security",         "-backports",
                                         "-proposed",         "-proposed-updates", "-debug",
                                         "-backports-sloppy", "-fasttrack"};
    size_t n = strlen(source->suite);
    for (size_t i = 0; i < ELEMENTS(others); i++) {
        size_t length = strlen(others[i]);
        if (n > length && streq(source->suite + n - length, others[i]))
            return false;
    }
    return !strchr(source->suite, '/');
}

static void keep_only(struct apt_sources *sources, const bool *keep)
{
    size_t kept = 0;
    for (size_t i = 0; i < sources->n; i++) {
        if (keep[i])
            sources->items[kept++] = sources->items[i];
        else
            apt_source_clear(&sources->items[i]);
    }
    sources->n = kept;
}

int apt_sources_select(struct apt_sources *sources, const char *distribution, const char *suite)
{
    bool keep[APT_SOURCES_MAX] = {false};
    bool has_suite = false;
    size_t archive = APT_SOURCES_MAX;
    for (size_t i = 0; i < sources->n; i++) {
        const struct apt_source *source = &sources->items[i];
        if (!serves(source, distribution))
            continue;
        const char *tail = pocket(source->suite, suite);
        keep[i] = tail != NULL;
        has_suite = has_suite || (tail && !*tail);
        if (archive == APT_SOURCES_MAX && is_archive(source))
            archive = i;
    }
    if (!has_suite) {
        memset(keep, 0, sizeof(keep));
        if (archive < APT_SOURCES_MAX) {
            char *other = strdup(suite);
            if (!other)
                return -ENOMEM;
            free(sources->items[archive].suite);
            sources->items[archive].suite = other;
            keep[archive] = true;
        }
    }
    keep_only(sources, keep);
    return 0;
}

void apt_source_line(const struct apt_source *source, bool with_password, struct buffer *ret)
{
    const char *host = strstr(source->uri, "://");
    host = host ? host + 3 : source->uri;
    const char *at = NULL;
    for (const char *p = host; *p && *p != '/'; p++)
        if (*p == '@')
            at = p;
    buffer_append_text(ret, "deb ");
    if (source->signed_by) {
        buffer_append_text(ret, "[signed-by=");
        buffer_append_text(ret, source->signed_by);
        buffer_append_text(ret, "] ");
    }
    if (at && !with_password) {
        buffer_append(ret, source->uri, (size_t)(host - source->uri));
        buffer_append_text(ret, at + 1);
    } else {
        buffer_append_text(ret, source->uri);
    }
    buffer_append_char(ret, ' ');
    buffer_append_text(ret, source->suite);
    buffer_append_text(ret, " main");
}

void apt_proxy_options(const char *dump, struct buffer *ret)
{
    for (const char *line = dump; *line;) {
        size_t n = strcspn(line, "\n");
        const char *rest = text_after(line, "Acquire::http");
        if (rest && *rest == 's')
            rest++;
        rest = rest ? text_after(rest, "::") : NULL;
        bool proxy = rest && (text_after(rest, "Proxy ") || text_after(rest, "Proxy::") ||
                              text_after(rest, "Proxy-Auto-Detect ") ||
                              text_after(rest, "ProxyAutoDetect "));
        /* `Name "";` sets nothing */
        if (proxy && n > 4 && strncmp(line + n - 4, " \"\";", 4) != 0) {
            buffer_append(ret, line, n);
            buffer_append_char(ret, '\0');
        }
        line += n;
        line += *line == '\n';
    }
}
