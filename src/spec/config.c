/* SPDX-License-Identifier: Apache-2.0 */
/* Which files there are, and what their keys mean. Runs in isolated and isolate-ctl as root;
 * the files are root's. */
#include "spec/config.h"

#include "base/parse.h"
#include "base/text.h"
#include "paths.h"
#include "spec/config_file.h"
#include "spec/names.h"

#include <glob.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int set_text(char **target, const char *value, const char *key, struct error *err)
{
    char *copy = strdup(value);
    if (!copy)
        return fail(err, ERROR_SYSTEM, ENOMEM, "%s=: ", key);
    free(*target);
    *target = copy;
    return 0;
}

static int set_path(char **target, const char *value, const char *key, struct error *err)
{
    if (value[0] != '/' || strlen(value) > 200)
        return fail(err, ERROR_INVALID, EINVAL,
                    "%s=: not an absolute path of at most 200 bytes: \"%.80s\"", key, value);
    return set_text(target, value, key, err);
}

/* Whether path is names with a slash between them, none of them beginning with a dot. */
static bool is_group_path(const char *path)
{
    for (const char *name = path; name; name = strchr(name, '/')) {
        name += *name == '/' && name != path;
        if (*name == '\0' || *name == '/' || *name == '.')
            return false;
    }
    return strlen(path) <= 200;
}

static int set_cgroup(char **target, const char *value, struct error *err)
{
    if (*value && !is_group_path(value))
        return fail(err, ERROR_INVALID, EINVAL,
                    "Cgroup=: not a path below the cgroup v2 mount: \"%.80s\"", value);
    return set_text(target, value, "Cgroup", err);
}

static int set_group(char **target, const char *value, struct error *err)
{
    if (!*value || strlen(value) > 64)
        return fail(err, ERROR_INVALID, EINVAL, "Group=: not the name of a group: \"%.80s\"",
                    value);
    return set_text(target, value, "Group", err);
}

static int set_key(struct config *config, const char *key, const char *value, struct error *err)
{
    if (streq(key, "Paths.StateDirectory"))
        return set_path(&config->state_directory, value, "StateDirectory", err);
    if (streq(key, "Paths.RuntimeDirectory"))
        return set_path(&config->runtime_directory, value, "RuntimeDirectory", err);
    if (streq(key, "Sandboxes.Cgroup"))
        return set_cgroup(&config->cgroup, value, err);
    if (streq(key, "Sandboxes.FirstId"))
        return parse_u32(value, 65536, 4294836223U, &config->first_id, "FirstId=", err);
    if (streq(key, "Sandboxes.Ranges"))
        return parse_u32(value, 1, 65000, &config->ranges, "Ranges=", err);
    if (streq(key, "Templates.KeepGenerations"))
        return parse_u32(value, 0, 1000, &config->keep_generations, "KeepGenerations=", err);
    if (streq(key, "Templates.Storage"))
        return set_text(&config->storage, value, "Storage", err);
    if (streq(key, "Daemon.Group"))
        return set_group(&config->group, value, err);
    if (streq(key, "Daemon.IdleExit"))
        return parse_u32(value, 0, 86400, &config->idle_exit_s, "IdleExit=", err);
    if (streq(key, "Limits.Ulimits"))
        return rlimits_parse(value, &config->ulimits, "Ulimits=", err);
    if (streq(key, "Pool.Parked"))
        return parse_u32(value, 0, 10000, &config->pool_parked, "Parked=", err);
    if (streq(key, "Pool.Fresh"))
        return parse_u32(value, 0, 10000, &config->pool_fresh, "Fresh=", err);
    return fail(err, ERROR_INVALID, EINVAL, "unknown key %.80s", key);
}

/* What [Policy] says now, and was said elsewhere before there was one. */
static const struct {
    const char *key;
    const char *name;
} older_keys[] = {
    {"Network.Members", "Networks"},
    {"Devices.Members", "Devices"},
    {"Daemon.SandboxesPerUser", "Sandboxes"},
};

static int on_key(void *data, const struct config_line *line, struct error *err)
{
    char key[160];
    (void)snprintf(key, sizeof(key), "%s.%s", line->section, line->name);
    if (streq(line->section, "Policy"))
        return config_policy_key(data, line, err);
    for (size_t i = 0; i < ELEMENTS(older_keys); i++)
        if (streq(older_keys[i].key, key)) {
            int r = config_policy_old_key(data, older_keys[i].name, line, err);
            return r < 0 ? error_prefix(err, r, "%s=: ", line->name) : 0;
        }
    return set_key(data, key, line->value, err);
}

static int on_template_key(void *data, const struct config_line *line, struct error *err)
{
    struct template_config *template = data;
    uint32_t parked = 0;
    if (streq(line->section, "Template") && streq(line->name, "Root"))
        return set_path(&template->root, line->value, "Root", err);
    if (streq(line->section, "Policy"))
        return config_policy_template_key(template, line, err);
    if (!streq(line->section, "Pool") || !streq(line->name, "Parked"))
        return fail(err, ERROR_INVALID, EINVAL, "unknown key %.60s.%.60s", line->section,
                    line->name);
    int r = parse_u32(line->value, 0, 10000, &parked, "Parked=", err);
    template->parked = (int)parked;
    return r;
}

static void load_template(const char *file, struct template_config *template)
{
    struct error err = {0};
    const char *slash = strrchr(file, '/');
    template->parked = -1;
    (void)snprintf(template->name, sizeof(template->name), "%.*s",
                   (int)(strlen(slash + 1) - strlen(".conf")), slash + 1);
    int r = config_file_read(file, on_template_key, template, &err);
    if (r == 0)
        r = name_check_template(template->name, &err);
    if (r == 0 && template->root && access(template->root, F_OK) < 0)
        r = fail(&err, ERROR_NOT_FOUND, errno, "%.100s: Root=%.100s: ", file, template->root);
    if (r < 0)
        (void)snprintf(template->problem, sizeof(template->problem), "%.250s", err.text);
}

/* What cannot be listed is not empty. */
static int is_wrong(const char *path, int errnum)
{
    return errnum != ENOENT;
}

static int find_files(const char *pattern, glob_t *ret, struct error *err)
{
    int r = glob(pattern, 0, is_wrong, ret);
    return r == 0 || r == GLOB_NOMATCH
               ? 0
               : fail(err, ERROR_SYSTEM, r == GLOB_NOSPACE ? ENOMEM : EIO, "%s: ", pattern);
}

/* The files of a directory beside the configuration (NULL: the installed one). */
static int find_beside(const char *file, const char *directory, glob_t *ret, struct error *err)
{
    char pattern[512];
    const char *slash = file ? strrchr(file, '/') : NULL;
    if (file && !slash)
        (void)snprintf(pattern, sizeof(pattern), "%s/*.conf", directory);
    else
        (void)snprintf(pattern, sizeof(pattern), "%.*s/%s/*.conf",
                       file ? (int)(slash - file) : (int)strlen(PATH_CONFIG_DIR),
                       file ? file : PATH_CONFIG_DIR, directory);
    return find_files(pattern, ret, err);
}

static int load_templates(const char *file, struct config *config, struct error *err)
{
    glob_t found = {0};
    int r = find_beside(file, "templates.d", &found, err);
    if (r == 0)
        config->templates = calloc(found.gl_pathc + 1, sizeof(*config->templates));
    for (size_t i = 0; config->templates && i < found.gl_pathc; i++)
        load_template(found.gl_pathv[i], &config->templates[config->n_templates++]);
    globfree(&found);
    return r < 0 || config->templates ? r : fail(err, ERROR_SYSTEM, ENOMEM, "templates.d: ");
}

static int load_groups(const char *file, struct config *config, struct error *err)
{
    glob_t found = {0};
    int r = find_beside(file, "groups.d", &found, err);
    if (r == 0)
        r = config_policy_load_groups(config, found.gl_pathv, found.gl_pathc, err);
    globfree(&found);
    return r;
}

const struct template_config *config_template(const struct config *config, const char *name)
{
    for (size_t i = 0; i < config->n_templates; i++)
        if (streq(config->templates[i].name, name))
            return &config->templates[i];
    return NULL;
}

static int load_installed(struct config *config, struct error *err)
{
    const char *main_file = PATH_CONFIG_DIR "/isolated.conf";
    struct stat st;
    int r = 0;
    if (lstat(main_file, &st) == 0 || errno != ENOENT)
        r = config_file_read(main_file, on_key, config, err);
    glob_t found = {0};
    if (r == 0)
        r = find_files(PATH_CONFIG_DIR "/isolated.conf.d/*.conf", &found, err);
    for (size_t i = 0; i < found.gl_pathc && r == 0; i++)
        r = config_file_read(found.gl_pathv[i], on_key, config, err);
    globfree(&found);
    return r;
}

int config_load(const char *file, struct config *ret, struct error *err)
{
    _cleanup_config_ struct config config = {
        .state_directory = strdup("/var/lib/isolate"),
        .runtime_directory = strdup("/run/isolate"),
        .cgroup = strdup(""),
        .first_id = 1879048192U,
        .ranges = 4094,
        .keep_generations = 1,
        .storage = strdup(""),
        .group = strdup("isolate"),
        .pool_parked = 32,
        .pool_fresh = 2,
    };
    if (!config.state_directory || !config.runtime_directory || !config.cgroup ||
        !config.group || !config.storage)
        return fail(err, ERROR_SYSTEM, ENOMEM, "configuration: ");
    int r = file ? config_file_read(file, on_key, &config, err) : load_installed(&config, err);
    if (r == 0)
        r = config_policy_settle(&config, err);
    if (r == 0)
        r = load_templates(file, &config, err);
    if (r == 0)
        r = load_groups(file, &config, err);
    if (r < 0)
        return r;
    if ((uint64_t)config.first_id + (uint64_t)config.ranges * 65536 > UINT32_MAX - 65536ULL)
        return fail(err, ERROR_INVALID, EINVAL,
                    "FirstId= and Ranges= go beyond the last id of a 32-bit kernel id");
    *ret = TAKE_STRUCT(config);
    return 0;
}

static void print_ulimits(const struct rlimit_wishes *ulimits, struct buffer *ret)
{
    char text[RLIMIT_TEXT_MAX];
    buffer_append_text(ret, "[Limits]\nUlimits=");
    for (uint32_t i = 0; i < ulimits->n; i++) {
        rlimit_print(&ulimits->items[i], text);
        buffer_printf(ret, "%s%s", i > 0 ? " " : "", text);
    }
    buffer_append_char(ret, '\n');
}

void config_print(const struct config *config, struct buffer *ret)
{
    buffer_printf(ret, "[Paths]\nStateDirectory=%s\nRuntimeDirectory=%s\n",
                  config->state_directory, config->runtime_directory);
    buffer_printf(ret, "[Sandboxes]\nCgroup=%s\nFirstId=%u\nRanges=%u\n", config->cgroup,
                  config->first_id, config->ranges);
    buffer_printf(ret, "[Templates]\nKeepGenerations=%u\nStorage=%s\n",
                  config->keep_generations, config->storage);
    buffer_printf(ret, "[Daemon]\nGroup=%s\nIdleExit=%u\n", config->group, config->idle_exit_s);
    print_ulimits(&config->ulimits, ret);
    buffer_printf(ret, "[Pool]\nParked=%u\nFresh=%u\n", config->pool_parked,
                  config->pool_fresh);
}

void config_clear(struct config *config)
{
    freep(&config->state_directory);
    freep(&config->runtime_directory);
    freep(&config->cgroup);
    freep(&config->group);
    freep(&config->storage);
    for (size_t i = 0; i < config->n_templates; i++) {
        freep(&config->templates[i].root);
        config_policy_clear_template(&config->templates[i]);
    }
    freep(&config->templates);
    config->n_templates = 0;
    config_policy_clear(config);
}
