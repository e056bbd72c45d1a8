/* SPDX-License-Identifier: Apache-2.0 */
/* Methods on templates. Run in isolated as root; names are the caller's. A template is looked
 * for with every driver that keeps templates. */
#include "base/text.h"
#include "daemon/methods.h"
#include "daemon/policy.h"
#include "daemon/pool.h"
#include "daemon/stock.h"
#include "daemon/templates.h"
#include "storage/location.h"

#include <fcntl.h>
#include <string.h>

int template_open_root(const struct template_config *template, struct error *err)
{
    int fd = open(template->root, O_PATH | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 ? fail(err, ERROR_NOT_FOUND, errno,
                         "template \"%s\": its root %s: ", template->name, template->root)
                  : fd;
}

/* One that cannot be opened is no reason to say no to the others: why goes to *unusable. */
static int find_in_all(struct daemon *daemon, const char *name, struct storage *ret,
                       struct template_info *ret_info, struct error *unusable,
                       struct error *err)
{
    _cleanup_storage_names_ struct storage_names names = {0};
    int r = storage_names_list(daemon->state_fd, &names, err);
    if (r < 0)
        return r;
    int found = 0;
    for (size_t i = 0; found == 0 && i < names.n; i++) {
        _cleanup_storage_ struct storage storage = {0};
        if (storage_open(names.items[i], daemon->state_fd, &storage, unusable) < 0 ||
            !(storage.driver->capabilities & STORAGE_TEMPLATES))
            continue;
        found = storage.driver->find(&storage, name, ret_info, err);
        if (found > 0)
            *ret = TAKE_STRUCT(storage);
    }
    if (names.problem.code != ERROR_NONE)
        *unusable = names.problem;
    return found;
}

int template_failed(const char *name, const char *verb, int result, struct error *err)
{
    char quoted[NAME_TEMPLATE_MAX + 3];
    (void)snprintf(quoted, sizeof(quoted), "\"%s\"", name);
    return strstr(err->text, quoted)
               ? result
               : error_prefix(err, result, "template %s: %s", quoted, verb);
}

int template_find(struct daemon *daemon, const char *name, struct storage *ret,
                  struct template_info *ret_info, struct error *err)
{
    struct error unusable = {0};
    int r = name_check_template(name, err);
    if (r < 0)
        return r;
    r = find_in_all(daemon, name, ret, ret_info, &unusable, err);
    if (r != 0)
        return r < 0 ? r : 0;
    if (unusable.code != ERROR_NONE) /* it may be there */
        return fail(err, unusable.code, unusable.errnum,
                    "template \"%s\": there is none where isolate can look; %s", name,
                    unusable.text);
    return fail(err, ERROR_NOT_FOUND, ENOENT,
                "template \"%s\": there is none; see `isolate template ls`, or make it with "
                "`isolate template create %s --from debian`",
                name, name);
}

int template_generation(struct storage *storage, const char *name, const char *id,
                        struct generation *ret, struct error *err)
{
    _cleanup_generations_ struct generation_list list = {0};
    int r = storage->driver->generations(storage, name, &list, err);
    if (r < 0)
        return r;
    for (size_t i = 0; i < list.n; i++)
        if (id ? streq(list.items[i].id, id) : list.items[i].current) {
            *ret = list.items[i];
            return 0;
        }
    return generation_unknown(name, id ? id : "(the current one)", err);
}

static int not_in(struct daemon *daemon, const char *name, const char *storage_name,
                  struct error *err)
{
    struct template_info info;
    _cleanup_storage_ struct storage elsewhere = {0};
    if (template_find(daemon, name, &elsewhere, &info, NULL) == 0)
        return fail(err, ERROR_NOT_FOUND, ENOENT,
                    "template \"%s\" is not in storage %s but in %s; use that one", name,
                    storage_name, elsewhere.name);
    return fail(err, ERROR_NOT_FOUND, ENOENT,
                "template \"%s\": there is none in storage %s, nor elsewhere; see `isolate "
                "template ls`",
                name, storage_name);
}

int template_find_in(struct daemon *daemon, const char *name, const char *storage_name,
                     struct storage *ret, struct error *err)
{
    struct template_info info;
    _cleanup_storage_ struct storage storage = {0};
    if (!storage_name)
        return template_find(daemon, name, ret, &info, err);
    int r = storage_is_known(daemon->state_fd, storage_name, err);
    if (r < 0)
        return r;
    if (r == 0)
        return fail(err, ERROR_NOT_FOUND, ENOENT,
                    "storage \"%.80s\" holds no templates; see `isolate template ls`",
                    storage_name);
    /* asked before anything is made for it */
    struct storage named = {.dir_fd = -EBADF, .import_fd = -EBADF};
    (void)snprintf(named.name, sizeof(named.name), "%s", storage_name);
    r = storage_driver_find(storage_name, &named.driver, err);
    if (r == 0)
        r = storage_require(&named, STORAGE_TEMPLATES, "keep named templates", err);
    if (r == 0)
        r = storage_open(storage_name, daemon->state_fd, &storage, err);
    if (r == 0)
        r = storage.driver->find(&storage, name, &info, err);
    if (r == 0)
        return not_in(daemon, name, storage.name, err);
    if (r < 0)
        return r;
    *ret = TAKE_STRUCT(storage);
    return 0;
}

static int find_named(struct call *call, struct storage *ret, struct template_info *ret_info,
                      struct error *err)
{
    const char *name = NULL;
    int r = call_need_text(call, "name", &name, err);
    return r < 0 ? r : template_find(session_daemon(call->session), name, ret, ret_info, err);
}

static json_t *generation_to_json(const struct generation *generation)
{
    return json_pack("{s:s, s:b, s:b, s:I, s:I, s:I}", "id", generation->id, "current",
                     (int)generation->current, "pinned", (int)generation->pinned, "created",
                     (json_int_t)generation->created, "bytes", (json_int_t)generation->bytes,
                     "layers", (json_int_t)generation->layers);
}

/* With one of its generations; NULL: with all. */
static json_t *template_to_json(struct storage *storage, const struct template_info *info,
                                const char *generation, struct error *err)
{
    _cleanup_generations_ struct generation_list list = {0};
    if (storage->driver->generations(storage, info->name, &list, err) < 0)
        return NULL;
    json_t *generations = json_array();
    for (size_t i = 0; i < list.n; i++)
        if (!generation || streq(list.items[i].id, generation))
            (void)json_array_append_new(generations, generation_to_json(&list.items[i]));
    if (generation && json_array_size(generations) == 0) {
        (void)!generation_unknown(info->name, generation, err);
        json_decref(generations);
        return NULL;
    }
    json_t *defaults = NULL;
    if (storage->driver->defaults(storage, info->name, &defaults, err) < 0) {
        json_decref(generations);
        return NULL;
    }
    return json_pack("{s:s, s:s, s:s, s:o*, s:o}", "name", info->name, "storage", storage->name,
                     "source", info->source, "defaults", defaults, "generations", generations);
}

/* One that cannot be asked now: a disk has failed. */
static json_t *unknown_to_json(const struct storage *storage, const struct template_info *info,
                               const char *problem)
{
    return json_pack("{s:s, s:s, s:s, s:[], s:s}", "name", info->name, "storage", storage->name,
                     "source", info->source, "generations", "problem", problem);
}

/* What a listing of templates says. */
struct listing {
    struct daemon *daemon;
    json_t *templates;
    json_t *warnings;
};

static int list_storage(const struct listing *listing, const char *name, struct error *err)
{
    _cleanup_storage_ struct storage storage = {0};
    _cleanup_templates_ struct template_list list = {0};
    struct error unusable = {0};
    if (storage_open(name, listing->daemon->state_fd, &storage, &unusable) < 0) {
        recover_warn(listing->warnings, &unusable);
        return 0;
    }
    if (!(storage.driver->capabilities & STORAGE_TEMPLATES))
        return 0;
    int r = storage.driver->templates(&storage, &list, err);
    for (size_t i = 0; r == 0 && i < list.n; i++) {
        struct error unknown = {0};
        json_t *item = template_to_json(&storage, &list.items[i], NULL, &unknown);
        if (!item && unknown.code != ERROR_NOT_FOUND)
            item = unknown_to_json(&storage, &list.items[i], unknown.text);
        if (item) /* one that is removed just now is left out */
            r = json_array_append_new(listing->templates, item);
    }
    return r;
}

/* Those of templates.d that are directories, or cannot be used. */
static void list_configured(const struct config *config, json_t *out)
{
    for (size_t i = 0; i < config->n_templates; i++) {
        const struct template_config *template = &config->templates[i];
        char source[320];
        if (!template->root && !*template->problem)
            continue;
        (void)snprintf(source, sizeof(source), "root:%s", template->root ? template->root : "");
        (void)json_array_append_new(
            out, json_pack("{s:s, s:s, s:s, s:[], s:s}", "name", template->name, "storage", "-",
                           "source", source, "generations", "problem", template->problem));
    }
}

/* Of those that the caller may not use. */
static void mark_denied(const struct config *config, const struct peer *peer, json_t *templates)
{
    size_t i = 0;
    json_t *item = NULL;
    json_array_foreach(templates, i, item)
    {
        struct error denied = {0};
        const char *name = json_string_value(json_object_get(item, "name"));
        if (policy_check_template(peer, config_template(config, name), &denied) < 0)
            (void)json_object_set_new(item, "denied", json_string(denied.text));
    }
}

int method_template_list(struct call *call, struct error *err)
{
    struct daemon *daemon = session_daemon(call->session);
    const struct listing listing = {daemon, json_array(), call_warnings(call)};
    _cleanup_storage_names_ struct storage_names names = {0};
    int r = storage_names_list(daemon->state_fd, &names, err);
    for (size_t i = 0; r == 0 && i < names.n; i++)
        r = list_storage(&listing, names.items[i], err);
    if (r < 0) {
        json_decref(listing.templates);
        json_decref(listing.warnings);
        return r;
    }
    if (names.problem.code != ERROR_NONE)
        recover_warn(listing.warnings, &names.problem);
    list_configured(&daemon->config, listing.templates);
    mark_denied(&daemon->config, call->peer, listing.templates);
    return call_done(
        call,
        json_pack("{s:o, s:o*}", "templates", listing.templates, "warnings", listing.warnings),
        err);
}

int method_template_inspect(struct call *call, struct error *err)
{
    _cleanup_storage_ struct storage storage = {0};
    struct template_info info;
    int r = find_named(call, &storage, &info, err);
    if (r < 0)
        return r;
    json_t *item = template_to_json(&storage, &info, call_text(call, "generation"), err);
    if (!item)
        return err->code != ERROR_NONE ? -err->errnum
                                       : fail(err, ERROR_SYSTEM, ENOMEM, "template inspect: ");
    return call_done(call, json_pack("{s:o}", "template", item), err);
}

int method_template_remove(struct call *call, struct error *err)
{
    _cleanup_storage_ struct storage storage = {0};
    struct template_info info;
    const char *generation = call_text(call, "generation");
    int r = find_named(call, &storage, &info, err);
    if (r < 0)
        return r;
    if (!generation)
        stock_drop(session_daemon(call->session), info.name);
    r = generation ? storage.driver->remove_generation(&storage, info.name, generation, err)
                   : storage.driver->remove_template(&storage, info.name, err);
    pool_templates_changed(session_daemon(call->session));
    if (r == 0)
        r = storage.driver->collect(&storage, err);
    return r < 0 ? r : call_done(call, json_pack("{s:s}", "name", info.name), err);
}

int method_template_snapshot(struct call *call, struct error *err)
{
    _cleanup_storage_ struct storage storage = {0};
    struct template_info info;
    char generation[GENERATION_SIZE] = "";
    int r = find_named(call, &storage, &info, err);
    if (r < 0)
        return r;
    /* on ZFS the dataset may have changed since the last one */
    stock_drop(session_daemon(call->session), info.name);
    r = storage.driver->snapshot(&storage, info.name, generation, err);
    r = storage_advise(&storage, r, err);
    stock_renew(session_daemon(call->session), info.name);
    pool_templates_changed(session_daemon(call->session));
    return r < 0 ? r
                 : call_done(
                       call,
                       json_pack("{s:s, s:s}", "template", info.name, "generation", generation),
                       err);
}

int method_template_rollback(struct call *call, struct error *err)
{
    _cleanup_storage_ struct storage storage = {0};
    struct template_info info;
    const char *generation = NULL;
    int r = call_need_text(call, "generation", &generation, err);
    if (r < 0)
        return r;
    r = find_named(call, &storage, &info, err);
    if (r < 0)
        return r;
    stock_drop(session_daemon(call->session), info.name);
    r = storage.driver->rollback(&storage, info.name, generation, err);
    r = storage_advise(&storage, r, err);
    stock_renew(session_daemon(call->session), info.name);
    pool_templates_changed(session_daemon(call->session));
    return r < 0 ? r
                 : call_done(
                       call,
                       json_pack("{s:s, s:s}", "template", info.name, "generation", generation),
                       err);
}
