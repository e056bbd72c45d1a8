/* SPDX-License-Identifier: Apache-2.0 */
/* Methods behind `isolate -r`: datasets that are there become templates, and fresh clones are
 * made to stock. Run as root in a fork of isolated, or in a one-shot; names are root's. */
#include "base/text.h"
#include "daemon/methods.h"
#include "daemon/pool.h"
#include "daemon/stock.h"
#include "daemon/templates.h"
#include "storage/location.h"

#include <string.h>

#define STOCK_MAX 1000

/* POOL/PARENT/NAME: its storage is zfs:POOL/PARENT, and its template NAME. */
static int split_dataset(const char *dataset, char *storage, size_t size, const char **ret_name,
                         struct error *err)
{
    const char *slash = strrchr(dataset, '/');
    if (!slash || slash == dataset || !slash[1])
        return fail(err, ERROR_INVALID, EINVAL,
                    "dataset \"%.160s\": a template is a dataset inside of another one, as "
                    "rpool/isolate/debian",
                    dataset);
    *ret_name = slash + 1;
    (void)snprintf(storage, size, "zfs:%.*s", (int)(slash - dataset), dataset);
    int r = name_check_template(slash + 1, err);
    return r < 0 ? error_prefix(err, r, "dataset \"%.160s\": ", dataset) : 0;
}

/* 1 where it was one already. */
static int adopt(struct daemon *daemon, const char *dataset, const char *wanted,
                 const char *name, struct error *err)
{
    char storage_name[STORAGE_NAME_SIZE];
    char source[256];
    struct template_info info;
    _cleanup_storage_ struct storage storage = {0};
    _cleanup_storage_ struct storage existing = {0};
    int r = storage_choose(wanted, daemon->state_fd, daemon->config.state_directory,
                           storage_name, err);
    if (r == 0)
        r = storage_is_known(daemon->state_fd, storage_name, err);
    if (r >= 0)
        r = storage_open(storage_name, daemon->state_fd, &storage, err);
    if (r < 0)
        return r;
    if (template_find(daemon, name, &existing, &info, NULL) == 0) {
        if (streq(existing.name, storage.name))
            return 1;
        return fail(err, ERROR_EXISTS, EEXIST,
                    "template \"%s\" exists, in storage %s; rename the dataset %s", name,
                    existing.name, dataset);
    }
    (void)snprintf(source, sizeof(source), "dataset:%.200s", dataset);
    r = storage.driver->adopt(&storage, name, source, err);
    if (r == 0)
        r = storage_register(daemon->state_fd, storage.name, err);
    if (r < 0 && storage_is_known(daemon->state_fd, storage.name, NULL) == 0)
        storage_discard(&storage, daemon->state_fd);
    return r;
}

int method_template_adopt(struct call *call, struct error *err)
{
    char storage[STORAGE_NAME_SIZE];
    const char *dataset = NULL;
    const char *name = NULL;
    int r = call_need_text(call, "dataset", &dataset, err);
    if (r == 0)
        r = split_dataset(dataset, storage, sizeof(storage), &name, err);
    if (r == 0)
        r = adopt(session_daemon(call->session), dataset, storage, name, err);
    return r < 0
               ? r
               : call_done(call,
                           json_pack("{s:s, s:b}", "template", name, "adopted", (int)(r == 0)),
                           err);
}

int method_pool_stock(struct call *call, struct error *err)
{
    const char *name = NULL;
    const json_t *wanted = json_object_get(call->parameters, "wanted");
    struct stock_change change = {0};
    int r = call_need_text(call, "template", &name, err);
    if (r == 0 && (!json_is_integer(wanted) || json_integer_value(wanted) < 0 ||
                   json_integer_value(wanted) > STOCK_MAX))
        r = fail(err, ERROR_INVALID, ERANGE, "stock: from 0 to %d clones", STOCK_MAX);
    if (r == 0)
        r = name_check_template(name, err);
    if (r == 0)
        r = stock_fill(session_daemon(call->session), name,
                       (unsigned)json_integer_value(wanted),
                       json_is_true(json_object_get(call->parameters, "used")), &change, err);
    /* what is parked is as old as what counts as used */
    if (json_is_true(json_object_get(call->parameters, "used")))
        pool_templates_changed(session_daemon(call->session));
    return r < 0 ? r
                 : call_done(call,
                             json_pack("{s:s, s:i, s:i, s:i}", "template", name, "fresh",
                                       (int)change.fresh, "made", (int)change.made, "removed",
                                       (int)change.removed),
                             err);
}
