/* SPDX-License-Identifier: Apache-2.0 */
/* Verbs on templates, apart from `template update`. Run as the caller. */
#include "base/log.h"
#include "base/text.h"
#include "client/ctl.h"
#include "client/pull.h"
#include "spec/names.h"

#include <limits.h>
#include <string.h>

/* A relative path of a source means the caller's directory, which isolated does not know. */
static int absolute_source(const char *source, char *out, size_t size, struct error *err)
{
    static const struct {
        const char *name;
        bool tagged; /* PATH[:TAG] */
    } kinds[] = {{"dir:", false}, {"tar:", false}, {"oci:", true}, {"docker-archive:", true}};
    char path[PATH_MAX];
    char resolved[PATH_MAX];
    (void)snprintf(out, size, "%s", source);
    for (size_t i = 0; i < ELEMENTS(kinds); i++) {
        const char *rest = text_after(source, kinds[i].name);
        if (!rest)
            continue;
        size_t length = kinds[i].tagged ? strcspn(rest, ":") : strlen(rest);
        if (length >= sizeof(path))
            return fail(err, ERROR_INVALID, ENAMETOOLONG, "--from %.100s…: ", source);
        (void)snprintf(path, sizeof(path), "%.*s", (int)length, rest);
        if (!realpath(path, resolved))
            return fail(err, ERROR_NOT_FOUND, errno, "--from %s: ", source);
        if (kinds[i].tagged && strchr(resolved, ':'))
            return fail(err, ERROR_INVALID, EINVAL,
                        "--from %s: the path %s has a \":\", behind which a tag is looked for; "
                        "move it",
                        source, resolved);
        int n = snprintf(out, size, "%s%s%s", kinds[i].name, resolved, rest + length);
        if (n < 0 || (size_t)n >= size)
            return fail(err, ERROR_INVALID, ENAMETOOLONG, "--from %.100s…: ", source);
    }
    return 0;
}

void ctl_warn_in_memory(const struct ctl_verb *verb, const char *name)
{
    const char *in_memory = ctl_verb_text(verb, "in_memory");
    if (in_memory)
        log_warning("template \"%s\": storage %s lies in memory (%s) and is gone with the next "
                    "boot; choose a place on a disk to keep it",
                    name, ctl_verb_text(verb, "storage"), in_memory);
}

/* Before much is fetched for nothing; isolated looks again. */
static int check_new(const char *name, struct error *err)
{
    json_t *reply = NULL;
    struct error unknown = {0};
    const struct ctl_call call = {
        .method = "TemplateInspect",
        .parameters = json_pack("{s:s}", "name", name),
        .fd = -EBADF,
    };
    int r = ctl_ask(&call, &reply, &unknown);
    json_decref(reply);
    if (r < 0 && unknown.code != ERROR_NOT_FOUND) {
        *err = unknown;
        return r;
    }
    return r < 0 ? 0
                 : fail(err, ERROR_EXISTS, EEXIST, "template \"%s\" exists; remove it first",
                        name);
}

/* What a template is made of, as isolated is told. */
struct creation {
    char source[PATH_MAX + 512];
    const char *origin; /* what that is told as; NULL: as itself */
    struct pull pull;
};

static int resolve_source(const char *name, const struct ctl_options *options,
                          struct creation *ret, struct error *err)
{
    const char *reference = text_after(options->from, "docker://");
    if (!reference)
        return absolute_source(options->from, ret->source, sizeof(ret->source), err);
    int r = check_new(name, err);
    if (r == 0)
        r = pull_image(reference, options->quiet, &ret->pull, err);
    if (r < 0)
        return r;
    (void)snprintf(ret->source, sizeof(ret->source), "oci:%s:%s", ret->pull.directory,
                   PULL_TAG);
    ret->origin = options->from;
    return 0;
}

/* The image is not what kept it from being imported. */
static bool may_do_later(enum error_code why)
{
    return why == ERROR_SYSTEM || why == ERROR_NO_SPACE || why == ERROR_BUSY ||
           why == ERROR_EXISTS || why == ERROR_NOT_FOUND || why == ERROR_LOST;
}

int ctl_template_create(int argc, char **argv)
{
    struct error err = {0};
    struct creation creation = {.pull = {.lock_fd = -EBADF}};
    _cleanup_ctl_verb_ struct ctl_verb verb = {0};
    if (!ctl_verb_begin(&verb, "template create", argc, argv))
        return verb.status;
    const char *name = verb.operands[0];
    const struct ctl_options *options = &verb.options;
    int r =
        options->from
            ? name_check_template(name, &err)
            : fail(&err, ERROR_INVALID, EINVAL,
                   "template create: --from is missing: debian, ubuntu, dir:PATH, tar:FILE, "
                   "oci:DIR[:TAG], docker-archive:FILE[:NAME] or docker://NAME");
    if (r == 0)
        r = resolve_source(name, options, &creation, &err);
    if (r < 0)
        return ctl_failed(&err);
    const struct ctl_call call = {
        .method = "TemplateCreate",
        .parameters =
            json_pack("{s:s, s:s, s:s?, s:s?}", "name", name, "source", creation.source,
                      "storage", options->storage, "origin", creation.origin),
        .fd = ctl_progress_fd(options->quiet),
    };
    bool is_made = ctl_verb_call(&verb, &call);
    pull_end(&creation.pull, is_made || !may_do_later(verb.why));
    if (!is_made)
        return verb.status;
    ctl_warn_in_memory(&verb, name);
    log_note("template \"%s\" is ready (storage %s)", name, ctl_verb_text(&verb, "storage"));
    return 0;
}

static const json_t *current_of(const json_t *template_value)
{
    size_t index = 0;
    const json_t *generation = NULL;
    json_array_foreach(
        json_object_get(template_value, "generations"), index,
        generation) if (json_is_true(json_object_get(generation, "current"))) return generation;
    return NULL;
}

/* Why nothing more is known of it, or why the caller may not use it. */
static const char *mark_of(const json_t *item)
{
    const char *denied = json_string_value(json_object_get(item, "denied"));
    return denied && !*ctl_problem_of(item) ? denied : ctl_problem_of(item);
}

static bool has_marks(const json_t *items)
{
    size_t i = 0;
    const json_t *item = NULL;
    json_array_foreach((json_t *)items, i, item) if (*mark_of(item)) return true;
    return false;
}

static void template_row(struct ctl_table *table, const json_t *item)
{
    char size[16];
    char count[24];
    const json_t *current = current_of(item);
    const char *problem = ctl_problem_of(item);
    ctl_format_size(size, sizeof(size),
                    (uint64_t)json_integer_value(json_object_get(current, "bytes")));
    (void)snprintf(count, sizeof(count), "%zu",
                   json_array_size(json_object_get(item, "generations")));
    const char *id = json_string_value(json_object_get(current, "id"));
    const char *cells[] = {json_string_value(json_object_get(item, "name")),
                           id ? id : "-",
                           *problem ? "-" : count,
                           *problem ? "-" : size,
                           json_string_value(json_object_get(item, "storage")),
                           json_string_value(json_object_get(item, "source")),
                           *mark_of(item) ? mark_of(item) : "-"};
    ctl_table_row(table, cells);
}

int ctl_template_ls(int argc, char **argv)
{
    /* the last one only where there is something in it */
    static const struct ctl_column columns[] = {
        {"NAME", false},    {"CURRENT", false}, {"GENERATIONS", true}, {"SIZE", true},
        {"STORAGE", false}, {"SOURCE", false},  {"PROBLEM", false},
    };
    _cleanup_ctl_verb_ struct ctl_verb verb = {0};
    if (!ctl_verb_begin(&verb, "template ls", argc, argv) ||
        !ctl_verb_ask(&verb, "TemplateList", json_object()))
        return verb.status;
    const json_t *templates = ctl_verb_reply(&verb, "templates");
    ctl_print_list(templates, verb.options.json, columns,
                   ELEMENTS(columns) - !has_marks(templates), template_row);
    return 0;
}

void ctl_split_generation(char *text, const char **ret_generation)
{
    char *at = strchr(text, '@');
    *ret_generation = NULL;
    if (at) {
        *at = '\0';
        *ret_generation = at + 1;
    }
}

static int print_hash(struct ctl_verb *verb, const char *name, const char *generation)
{
    const struct ctl_call call = {
        .method = "TemplateHash",
        .parameters = json_pack("{s:s, s:s?}", "name", name, "generation", generation),
        .fd = ctl_progress_fd(false),
    };
    if (!ctl_verb_call(verb, &call))
        return verb->status;
    (void)printf("%s\n", ctl_verb_text(verb, "hash"));
    return 0;
}

static void generation_row(struct ctl_table *table, const json_t *item)
{
    char size[16];
    char created[32];
    char layers[16];
    bool current = json_is_true(json_object_get(item, "current"));
    bool pinned = json_is_true(json_object_get(item, "pinned"));
    ctl_format_size(size, sizeof(size),
                    (uint64_t)json_integer_value(json_object_get(item, "bytes")));
    ctl_format_time(created, sizeof(created),
                    json_integer_value(json_object_get(item, "created")));
    (void)snprintf(layers, sizeof(layers), "%lld",
                   (long long)json_integer_value(json_object_get(item, "layers")));
    const char *cells[] = {json_string_value(json_object_get(item, "id")), created, size,
                           layers,
                           current && pinned ? "current, snapshot"
                           : current         ? "current"
                           : pinned          ? "snapshot"
                                             : ""};
    ctl_table_row(table, cells);
}

/* A list as a shell would read it. */
static void print_words(const char *what, const json_t *list)
{
    size_t i = 0;
    const json_t *item = NULL;
    _cleanup_buffer_ struct buffer line = {0};
    json_array_foreach((json_t *)list, i, item)
        buffer_append_shell_word(&line, json_string_value(item));
    size_t size = line.data && !line.failed ? 4 * line.length + 1 : 0;
    _cleanup_free_ char *escaped = size > 0 ? malloc(size) : NULL;
    if (!escaped)
        return;
    text_escape(escaped, size, line.data); /* it is an image's */
    (void)printf("%s%s\n", what, escaped);
}

static void print_text(const char *what, const json_t *value)
{
    json_t *list = json_string_value(value) ? json_pack("[O]", value) : NULL;
    print_words(what, list);
    json_decref(list);
}

/* What the image that it was made of said. */
static void print_defaults(const json_t *defaults)
{
    size_t i = 0;
    const json_t *item = NULL;
    print_words("entrypoint: ", json_object_get(defaults, "entrypoint"));
    print_words("command: ", json_object_get(defaults, "cmd"));
    json_array_foreach(json_object_get(defaults, "env"), i, item) print_text("env:     ", item);
    print_text("workdir: ", json_object_get(defaults, "workdir"));
    print_text("user:    ", json_object_get(defaults, "user"));
    (void)printf("\n");
}

int ctl_template_inspect(int argc, char **argv)
{
    static const struct ctl_column columns[] = {
        {"GENERATION", false}, {"CREATED", false}, {"SIZE", true},
        {"LAYERS", true},      {"STATE", false},
    };
    const char *generation = NULL;
    _cleanup_ctl_verb_ struct ctl_verb verb = {0};
    if (!ctl_verb_begin(&verb, "template inspect", argc, argv))
        return verb.status;
    ctl_split_generation(verb.operands[0], &generation);
    if (verb.options.hash)
        return print_hash(&verb, verb.operands[0], generation);
    if (!ctl_verb_ask(
            &verb, "TemplateInspect",
            json_pack("{s:s, s:s?}", "name", verb.operands[0], "generation", generation)))
        return verb.status;
    const json_t *item = ctl_verb_reply(&verb, "template");
    if (verb.options.json) {
        ctl_print_json(item);
        return 0;
    }
    (void)printf("name:    %s\nstorage: %s\nsource:  %s\n",
                 json_string_value(json_object_get(item, "name")),
                 json_string_value(json_object_get(item, "storage")),
                 json_string_value(json_object_get(item, "source")));
    print_defaults(json_object_get(item, "defaults"));
    ctl_print_list(json_object_get(item, "generations"), false, columns, ELEMENTS(columns),
                   generation_row);
    return 0;
}

int ctl_template_snapshot(int argc, char **argv)
{
    _cleanup_ctl_verb_ struct ctl_verb verb = {0};
    if (!ctl_verb_begin(&verb, "template snapshot", argc, argv) ||
        !ctl_verb_ask(&verb, "TemplateSnapshot", json_pack("{s:s}", "name", verb.operands[0])))
        return verb.status;
    (void)printf("%s\n", ctl_verb_text(&verb, "generation"));
    return 0;
}

int ctl_template_rollback(int argc, char **argv)
{
    _cleanup_ctl_verb_ struct ctl_verb verb = {0};
    if (!ctl_verb_begin(&verb, "template rollback", argc, argv) ||
        !ctl_verb_ask(
            &verb, "TemplateRollback",
            json_pack("{s:s, s:s}", "name", verb.operands[0], "generation", verb.operands[1])))
        return verb.status;
    log_note("template \"%s\": %s is the current generation", verb.operands[0],
             verb.operands[1]);
    return 0;
}

int ctl_template_rm(int argc, char **argv)
{
    _cleanup_ctl_verb_ struct ctl_verb verb = {0};
    if (!ctl_verb_begin(&verb, "template rm", argc, argv))
        return verb.status;
    /* one that fails does not keep the others */
    for (int i = 0; i < verb.n_operands; i++) {
        const char *generation = NULL;
        ctl_split_generation(verb.operands[i], &generation);
        (void)!ctl_verb_ask(
            &verb, "TemplateRemove",
            json_pack("{s:s, s:s?}", "name", verb.operands[i], "generation", generation));
    }
    return verb.status;
}
