/* SPDX-License-Identifier: Apache-2.0 */
/* Methods on templates. Run in isolated as root; names are the caller's. A template is looked
 * for with every driver that keeps templates. */
#include "base/text.h"
#include "daemon/methods.h"
#include "daemon/pool.h"
#include "daemon/templates.h"

#include <fcntl.h>
#include <string.h>

int template_open_root(const struct template_config *template, struct error *err)
{
    int fd = open(template->root, O_PATH | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 ? fail(err, ERROR_NOT_FOUND, errno,
                         "template \"%s\": its root %s: ", template->name, template->root)
                  : fd;
}

int template_find(struct daemon *daemon, const char *name, struct storage *ret,
                  struct template_info *ret_info, struct error *err)
{
    int r = name_check_template(name, err);
    for (size_t i = 0; r == 0 && storage_drivers[i]; i++) {
        _cleanup_storage_ struct storage storage = {0};
        _cleanup_templates_ struct template_list list = {0};
        if (!(storage_drivers[i]->capabilities & STORAGE_TEMPLATES))
            continue;
        r = storage_open(storage_drivers[i]->name, daemon->state_fd, &storage, err);
        if (r == 0)
            r = storage.driver->templates(&storage, &list, err);
        for (size_t k = 0; r == 0 && k < list.n; k++) {
            if (!streq(list.items[k].name, name))
                continue;
            *ret = storage;
            *ret_info = list.items[k];
            storage = (struct storage){0};
            return 0;
        }
    }
    return r < 0 ? r
                 : fail(err, ERROR_NOT_FOUND, ENOENT,
                        "template \"%s\": there is none; see `isolate template ls`", name);
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

static json_t *template_to_json(struct storage *storage, const struct template_info *info,
                                struct error *err)
{
    _cleanup_generations_ struct generation_list list = {0};
    if (storage->driver->generations(storage, info->name, &list, err) < 0)
        return NULL;
    json_t *generations = json_array();
    for (size_t i = 0; i < list.n; i++)
        (void)json_array_append_new(generations, generation_to_json(&list.items[i]));
    return json_pack("{s:s, s:s, s:s, s:o}", "name", info->name, "storage",
                     storage->driver->name, "source", info->source, "generations", generations);
}

static int list_driver(struct daemon *daemon, const struct storage_driver *driver, json_t *out,
                       struct error *err)
{
    _cleanup_storage_ struct storage storage = {0};
    _cleanup_templates_ struct template_list list = {0};
    int r = storage_open(driver->name, daemon->state_fd, &storage, err);
    if (r == 0)
        r = driver->templates(&storage, &list, err);
    for (size_t i = 0; r == 0 && i < list.n; i++) {
        json_t *item = template_to_json(&storage, &list.items[i], err);
        if (item) /* one that is removed just now is left out */
            r = json_array_append_new(out, item);
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

int method_template_list(struct call *call, struct error *err)
{
    json_t *out = json_array();
    int r = 0;
    for (size_t i = 0; r == 0 && storage_drivers[i]; i++)
        if (storage_drivers[i]->capabilities & STORAGE_TEMPLATES)
            r = list_driver(session_daemon(call->session), storage_drivers[i], out, err);
    if (r < 0) {
        json_decref(out);
        return r;
    }
    list_configured(&session_daemon(call->session)->config, out);
    return call_done(call, json_pack("{s:o}", "templates", out), err);
}

int method_template_inspect(struct call *call, struct error *err)
{
    _cleanup_storage_ struct storage storage = {0};
    struct template_info info;
    int r = find_named(call, &storage, &info, err);
    if (r < 0)
        return r;
    json_t *item = template_to_json(&storage, &info, err);
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
    if (r == 0)
        r = storage.driver->snapshot(&storage, info.name, generation, err);
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
    if (r == 0)
        r = find_named(call, &storage, &info, err);
    if (r == 0)
        r = storage.driver->rollback(&storage, info.name, generation, err);
    pool_templates_changed(session_daemon(call->session));
    return r < 0 ? r
                 : call_done(
                       call,
                       json_pack("{s:s, s:s}", "template", info.name, "generation", generation),
                       err);
}
