/* SPDX-License-Identifier: Apache-2.0 */
/* Which files there are, and what their keys mean. Runs in isolated and isolate-ctl as root;
 * the files are root's. */
#include "spec/config.h"

#include "base/parse.h"
#include "base/text.h"
#include "paths.h"
#include "spec/config_file.h"
#include "spec/names.h"
#include "spec/network.h"

#include <glob.h>
#include <string.h>
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

/* Words; what is not there is not allowed. */
static int set_networks(char **target, const char *value, struct error *err)
{
    for (const char *word = value; *word; word += strspn(word, " ")) {
        char copy[64];
        struct network network = {0};
        size_t n = strcspn(word, " ");
        (void)snprintf(copy, sizeof(copy), "%.*s", (int)n, word);
        if (n > 0 && (network_parse_mode(copy, &network, NULL) < 0 || strchr(copy, ',')))
            return fail(err, ERROR_INVALID, EINVAL,
                        "Members=: \"%.60s\": there are none, nat, host and bridge=NAME", copy);
        word += n;
    }
    return set_text(target, value, "Members", err);
}

static int set_devices(char **target, const char *value, struct error *err)
{
    for (const char *word = value; *word; word += strspn(word, " ")) {
        size_t n = strcspn(word, " ");
        if (n > 0 && (!text_after(word, "/dev/") || n > 200))
            return fail(err, ERROR_INVALID, EINVAL,
                        "Members=: \"%.60s\": devices are written /dev/NAME", word);
        word += n;
    }
    return set_text(target, value, "Members", err);
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
    if (streq(key, "Daemon.SandboxesPerUser"))
        return parse_u32(value, 1, 100000, &config->sandboxes_per_user,
                         "SandboxesPerUser=", err);
    if (streq(key, "Daemon.IdleExit"))
        return parse_u32(value, 0, 86400, &config->idle_exit_s, "IdleExit=", err);
    if (streq(key, "Network.Members"))
        return set_networks(&config->members_networks, value, err);
    if (streq(key, "Devices.Members"))
        return set_devices(&config->members_devices, value, err);
    if (streq(key, "Pool.Parked"))
        return parse_u32(value, 0, 10000, &config->pool_parked, "Parked=", err);
    if (streq(key, "Pool.Fresh"))
        return parse_u32(value, 0, 10000, &config->pool_fresh, "Fresh=", err);
    return fail(err, ERROR_INVALID, EINVAL, "unknown key %.80s", key);
}

static int on_key(void *data, const struct config_line *line, struct error *err)
{
    char key[160];
    (void)snprintf(key, sizeof(key), "%s.%s", line->section, line->name);
    return set_key(data, key, line->value, err);
}

static int on_template_key(void *data, const struct config_line *line, struct error *err)
{
    struct template_config *template = data;
    uint32_t parked = 0;
    if (streq(line->section, "Template") && streq(line->name, "Root"))
        return set_path(&template->root, line->value, "Root", err);
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

/* The files of templates.d beside the configuration. */
static int load_templates(const char *file, struct config *config, struct error *err)
{
    char pattern[512];
    const char *slash = file ? strrchr(file, '/') : NULL;
    glob_t found = {0};
    if (file && !slash)
        (void)snprintf(pattern, sizeof(pattern), "templates.d/*.conf");
    else
        (void)snprintf(pattern, sizeof(pattern), "%.*s/templates.d/*.conf",
                       file ? (int)(slash - file) : (int)strlen(PATH_CONFIG_DIR),
                       file ? file : PATH_CONFIG_DIR);
    if (glob(pattern, 0, NULL, &found) != 0) {
        globfree(&found);
        return 0;
    }
    config->templates = calloc(found.gl_pathc, sizeof(*config->templates));
    for (size_t i = 0; config->templates && i < found.gl_pathc; i++)
        load_template(found.gl_pathv[i], &config->templates[config->n_templates++]);
    globfree(&found);
    return config->templates ? 0 : fail(err, ERROR_SYSTEM, ENOMEM, "templates.d: ");
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
    if (access(PATH_CONFIG_DIR "/isolated.conf", F_OK) == 0) {
        int r = config_file_read(PATH_CONFIG_DIR "/isolated.conf", on_key, config, err);
        if (r < 0)
            return r;
    }
    glob_t found = {0};
    int r = 0;
    if (glob(PATH_CONFIG_DIR "/isolated.conf.d/*.conf", 0, NULL, &found) == 0)
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
        .members_networks = strdup("none"),
        .members_devices = strdup(""),
        .sandboxes_per_user = 256,
        .pool_parked = 32,
        .pool_fresh = 2,
    };
    if (!config.state_directory || !config.runtime_directory || !config.cgroup ||
        !config.group || !config.storage || !config.members_networks || !config.members_devices)
        return fail(err, ERROR_SYSTEM, ENOMEM, "configuration: ");
    int r = file ? config_file_read(file, on_key, &config, err) : load_installed(&config, err);
    if (r == 0)
        r = load_templates(file, &config, err);
    if (r < 0)
        return r;
    if ((uint64_t)config.first_id + (uint64_t)config.ranges * 65536 > UINT32_MAX - 65536ULL)
        return fail(err, ERROR_INVALID, EINVAL,
                    "FirstId= and Ranges= go beyond the last id of a 32-bit kernel id");
    *ret = config;
    config = (struct config){0};
    return 0;
}

void config_print(const struct config *config, struct buffer *ret)
{
    buffer_printf(ret, "[Paths]\nStateDirectory=%s\nRuntimeDirectory=%s\n",
                  config->state_directory, config->runtime_directory);
    buffer_printf(ret, "[Sandboxes]\nCgroup=%s\nFirstId=%u\nRanges=%u\n", config->cgroup,
                  config->first_id, config->ranges);
    buffer_printf(ret, "[Templates]\nKeepGenerations=%u\nStorage=%s\n",
                  config->keep_generations, config->storage);
    buffer_printf(ret, "[Daemon]\nGroup=%s\nSandboxesPerUser=%u\nIdleExit=%u\n", config->group,
                  config->sandboxes_per_user, config->idle_exit_s);
    buffer_printf(ret, "[Network]\nMembers=%s\n", config->members_networks);
    buffer_printf(ret, "[Devices]\nMembers=%s\n", config->members_devices);
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
    freep(&config->members_networks);
    freep(&config->members_devices);
    for (size_t i = 0; i < config->n_templates; i++)
        freep(&config->templates[i].root);
    freep(&config->templates);
    config->n_templates = 0;
}
