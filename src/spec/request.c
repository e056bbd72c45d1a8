/* SPDX-License-Identifier: Apache-2.0 */
/* Decoding of a run's request. Runs in isolated; the JSON is the caller's. */
#include "spec/request.h"

#include "base/text.h"
#include "spec/base64.h"
#include "sys/caps.h"

#include "sys/socket.h"
#include <linux/limits.h>

#include <stddef.h>
#include <string.h>

enum field_type { FIELD_STRING, FIELD_BOOL, FIELD_U64, FIELD_CUSTOM };

struct decoder {
    struct run_request *request;
    size_t n_fds;
    bool *named; /* of each fd: whether a member names it */
    struct error *err;
};

struct field {
    const char *name;
    enum field_type type;
    size_t offset;
    int (*custom)(const struct decoder *decoder, const char *name, const json_t *value);
};

static int bad_type(struct error *err, const char *name, const char *expected)
{
    return fail(err, ERROR_INVALID, EINVAL, "request: \"%s\" must be %s", name, expected);
}

static int take_string(const json_t *value, const char *name, char **ret, struct error *err)
{
    const char *text = json_string_value(value);
    if (!text || strlen(text) != json_string_length(value) || strlen(text) >= PATH_MAX)
        return bad_type(err, name, "a string without NUL of less than 4096 bytes");
    char *copy = strdup(text);
    if (!copy)
        return fail(err, ERROR_SYSTEM, ENOMEM, "request: ");
    free(*ret);
    *ret = copy;
    return 0;
}

static int take_u64(const json_t *value, const char *name, uint64_t max, uint64_t *ret,
                    struct error *err)
{
    json_int_t number = json_integer_value(value);
    if (!json_is_integer(value) || number < 0 || (uint64_t)number > max)
        return bad_type(err, name, "a number in range");
    *ret = (uint64_t)number;
    return 0;
}

static int take_index(const struct decoder *decoder, const json_t *value, const char *name,
                      uint32_t *ret)
{
    uint64_t number = 0;
    int r = take_u64(value, name, UINT32_MAX, &number, decoder->err);
    if (r == 0 && number >= decoder->n_fds)
        r = fail(decoder->err, ERROR_INVALID, EINVAL,
                 "request: \"%s\" names fd %u, but only %zu came with the message", name,
                 (unsigned)number, decoder->n_fds);
    *ret = (uint32_t)number;
    if (r == 0)
        decoder->named[number] = true;
    return r;
}

/* One string of a list: UTF-8 as it is, or base64 of any bytes but NUL. */
static char *list_item(const json_t *value, bool base64)
{
    const char *text = json_string_value(value);
    if (!text || strlen(text) != json_string_length(value))
        return NULL;
    return base64 ? base64_decode_text(text) : strdup(text);
}

static int take_list(const struct decoder *decoder, const char *name, const json_t *value,
                     char ***ret, uint32_t *ret_n)
{
    size_t n = json_array_size(value);
    if (!json_is_array(value) || n > START_STRINGS || *ret)
        return bad_type(decoder->err, name, "one list of at most 65536 strings");
    char **list = calloc(n + 1, sizeof(*list));
    if (!list)
        return fail(decoder->err, ERROR_SYSTEM, ENOMEM, "request: ");
    *ret = list;
    *ret_n = 0;
    bool base64 = strstr(name, "_base64");
    for (size_t i = 0; i < n; i++) {
        list[i] = list_item(json_array_get(value, i), base64);
        if (!list[i])
            return bad_type(decoder->err, name, "a list of strings without NUL");
        *ret_n = (uint32_t)i + 1;
    }
    return 0;
}

static int take_argv(const struct decoder *decoder, const char *name, const json_t *value)
{
    struct run_request *request = decoder->request;
    int r = take_list(decoder, name, value, &request->argv, &request->n_argv);
    if (r == 0 && request->n_argv > 0 && !*request->argv[0])
        return fail(decoder->err, ERROR_NO_COMMAND, ENOENT, "the command is an empty string");
    return r;
}

static int take_env(const struct decoder *decoder, const char *name, const json_t *value)
{
    struct run_request *request = decoder->request;
    int r = take_list(decoder, name, value, &request->env, &request->n_env);
    for (uint32_t i = 0; r == 0 && i < request->n_env; i++) {
        const char *equals = strchr(request->env[i], '=');
        if (!equals || equals == request->env[i])
            r = fail(decoder->err, ERROR_INVALID, EINVAL,
                     "environment variable \"%.60s\": not NAME=VALUE", request->env[i]);
    }
    return r;
}

static int take_network(const struct decoder *decoder, const char *name, const json_t *value)
{
    struct network *network = &decoder->request->network;
    const char *mode = json_string_value(value);
    int r = network_parse_mode(mode ? mode : "", network, decoder->err);
    decoder->request->host_network = network->mode == NETWORK_HOST;
    decoder->request->own_network = network->mode == NETWORK_NONE;
    return r;
}

static int take_publish(const struct decoder *decoder, const char *name, const json_t *value)
{
    size_t index = 0;
    const json_t *item = NULL;
    if (!json_is_array(value))
        return bad_type(decoder->err, name, "a list of [ADDRESS:]PORT:PORT[/udp]");
    json_array_foreach((json_t *)value, index, item)
    {
        const char *text = json_string_value(item);
        int r = network_parse_port(text ? text : "", &decoder->request->network, decoder->err);
        if (r < 0)
            return r;
    }
    return 0;
}

static int take_seccomp(const struct decoder *decoder, const char *name, const json_t *value)
{
    return run_seccomp_decode(name, value, &decoder->request->seccomp, decoder->err);
}

static int take_capabilities(const struct decoder *decoder, const char *name,
                             const json_t *value)
{
    size_t index = 0;
    const json_t *item = NULL;
    bool add = streq(name, "cap_add");
    if (!json_is_array(value))
        return bad_type(decoder->err, name, "a list of capability names");
    json_array_foreach((json_t *)value, index, item)
    {
        const char *text = json_string_value(item);
        uint64_t mask = text ? caps_from_name(text) : 0;
        if (mask == 0)
            return fail(decoder->err, ERROR_INVALID, EINVAL,
                        "capability \"%.40s\": no such; see capabilities(7)", text ? text : "");
        if (add) {
            decoder->request->capabilities |= mask;
            decoder->request->capabilities_added |= mask;
        } else {
            decoder->request->capabilities &= ~mask;
        }
    }
    return 0;
}

static int take_bind(const struct decoder *decoder, const json_t *item, struct run_bind *ret)
{
    const char *name = NULL;
    const json_t *value = NULL;
    bool has_fd = false;
    json_object_foreach((json_t *)item, name, value)
    {
        int r = 0;
        if (streq(name, "fd")) {
            r = take_index(decoder, value, "binds.fd", &ret->fd);
            has_fd = true;
        } else if (streq(name, "target")) {
            r = take_string(value, "binds.target", &ret->target, decoder->err);
        } else if (streq(name, "source")) {
            r = take_string(value, "binds.source", &ret->source, decoder->err);
        } else if (streq(name, "read_only") && json_is_boolean(value)) {
            ret->read_only = json_is_true(value);
        } else if (streq(name, "recursive") && json_is_boolean(value)) {
            ret->recursive = json_is_true(value);
        } else if (streq(name, "device") && json_is_boolean(value)) {
            ret->device = json_is_true(value);
        } else if (streq(name, "connect") && json_is_boolean(value)) {
            ret->connect = json_is_true(value);
        } else {
            r = bad_type(decoder->err, "binds",
                         "a list of {fd, target, source, read_only, "
                         "recursive, device, connect}");
        }
        if (r < 0)
            return r;
    }
    if (!has_fd || !ret->target || !ret->source)
        return bad_type(decoder->err, "binds", "a list of {fd, target, source, …}");
    return target_check(ret->target, "bind", decoder->err);
}

static int take_binds(const struct decoder *decoder, const char *name, const json_t *value)
{
    struct run_request *request = decoder->request;
    size_t n = json_array_size(value);
    if (!json_is_array(value) || n > START_BINDS || request->binds)
        return bad_type(decoder->err, name, "a list of at most 128 binds");
    request->binds = calloc(n + 1, sizeof(*request->binds));
    if (!request->binds)
        return fail(decoder->err, ERROR_SYSTEM, ENOMEM, "request: ");
    for (size_t i = 0; i < n; i++) {
        request->n_binds = (uint32_t)i + 1;
        int r = take_bind(decoder, json_array_get(value, i), &request->binds[i]);
        if (r < 0)
            return r;
    }
    return 0;
}

static int take_one_tmpfs(const struct decoder *decoder, const json_t *item,
                          struct run_tmpfs *ret)
{
    const char *name = NULL;
    const json_t *value = NULL;
    json_object_foreach((json_t *)item, name, value)
    {
        int r = 0;
        if (streq(name, "target"))
            r = take_string(value, "tmpfs.target", &ret->target, decoder->err);
        else if (streq(name, "size_bytes"))
            r = take_u64(value, "tmpfs.size_bytes", INT64_MAX, &ret->size_bytes, decoder->err);
        else
            r = bad_type(decoder->err, "tmpfs", "a list of {target, size_bytes}");
        if (r < 0)
            return r;
    }
    if (!ret->target)
        return bad_type(decoder->err, "tmpfs", "a list of {target, size_bytes}");
    return target_check(ret->target, "tmpfs", decoder->err);
}

static int take_tmpfs(const struct decoder *decoder, const char *name, const json_t *value)
{
    struct run_request *request = decoder->request;
    size_t n = json_array_size(value);
    if (!json_is_array(value) || n > START_TMPFS || request->tmpfs)
        return bad_type(decoder->err, name, "a list of at most 64 tmpfs");
    request->tmpfs = calloc(n + 1, sizeof(*request->tmpfs));
    if (!request->tmpfs)
        return fail(decoder->err, ERROR_SYSTEM, ENOMEM, "request: ");
    for (size_t i = 0; i < n; i++) {
        request->n_tmpfs = (uint32_t)i + 1;
        int r = take_one_tmpfs(decoder, json_array_get(value, i), &request->tmpfs[i]);
        if (r < 0)
            return r;
    }
    return 0;
}

static int take_display(const struct decoder *decoder, const char *name, const json_t *value)
{
    return run_display_decode(value, &decoder->request->display, decoder->err);
}

static int take_limit(const struct decoder *decoder, const char *name, const json_t *value)
{
    return run_limits_decode(name, value, &decoder->request->limits, decoder->err);
}

static int take_ulimits(const struct decoder *decoder, const char *name, const json_t *value)
{
    return run_ulimits_decode(value, &decoder->request->ulimits, decoder->err);
}

static int take_first_id(const struct decoder *decoder, const char *name, const json_t *value)
{
    uint64_t number = 0;
    if (take_u64(value, name, FIRST_ID_MAX, &number, NULL) < 0 || number < FIRST_ID_MIN)
        return fail(decoder->err, ERROR_INVALID, EINVAL,
                    "request: \"%s\" must be a number from %u to %u", name, FIRST_ID_MIN,
                    FIRST_ID_MAX);
    decoder->request->first_id = (uint32_t)number;
    return 0;
}

static int take_fd_index(const struct decoder *decoder, const char *name, const json_t *value)
{
    return take_index(decoder, value, name,
                      streq(name, "control") ? &decoder->request->control
                                             : &decoder->request->root_fd);
}

#define STRING(name)                                                                           \
    {                                                                                          \
#name, FIELD_STRING, offsetof(struct run_request, name), NULL                          \
    }
#define BOOL(name)                                                                             \
    {                                                                                          \
#name, FIELD_BOOL, offsetof(struct run_request, name), NULL                            \
    }
#define CUSTOM(name, function)                                                                 \
    {                                                                                          \
        name, FIELD_CUSTOM, 0, function                                                        \
    }

static const struct field fields[] = {
    STRING(client),
    {"template", FIELD_STRING, offsetof(struct run_request, template_name), NULL},
    STRING(generation),
    STRING(root),
    CUSTOM("root_fd", take_fd_index),
    BOOL(host),
    STRING(kept),
    STRING(sandbox),
    STRING(storage),
    STRING(engine),
    STRING(name),
    BOOL(keep),
    BOOL(hold),
    BOOL(usage),
    BOOL(pre_hook),
    BOOL(post_hook),
    BOOL(detach),
    BOOL(stdin_open),
    CUSTOM("argv", take_argv),
    CUSTOM("argv_base64", take_argv),
    STRING(entrypoint),
    BOOL(boot),
    CUSTOM("env", take_env),
    CUSTOM("env_base64", take_env),
    STRING(user),
    STRING(workdir),
    STRING(hostname),
    STRING(owner),
    BOOL(here),
    CUSTOM("first_id", take_first_id),
    CUSTOM("network", take_network),
    CUSTOM("publish", take_publish),
    BOOL(read_only),
    BOOL(tty),
    {"timeout_ms", FIELD_U64, offsetof(struct run_request, timeout_ms), NULL},
    {"cpu_time_ms", FIELD_U64, offsetof(struct run_request, cpu_time_ms), NULL},
    CUSTOM("memory_bytes", take_limit),
    CUSTOM("swap_bytes", take_limit),
    CUSTOM("cpus_milli", take_limit),
    CUSTOM("pids", take_limit),
    CUSTOM("disk_bytes", take_limit),
    CUSTOM("cpuset", take_limit),
    CUSTOM("io_weight", take_limit),
    CUSTOM("ulimits", take_ulimits),
    /* dropped before added, so that --cap-drop ALL --cap-add X holds X */
    CUSTOM("cap_drop", take_capabilities),
    CUSTOM("cap_add", take_capabilities),
    CUSTOM("seccomp", take_seccomp),
    CUSTOM("personality", take_seccomp),
    CUSTOM("binds", take_binds),
    CUSTOM("tmpfs", take_tmpfs),
    CUSTOM("display", take_display),
    CUSTOM("control", take_fd_index),
};

const char *run_request_member(size_t i)
{
    return i < ELEMENTS(fields) ? fields[i].name : NULL;
}

static int take_field(const struct decoder *decoder, const struct field *field,
                      const json_t *value)
{
    void *target = (char *)decoder->request + field->offset;
    switch (field->type) {
    case FIELD_STRING:
        return take_string(value, field->name, target, decoder->err);
    case FIELD_BOOL:
        if (!json_is_boolean(value))
            return bad_type(decoder->err, field->name, "true or false");
        *(bool *)target = json_is_true(value);
        return 0;
    case FIELD_U64:
        return take_u64(value, field->name, 1ULL << 53, target, decoder->err);
    case FIELD_CUSTOM:
        return field->custom(decoder, field->name, value);
    }
    return -EINVAL;
}

static int refuse_unknown(const json_t *parameters, struct error *err)
{
    const char *name = NULL;
    const json_t *value = NULL;
    json_object_foreach((json_t *)parameters, name, value)
    {
        bool known = false;
        for (size_t i = 0; i < ELEMENTS(fields) && !known; i++)
            known = streq(name, fields[i].name);
        if (!known)
            return fail(err, ERROR_INVALID, EINVAL,
                        "request: this isolated does not know \"%.60s\"; is the client newer?",
                        name);
    }
    return 0;
}

/* The index of an fd that must be there: its value has been checked where it was taken. */
static int need_index(const json_t *parameters, const char *name, struct error *err)
{
    if (json_is_integer(json_object_get(parameters, name)))
        return 0;
    return fail(err, ERROR_INVALID, EINVAL, "request: \"%s\" is missing", name);
}

static int decode(const json_t *parameters, size_t n_fds, bool runs, struct run_request *ret,
                  struct error *err)
{
    _cleanup_run_request_ struct run_request request = {.capabilities = caps_default()};
    bool named[SOCKET_FDS_MAX] = {false};
    struct decoder decoder = {.request = &request, .n_fds = n_fds, .named = named, .err = err};
    int r = n_fds > ELEMENTS(named) ? fail(err, ERROR_INVALID, E2BIG,
                                           "request: %zu fds, more than a message has", n_fds)
                                    : refuse_unknown(parameters, err);
    for (size_t i = 0; i < ELEMENTS(fields) && r == 0; i++) {
        const json_t *value = json_object_get(parameters, fields[i].name);
        if (value && !json_is_null(value))
            r = take_field(&decoder, &fields[i], value);
    }
    if (r == 0 && runs && !request.detach)
        r = need_index(parameters, "control", err);
    if (r == 0 && (request.root || request.host))
        r = need_index(parameters, "root_fd", err);
    if (r == 0)
        r = run_request_check_fds(named, n_fds, err);
    if (r == 0)
        r = run_request_check(&request, err);
    if (r < 0)
        return r;
    *ret = TAKE_STRUCT(request);
    return 0;
}

int run_request_decode(const json_t *parameters, size_t n_fds, struct run_request *ret,
                       struct error *err)
{
    return decode(parameters, n_fds, true, ret, err);
}

int run_request_decode_asked(const json_t *parameters, size_t n_fds, struct run_request *ret,
                             struct error *err)
{
    return decode(parameters, n_fds, false, ret, err);
}

static void free_list(char **list)
{
    for (char **p = list; p && *p; p++)
        free(*p);
    free(list);
}

void run_request_clear(struct run_request *request)
{
    for (size_t i = 0; i < ELEMENTS(fields); i++)
        if (fields[i].type == FIELD_STRING)
            freep((char *)request + fields[i].offset);
    free_list(request->argv);
    free_list(request->env);
    for (uint32_t i = 0; i < request->n_binds; i++) {
        freep(&request->binds[i].target);
        freep(&request->binds[i].source);
    }
    freep(&request->binds);
    for (uint32_t i = 0; i < request->n_tmpfs; i++)
        freep(&request->tmpfs[i].target);
    freep(&request->tmpfs);
    run_display_clear(&request->display);
    run_seccomp_clear(&request->seccomp);
    *request = (struct run_request){0};
}
