/* SPDX-License-Identifier: Apache-2.0 */
/* The files of apt's configuration that apt-get does not speak about: keyrings named by
 * sources, and lists of mirrors. Runs in isolate-image as root; the files are the
 * administrator's. */
#include "base/text.h"
#include "image/apt_sources.h"
#include "sys/fd.h"
#include "sys/program.h"

#include <ctype.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>

#define FILE_MAX (1024 * 1024)

/* Whether one of the words of a text of n bytes is the uri, "/" at the end or not. */
static bool has_uri(const char *text, size_t n, const char *uri)
{
    size_t length = strlen(uri);
    while (length > 0 && uri[length - 1] == '/')
        length--;
    for (size_t i = 0; i < n;) {
        while (i < n && isspace((unsigned char)text[i]))
            i++;
        size_t start = i;
        while (i < n && !isspace((unsigned char)text[i]))
            i++;
        size_t end = i;
        while (end > start && text[end - 1] == '/')
            end--;
        if (length > 0 && end - start == length && memcmp(text + start, uri, length) == 0)
            return true;
    }
    return false;
}

static bool take_path(const char *text, size_t n, char *out, size_t size)
{
    while (n > 0 && isspace((unsigned char)*text)) {
        text++;
        n--;
    }
    size_t length = 0;
    while (length < n && !isspace((unsigned char)text[length]) && !strchr("],\"", text[length]))
        length++;
    if (length == 0 || length >= size || *text != '/')
        return false;
    memcpy(out, text, length);
    out[length] = '\0';
    return true;
}

/* "deb [arch=amd64 signed-by=/a/b.gpg] http://… suite main" */
static bool from_line(const char *line, size_t n, const char *uri, char *out, size_t size)
{
    if (n < 4 || memcmp(line, "deb", 3) != 0 || !has_uri(line, n, uri))
        return false;
    const char *open = memchr(line, '[', n);
    const char *close = memchr(line, ']', n);
    if (!open || !close || close < open)
        return false;
    const char *option = memmem(open, (size_t)(close - open), "signed-by=", 10);
    return option && take_path(option + 10, (size_t)(close - option) - 10, out, size);
}

/* A stanza of deb822: "URIs: …" and "Signed-By: /a/b.gpg" on lines of their own. */
static bool from_stanza(const char *stanza, size_t n, const char *uri, char *out, size_t size)
{
    bool ours = false;
    bool found = false;
    for (size_t i = 0; i < n;) {
        const char *line = stanza + i;
        size_t length = strcspn(line, "\n");
        if (strncasecmp(line, "URIs:", 5) == 0)
            ours = has_uri(line + 5, length - 5, uri);
        else if (strncasecmp(line, "Signed-By:", 10) == 0)
            found = take_path(line + 10, length - 10, out, size);
        i += length + 1;
    }
    return ours && found;
}

bool apt_signed_by(const char *text, const char *uri, char *out, size_t size)
{
    for (const char *p = text; *p;) {
        const char *end = strstr(p, "\n\n");
        size_t n = end ? (size_t)(end - p) + 1 : strlen(p);
        if (from_stanza(p, n, uri, out, size))
            return true;
        p += n;
    }
    for (const char *p = text; *p;) {
        size_t n = strcspn(p, "\n");
        if (from_line(p, n, uri, out, size))
            return true;
        p += n;
        p += *p == '\n';
    }
    return false;
}

bool apt_mirror_first(const char *text, char *out, size_t size)
{
    for (const char *p = text; *p;) {
        size_t n = strcspn(p, "\n");
        size_t word = strcspn(p, " \t\n");
        if (*p != '#' && memmem(p, word, "://", 3) && word + 2 <= size) {
            memcpy(out, p, word);
            if (out[word - 1] != '/')
                out[word++] = '/';
            out[word] = '\0';
            return true;
        }
        p += n;
        p += *p == '\n';
    }
    return false;
}

static int read_keyring(struct apt_source *source)
{
    _cleanup_buffer_ struct buffer text = {0};
    char keyring[PATH_MAX];
    char *colon = strrchr(source->entry, ':');
    if (!colon)
        return 0;
    *colon = '\0';
    if (file_read_at(AT_FDCWD, source->entry, FILE_MAX, &text) < 0 || !text.data)
        return 0;
    if (!apt_signed_by(text.data, source->uri, keyring, sizeof(keyring)))
        return 0;
    source->signed_by = strdup(keyring);
    return source->signed_by ? 0 : -ENOMEM;
}

/* "mirror+file:/etc/apt/mirrors/debian.list/", as in Debian's cloud images, means nothing
 * inside a template: the first mirror of the list takes its place. */
static int resolve_mirror(struct apt_source *source)
{
    _cleanup_buffer_ struct buffer text = {0};
    char path[PATH_MAX];
    char uri[PATH_MAX];
    const char *rest = text_after(source->uri, "mirror+file:");
    if (!rest)
        return 0;
    while (rest[0] == '/' && rest[1] == '/')
        rest++;
    (void)snprintf(path, sizeof(path), "%s", rest);
    size_t n = strlen(path);
    if (n > 0 && path[n - 1] == '/')
        path[n - 1] = '\0';
    if (file_read_at(AT_FDCWD, path, FILE_MAX, &text) < 0 || !text.data ||
        !apt_mirror_first(text.data, uri, sizeof(uri)))
        return 0;
    char *copy = strdup(uri);
    if (!copy)
        return -ENOMEM;
    free(source->uri);
    source->uri = copy;
    return 0;
}

int apt_sources_load(const char *distribution, const char *suite, struct apt_sources *ret,
                     struct error *err)
{
    static const char *const argv[] = {"apt-get", "indextargets", "--format", APT_TABLE_FORMAT,
                                       NULL};
    _cleanup_apt_sources_ struct apt_sources sources = {.n = 0};
    _cleanup_buffer_ struct buffer table = {0};
    int r = program_capture(argv, 4 * FILE_MAX, &table, err);
    if (r == -ENOENT)
        return 0; /* no apt, no mirrors: mmdebstrap will say what it lacks */
    if (r < 0)
        return error_prefix(err, r, "ask apt for its mirrors: ");
    r = apt_sources_parse(table.data ? table.data : "", &sources);
    for (size_t i = 0; i < sources.n && r == 0; i++) {
        /* the keyring first: the entry names the uri as it is written there */
        r = read_keyring(&sources.items[i]);
        if (r == 0)
            r = resolve_mirror(&sources.items[i]);
    }
    if (r == 0)
        r = apt_sources_select(&sources, distribution, suite);
    if (r < 0)
        return fail(err, ERROR_SYSTEM, r, "read apt's mirrors: ");
    *ret = sources;
    sources.n = 0;
    return 0;
}
