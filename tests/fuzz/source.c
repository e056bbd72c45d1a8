/* SPDX-License-Identifier: Apache-2.0 */
/* image/source.c, apt_sources.c, apt_files.c: what a template is to be made from, and the
 * machine's package sources, of which arguments and lines of another file are made. */
#include "target.h"

#include "image/apt_sources.h"
#include "image/image.h"

#include <string.h>

const bool target_needs_walls = false;

static void check_source(const char *text, const char *os_release)
{
    struct error err = {0};
    struct image_source source = {0};
    if (image_source_parse(text, os_release, &source, &err) < 0) {
        MUST(err.code == ERROR_INVALID);
        return;
    }
    bool has_suite = source.kind == IMAGE_SOURCE_DEBIAN || source.kind == IMAGE_SOURCE_UBUNTU;
    MUST(!has_suite || (*source.suite && *source.suite != '-' && !strpbrk(source.suite, " /")));
    MUST(has_suite || *source.path);
}

/* Each is one line, of one source. */
static void check_sources(const char *table)
{
    _cleanup_apt_sources_ struct apt_sources sources = {.n = 0};
    if (apt_sources_parse(table, &sources) < 0 ||
        apt_sources_select(&sources, "debian", "bookworm") < 0)
        return;
    for (size_t i = 0; i < sources.n; i++) {
        _cleanup_buffer_ struct buffer line = {0};
        _cleanup_buffer_ struct buffer shown = {0};
        apt_source_line(&sources.items[i], true, &line);
        apt_source_line(&sources.items[i], false, &shown);
        MUST(!strpbrk(line.data, "\n[]") && strncmp(line.data, "deb ", 4) == 0);
        MUST(shown.length <= line.length);
    }
}

static void check_files(const char *text)
{
    char out[128];
    _cleanup_buffer_ struct buffer options = {0};
    if (apt_signed_by(text, "http://mirror.example/debian/", out, sizeof(out)))
        MUST(*out == '/' && !strpbrk(out, " \n\t]"));
    if (apt_mirror_first(text, out, sizeof(out)))
        MUST(strstr(out, "://") && out[strlen(out) - 1] == '/');
    apt_proxy_options(text, &options);
    MUST(!options.failed);
}

void target_run(const uint8_t *data, size_t size)
{
    struct input input = {data, size};
    _cleanup_free_ char *text = input_text(&input);
    _cleanup_free_ char *os_release = input_text(&input);
    _cleanup_free_ char *table = input_rest(&input);
    check_source(text, os_release);
    check_sources(table);
    check_files(table);
}
