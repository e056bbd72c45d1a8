/* SPDX-License-Identifier: Apache-2.0 */
/* What is left over and belongs to nobody, for `isolate doctor`. Takes nothing away. Runs in
 * isolated as root. */
#include "base/text.h"
#include "daemon/quarantine.h"
#include "daemon/recovery.h"
#include "daemon/stock.h"
#include "storage/location.h"
#include "sys/fd.h"

#include <string.h>

static void add_leftover(json_t *list, const char *name, const char *why)
{
    char what[1024];
    (void)snprintf(what, sizeof(what), "%s: %s", name, why);
    (void)json_array_append_new(
        list, json_pack("{s:s, s:s}", "what", what, "remedy", "isolate prune"));
}

static void leftover_clones(const struct recovery *recovery, const char *name, json_t *list)
{
    _cleanup_storage_ struct storage storage = {0};
    _cleanup_clones_ struct clone_list clones = {0};
    if (storage_open(name, recovery->daemon->state_fd, &storage, NULL) < 0 ||
        storage.driver->clones(&storage, &clones, NULL) < 0)
        return;
    recovery_drop_owned(recovery, &clones);
    for (size_t i = 0; i < clones.n; i++)
        add_leftover(list, clones.items[i].name, "a clone that belongs to no sandbox");
    _cleanup_clones_ struct clone_list trash = {0};
    if (storage.driver->trash(&storage, &trash, NULL) == 0)
        for (size_t i = 0; i < trash.n; i++)
            if (!recovery_has_record(recovery->running, trash.items[i].name))
                add_leftover(list, trash.items[i].name,
                             "a removed clone that another sandbox still writes into");
}

static void leftover_leaf(const struct recovery *recovery, const char *name, void *data)
{
    add_leftover(data, name, "a cgroup that belongs to no sandbox");
}

static void leftover_range(const struct recovery *recovery, const char *first_id, void *data)
{
    add_leftover(data, first_id, "an id range whose sandbox is gone");
}

static void leftover_log(const struct recovery *recovery, const char *id, void *data)
{
    add_leftover(data, id, "the log of a sandbox that is gone");
}

struct free_records {
    const struct recovery *recovery;
    json_t *list;
};

static int each_free_record(void *data, const char *id)
{
    struct free_records *records = data;
    _cleanup_buffer_ struct buffer holders = {0};
    _cleanup_record_ struct record record = {0};
    const struct recovery *recovery = records->recovery;
    if (stock_has(recovery->daemon, id))
        return 0;
    if (recovery_is_free(recovery, id) && recovery_lives_on(recovery, id, 0) &&
        recovery_has_started(recovery, id))
        return 0; /* it runs, and the next isolated takes it over */
    _cleanup_close_ int lock = record_lock(recovery->running, id);
    if (lock < 0)
        return 0;
    if (record_read_head(recovery->running, id, &record, NULL) < 0 ||
        !streq(record.state, "quarantined")) {
        add_leftover(records->list, id, "a sandbox that has lost its owner");
        return 0;
    }
    buffer_printf(&holders, "quarantined: it has ended and cannot be taken away");
    size_t length = holders.length;
    quarantine_holders(recovery->daemon, id, &holders);
    if (holders.length == length)
        buffer_printf(&holders, "; nobody is seen to hold it");
    add_leftover(records->list, id, holders.failed ? "quarantined" : holders.data);
    return 0;
}

json_t *recover_leftovers(struct daemon *daemon)
{
    json_t *list = json_array();
    _cleanup_recovery_ struct recovery recovery = {.running = -EBADF, .kept = -EBADF};
    if (!list || recovery_open(daemon, &recovery, NULL) < 0)
        return list;
    struct free_records records = {.recovery = &recovery, .list = list};
    (void)!record_for_each(recovery.running, each_free_record, &records);
    _cleanup_storage_names_ struct storage_names names = {0};
    if (storage_names_list(daemon->state_fd, &names, NULL) == 0)
        for (size_t i = 0; i < names.n; i++)
            leftover_clones(&recovery, names.items[i], list);
    recovery_stale_logs(&recovery, leftover_log, list);
    recovery_ownerless(&recovery, daemon->cgroup_fd, ".", leftover_leaf, list);
    recovery_ownerless(&recovery, daemon->run_fd, "ids", leftover_range, list);
    return list;
}
