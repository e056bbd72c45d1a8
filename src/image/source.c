/* SPDX-License-Identifier: Apache-2.0 */
/* What a SOURCE means. Runs in isolate-image as root (and may run anywhere: it is pure); the
 * text comes from whoever may make templates, os-release from the machine. */
#include "base/text.h"
#include "image/image.h"

#include <string.h>

#define EXAMPLES                                                                               \
    "use debian[:SUITE], ubuntu[:SUITE], dir:PATH, tar:FILE, oci:DIR[:TAG], "                  \
    "docker-archive:FILE[:NAME] or docker://NAME"

/* The value of KEY=VALUE, VALUE plain or in quotes (os-release(5)); false where there is none.
 */
static bool os_release_value(const char *os_release, const char *key, char *out, size_t size)
{
    for (const char *line = os_release; *line;) {
        size_t n = strcspn(line, "\n");
        const char *value = text_after(line, key);
        if (value && *value == '=') {
            value++;
            size_t length = n - (size_t)(value - line);
            if (length >= 2 && (*value == '"' || *value == '\'') &&
                value[length - 1] == *value) {
                value++;
                length -= 2;
            }
            if (length == 0 || length >= size)
                return false;
            memcpy(out, value, length);
            out[length] = '\0';
            return true;
        }
        line += n;
        line += *line == '\n';
    }
    return false;
}

static bool suite_is_valid(const char *suite)
{
    size_t n = strlen(suite);
    if (n == 0 || n > IMAGE_SUITE_MAX || *suite == '.' || *suite == '-')
        return false;
    return strspn(suite, "abcdefghijklmnopqrstuvwxyz0123456789.-") == n;
}

static int read_suite(const char *distribution, const char *given, const char *fallback,
                      const char *os_release, struct image_source *ret, struct error *err)
{
    char id[32];
    char codename[IMAGE_SUITE_MAX + 1];
    const char *suite = fallback;
    if (given)
        suite = given;
    else if (os_release_value(os_release, "ID", id, sizeof(id)) && streq(id, distribution) &&
             os_release_value(os_release, "VERSION_CODENAME", codename, sizeof(codename)) &&
             suite_is_valid(codename))
        suite = codename;
    if (!suite_is_valid(suite))
        return fail(
            err, ERROR_INVALID, 0,
            "source: \"%.60s\" is no name of a %s suite: small letters, digits, \".\" and "
            "\"-\", at most %d, as in %s:%s",
            suite, distribution, IMAGE_SUITE_MAX, distribution, fallback);
    (void)snprintf(ret->suite, sizeof(ret->suite), "%s", suite);
    return 0;
}

static int read_path(const char *kind, const char *path, struct image_source *ret,
                     struct error *err)
{
    size_t n = strlen(path);
    if (n == 0 || n >= sizeof(ret->path))
        return fail(err, ERROR_INVALID, n ? ENAMETOOLONG : EINVAL,
                    "source: \"%s:\" needs a path behind it, of at most %zu bytes", kind,
                    sizeof(ret->path) - 1);
    memcpy(ret->path, path, n + 1);
    return 0;
}

/* PATH[:TAG], of which the path has no colon, and the tag may have more of them. */
static int read_tagged_path(const char *kind, const char *text, struct image_source *ret,
                            struct error *err)
{
    const char *colon = strchr(text, ':');
    size_t n = colon ? (size_t)(colon - text) : strlen(text);
    size_t n_tag = colon ? strlen(colon + 1) : 0;
    if (n == 0 || n >= sizeof(ret->path))
        return fail(
            err, ERROR_INVALID, n ? ENAMETOOLONG : EINVAL,
            "source: \"%s:\" needs a path without \":\" behind it, of at most %zu bytes", kind,
            sizeof(ret->path) - 1);
    if (colon && (n_tag == 0 || n_tag > IMAGE_TAG_MAX))
        return fail(err, ERROR_INVALID, EINVAL,
                    "source: \"%s:PATH:\" needs a tag behind it, of at most %d bytes", kind,
                    IMAGE_TAG_MAX);
    (void)snprintf(ret->path, sizeof(ret->path), "%.*s", (int)n, text);
    (void)snprintf(ret->tag, sizeof(ret->tag), "%s", colon ? colon + 1 : "");
    return 0;
}

int image_source_parse(const char *text, const char *os_release, struct image_source *ret,
                       struct error *err)
{
    static const struct {
        const char *name;
        const char *suite; /* NULL: a path follows */
        enum image_source_kind kind;
        bool tagged;
    } kinds[] = {
        {"debian", "stable", IMAGE_SOURCE_DEBIAN, false},
        {"ubuntu", "noble", IMAGE_SOURCE_UBUNTU, false},
        {"dir", NULL, IMAGE_SOURCE_DIR, false},
        {"tar", NULL, IMAGE_SOURCE_TAR, false},
        {"oci", NULL, IMAGE_SOURCE_OCI, true},
        {"docker-archive", NULL, IMAGE_SOURCE_DOCKER_ARCHIVE, true},
    };
    for (size_t i = 0; i < ELEMENTS(kinds); i++) {
        const char *name = kinds[i].name;
        const char *rest = text_after(text, name);
        if (!rest || (*rest != '\0' && *rest != ':') || (!kinds[i].suite && *rest == '\0'))
            continue;
        struct image_source source = {.kind = kinds[i].kind};
        const char *value = *rest == ':' ? rest + 1 : NULL;
        int r = kinds[i].suite
                    ? read_suite(name, value, kinds[i].suite, os_release, &source, err)
                : kinds[i].tagged ? read_tagged_path(name, value, &source, err)
                                  : read_path(name, value, &source, err);
        if (r == 0)
            *ret = source;
        return r;
    }
    return fail(err, ERROR_INVALID, 0, "source \"%.100s\" is unknown; " EXAMPLES, text);
}
