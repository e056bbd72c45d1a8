/* SPDX-License-Identifier: Apache-2.0 */
/* Methods on storages: what there is, whether it can be used, and forgetting one whose disk is
 * gone for good. Run in isolated as root, for root: names of storages are paths. */
#include "base/text.h"
#include "daemon/methods.h"
#include "daemon/pool.h"
#include "storage/location.h"

#include <string.h>

struct contents {
    size_t templates;
    size_t clones; /* those that will not go, too */
};

/* Opens it, and asks what it answers for. */
static int look_into(struct daemon *daemon, const char *name, struct contents *ret,
                     struct error *err)
{
    _cleanup_storage_ struct storage storage = {0};
    _cleanup_templates_ struct template_list templates = {0};
    _cleanup_clones_ struct clone_list clones = {0};
    _cleanup_clones_ struct clone_list trash = {0};
    int r = storage_open(name, daemon->state_fd, &storage, err);
    if (r == 0 && (storage.driver->capabilities & STORAGE_TEMPLATES))
        r = storage.driver->templates(&storage, &templates, err);
    if (r == 0)
        r = storage.driver->clones(&storage, &clones, err);
    if (r == 0)
        r = storage.driver->trash(&storage, &trash, err);
    if (r < 0)
        return strstr(err->text, name) ? r : error_prefix(err, r, "storage %s: ", name);
    *ret = (struct contents){templates.n, clones.n + trash.n};
    return 0;
}

/* JSON is UTF-8, a path in an error perhaps not. */
static json_t *problem_to_json(const struct error *problem)
{
    char text[2 * ERROR_TEXT_MAX];
    text_escape(text, sizeof(text), problem->text);
    return json_string(text);
}

static json_t *storage_to_json(struct daemon *daemon, const char *name)
{
    struct error problem = {0};
    struct contents contents = {0};
    (void)!look_into(daemon, name, &contents, &problem);
    return json_pack("{s:s, s:b, s:I, s:I, s:o}", "name", name, "elsewhere",
                     strchr(name, ':') != NULL, "templates", (json_int_t)contents.templates,
                     "clones", (json_int_t)contents.clones, "problem",
                     problem_to_json(&problem));
}

static bool keeps_templates(const char *name)
{
    const struct storage_driver *driver = NULL;
    return storage_driver_find(name, &driver, NULL) < 0 || /* then that is its problem */
           (driver->capabilities & STORAGE_TEMPLATES);
}

int method_storage_list(struct call *call, struct error *err)
{
    struct daemon *daemon = session_daemon(call->session);
    _cleanup_storage_names_ struct storage_names names = {0};
    int r = storage_names_list(daemon->state_fd, &names, err);
    if (r < 0)
        return r;
    json_t *list = json_array();
    for (size_t i = 0; i < names.n; i++)
        if (keeps_templates(names.items[i]))
            (void)json_array_append_new(list, storage_to_json(daemon, names.items[i]));
    return call_done(
        call,
        json_pack("{s:o, s:o}", "storages", list, "problem", problem_to_json(&names.problem)),
        err);
}

/* ---- forgetting ---- */

struct forgetting {
    struct daemon *daemon;
    int kept_fd;
    const char *name;
    struct error unusable; /* ERROR_NONE: it can be opened */
    json_t *kept;          /* ids of kept sandboxes whose clones are there */
};

static int add_kept(void *data, const char *id)
{
    struct forgetting *forgetting = data;
    _cleanup_record_ struct record record = {0};
    if (record_read_head(forgetting->kept_fd, id, &record, NULL) < 0 ||
        !streq(record.storage, forgetting->name))
        return 0;
    return json_array_append_new(forgetting->kept, json_string(id));
}

/* What can be seen must be removed first; of what cannot be opened nobody knows what it holds.
 */
static int may_forget(void *data, const char *name, struct error *err)
{
    struct forgetting *forgetting = data;
    struct contents contents = {0};
    forgetting->name = name;
    if (record_for_each(forgetting->kept_fd, add_kept, forgetting) < 0)
        return fail(err, ERROR_SYSTEM, EIO, "kept sandboxes: ");
    if (look_into(forgetting->daemon, name, &contents, &forgetting->unusable) < 0)
        return 0;
    if (contents.templates > 0 || contents.clones > 0)
        return fail(err, ERROR_BUSY, EBUSY,
                    "storage %s can be used and has %zu templates and %zu clones; remove them "
                    "first (`isolate template rm`, `isolate rm`, `isolate prune`)",
                    name, contents.templates, contents.clones);
    if (json_array_size(forgetting->kept) > 0)
        return fail(err, ERROR_BUSY, EBUSY,
                    "storage %s can be used, and sandbox %s is kept there; remove that first: "
                    "isolate rm %s",
                    name, json_string_value(json_array_get(forgetting->kept, 0)),
                    json_string_value(json_array_get(forgetting->kept, 0)));
    return 0;
}

int method_storage_forget(struct call *call, struct error *err)
{
    const char *name = NULL;
    struct daemon *daemon = session_daemon(call->session);
    int r = call_need_text(call, "name", &name, err);
    _cleanup_close_ int kept = r < 0 ? r : records_kept(daemon, err);
    if (kept < 0)
        return kept;
    struct forgetting forgetting = {.daemon = daemon, .kept_fd = kept, .kept = json_array()};
    r = storage_forget(daemon->state_fd, name, may_forget, &forgetting, err);
    if (r < 0) {
        json_decref(forgetting.kept);
        return r;
    }
    pool_templates_changed(daemon);
    return call_done(call,
                     json_pack("{s:s, s:o, s:o}", "name", name, "problem",
                               problem_to_json(&forgetting.unusable), "kept", forgetting.kept),
                     err);
}
