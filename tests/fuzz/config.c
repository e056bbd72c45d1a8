/* SPDX-License-Identifier: Apache-2.0 */
/* spec/config.c: a configuration and one of a template. What isolated was told it tells its
 * builders, in the same form. */
#include "target.h"

#include "spec/config.h"

#include <string.h>
#include <sys/stat.h>

const bool target_needs_walls = false;

static int load(const char *name, struct config *ret)
{
    char path[320];
    struct error err = {0};
    (void)snprintf(path, sizeof(path), "%s/%s", target_directory(), name);
    int r = config_load(path, ret, &err);
    MUST(r == 0 || (err.code != ERROR_NONE && *err.text));
    return r;
}

/* What is printed is read as the same. */
static void check_again(const struct config *config)
{
    _cleanup_buffer_ struct buffer text = {0};
    _cleanup_buffer_ struct buffer again = {0};
    _cleanup_config_ struct config other = {0};
    config_print(config, &text);
    MUST(!text.failed);
    target_write("again.conf", text.data, text.length);
    MUST(load("again.conf", &other) == 0);
    config_print(&other, &again);
    MUST(again.length == text.length && memcmp(again.data, text.data, text.length) == 0);
}

void target_run(const uint8_t *data, size_t size)
{
    struct input input = {data, size};
    _cleanup_config_ struct config config = {0};
    _cleanup_free_ char *main_file = input_text(&input);
    _cleanup_free_ char *template = input_rest(&input);
    (void)mkdirat(target_directory_fd(), "templates.d", 0700);
    target_write("isolated.conf", main_file, strlen(main_file));
    target_write("templates.d/one.conf", template, strlen(template));
    if (load("isolated.conf", &config) < 0)
        return;
    MUST(config.n_templates == 1 && config_template(&config, "one"));
    check_again(&config);
}
