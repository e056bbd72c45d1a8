/* SPDX-License-Identifier: Apache-2.0 */
/* A template's defaults. Runs in isolated; what is parsed comes from an image by way of the
 * image worker, which the image may have taken over. */
#include "spec/defaults.h"

#include "base/text.h"

#include <linux/limits.h>
#include <stdlib.h>
#include <string.h>

static bool is_plain_text(const json_t *value)
{
    const char *text = json_string_value(value);
    return text && strlen(text) == json_string_length(value);
}

static int bad(struct error *err, const char *name, const char *must_be)
{
    return fail(err, ERROR_INVALID, EINVAL, "the image's configuration: \"%s\" must be %s",
                name, must_be);
}

static int check_list(const char *name, const json_t *value, bool variables, struct error *err)
{
    size_t index = 0;
    const json_t *item = NULL;
    if (!json_is_array(value) || json_array_size(value) > START_STRINGS)
        return bad(err, name, "one list of at most 65536 strings");
    json_array_foreach((json_t *)value, index, item)
    {
        const char *equals = is_plain_text(item) ? strchr(json_string_value(item), '=') : NULL;
        if (!is_plain_text(item))
            return bad(err, name, "a list of strings without NUL");
        if (variables && (!equals || equals == json_string_value(item)))
            return bad(err, name, "a list of NAME=VALUE");
    }
    return 0;
}

static int check_text(const char *name, const json_t *value, bool is_path, struct error *err)
{
    if (!is_plain_text(value) || json_string_length(value) >= PATH_MAX)
        return bad(err, name, "a string without NUL of less than 4096 bytes");
    return is_path && *json_string_value(value) != '/' ? bad(err, name, "absolute") : 0;
}

static int check(const json_t *defaults, struct error *err)
{
    const char *name = NULL;
    const json_t *value = NULL;
    if (!json_is_object(defaults))
        return fail(err, ERROR_INVALID, EINVAL, "the image's configuration is no object");
    json_object_foreach((json_t *)defaults, name, value)
    {
        int r = 0;
        if (streq(name, "entrypoint") || streq(name, "cmd") || streq(name, "env"))
            r = check_list(name, value, streq(name, "env"), err);
        else if (streq(name, "workdir") || streq(name, "user"))
            r = check_text(name, value, streq(name, "workdir"), err);
        else
            r = fail(err, ERROR_INVALID, EINVAL,
                     "the image's configuration: \"%.60s\" is not known", name);
        if (r < 0)
            return r;
    }
    return 0;
}

int defaults_parse(const char *text, size_t length, json_t **ret, struct error *err)
{
    *ret = NULL;
    while (length > 0 && text[length - 1] == '\n')
        length--;
    if (length == 0)
        return 0;
    json_t *value = length <= DEFAULTS_TEXT_MAX ? json_loadb(text, length, 0, NULL) : NULL;
    int r = value
                ? check(value, err)
                : fail(err, ERROR_INVALID, EINVAL,
                       "the image's configuration (command, variables) cannot be read, or has "
                       "more than %d bytes",
                       DEFAULTS_TEXT_MAX);
    if (r < 0 || json_object_size(value) == 0) {
        json_decref(value);
        return r;
    }
    *ret = value;
    return 0;
}

/* ---- what a request leaves open ---- */

static int no_memory(struct error *err)
{
    return fail(err, ERROR_SYSTEM, ENOMEM, "the template's defaults: ");
}

/* A list of `front` and behind it the request's; *list and *n become that. */
static int put_in_front(char **front, size_t n_front, char ***list, uint32_t *n,
                        struct error *err)
{
    char **joined = calloc(n_front + *n + 1, sizeof(*joined));
    if (!joined || n_front + *n > START_STRINGS) {
        free(joined);
        return joined ? fail(err, ERROR_INVALID, E2BIG,
                             "with the template's defaults it has more than %d arguments or "
                             "variables",
                             START_STRINGS)
                      : no_memory(err);
    }
    for (size_t i = 0; i < n_front; i++)
        joined[i] = TAKE_PTR(front[i]);
    for (uint32_t i = 0; i < *n; i++)
        joined[n_front + i] = (*list)[i];
    free(*list);
    *list = joined;
    *n += (uint32_t)n_front;
    return 0;
}

/* The variables that a request sets itself, sorted by name: both lists may be long. */
struct names {
    char **variables;
    size_t n;
};

static int compare_names(const void *a, const void *b)
{
    const char *left = *(char *const *)a;
    const char *right = *(char *const *)b;
    size_t n = strcspn(left, "=");
    size_t m = strcspn(right, "=");
    int r = memcmp(left, right, n < m ? n : m);
    return r != 0 ? r : (n > m) - (n < m);
}

/* Copies of those of a list of strings that are not among `set` (or NULL), in front of the
 * request's own. */
static int add_texts(const json_t *texts, const struct names *set, char ***list, uint32_t *n,
                     struct error *err)
{
    size_t index = 0;
    size_t used = 0;
    const json_t *item = NULL;
    size_t most = json_array_size(texts);
    if (most == 0)
        return 0;
    char **copies = calloc(most, sizeof(*copies));
    if (!copies)
        return no_memory(err);
    int r = 0;
    json_array_foreach((json_t *)texts, index, item)
    {
        const char *text = json_string_value(item);
        if (r < 0 || !text ||
            (set &&
             bsearch(&text, set->variables, set->n, sizeof(*set->variables), compare_names)))
            continue;
        copies[used] = strdup(text);
        r = copies[used++] ? 0 : no_memory(err);
    }
    if (r == 0 && used > 0)
        r = put_in_front(copies, used, list, n, err);
    for (size_t i = 0; i < used; i++)
        free(copies[i]);
    free(copies);
    return r;
}

static int apply_env(const json_t *defaults, struct run_request *request, struct error *err)
{
    const json_t *variables = json_object_get(defaults, "env");
    if (json_array_size(variables) == 0)
        return 0;
    _cleanup_free_ char **sorted = calloc(request->n_env + 1UL, sizeof(*sorted));
    const struct names set = {sorted, request->n_env};
    if (!sorted)
        return no_memory(err);
    for (uint32_t i = 0; i < request->n_env; i++)
        sorted[i] = request->env[i];
    qsort(sorted, set.n, sizeof(*sorted), compare_names);
    return add_texts(variables, &set, &request->env, &request->n_env, err);
}

static int apply_text(const json_t *defaults, const char *name, char **text, struct error *err)
{
    const char *value = json_string_value(json_object_get(defaults, name));
    if (*text || !value)
        return 0;
    *text = strdup(value);
    return *text ? 0 : no_memory(err);
}

/* An entrypoint that is asked for also takes cmd away, which was made for another one. */
static int apply_command(const json_t *defaults, struct run_request *request, struct error *err)
{
    const char *asked = request->entrypoint;
    if (!asked) {
        int r = request->n_argv > 0 ? 0
                                    : add_texts(json_object_get(defaults, "cmd"), NULL,
                                                &request->argv, &request->n_argv, err);
        return r < 0 ? r
                     : add_texts(json_object_get(defaults, "entrypoint"), NULL, &request->argv,
                                 &request->n_argv, err);
    }
    if (!*asked)
        return 0;
    char *copy = strdup(asked);
    int r =
        copy ? put_in_front(&copy, 1, &request->argv, &request->n_argv, err) : no_memory(err);
    free(copy);
    return r;
}

int defaults_apply(const json_t *defaults, struct run_request *request, struct error *err)
{
    if (request->boot)
        return 0;
    int r = apply_env(defaults, request, err);
    if (r < 0 || request->hold)
        return r;
    r = apply_command(defaults, request, err);
    if (r == 0)
        r = apply_text(defaults, "workdir", &request->workdir, err);
    if (r == 0 && !request->here)
        r = apply_text(defaults, "user", &request->user, err);
    return r;
}

int defaults_apply_exec(const json_t *defaults, struct run_request *request, struct error *err)
{
    int r = apply_env(defaults, request, err);
    return r < 0 ? r : apply_text(defaults, "workdir", &request->workdir, err);
}
