/* SPDX-License-Identifier: Apache-2.0 */
/* How much of the machine a member has, and may have. Runs in isolated as root; the request is
 * the caller's. */
#include "daemon/policy_quota.h"

#include "base/text.h"
#include "daemon/quarantine.h"
#include "daemon/sandbox.h"

#include <fcntl.h>
#include <sys/stat.h>

#define GOING_MAX 64 /* beyond the quota, what is only still being taken away */

/* Requests are part of the records in the runtime directory, which is everybody's. */
#define REQUESTS_MAX (12U << 20)

/* How many run, of one template or (NULL) all; adds the length of their requests. */
static uint32_t count_running(const struct daemon *daemon, uid_t uid, const char *template_name,
                              uint64_t *length)
{
    uint32_t n = 0;
    uint32_t going = 0;
    for (const struct sandbox *sandbox = daemon->sandboxes; sandbox; sandbox = sandbox->next) {
        const struct record *record = &sandbox->body.record;
        if (record->owner_uid != uid ||
            (template_name && !streq(record->template_name, template_name)))
            continue;
        n++;
        *length += sandbox->request.length;
        bool held = sandbox->state == SANDBOX_SETTLING || sandbox->state == SANDBOX_ENDED;
        bool ends = sandbox->state == SANDBOX_DESTROYING || (sandbox->exit_kind != 0 && !held);
        going += ends && !sandbox->body.lingers;
    }
    /* who was told that one has ended may have the next one at once. The one that asks is in
     * the list, without its owner yet */
    return n - (going < GOING_MAX ? going : GOING_MAX);
}

static int too_many(uint32_t n, const char *what, const struct policy_ceiling *ceiling,
                    const char *remedy, struct error *err)
{
    return fail(err, ERROR_BUSY, EDQUOT, "you have %u %s already (Sandboxes=, from %s); %s", n,
                what, ceiling->from, remedy);
}

static int check_running(struct daemon *daemon, const struct wanted *wanted, struct error *err)
{
    uid_t uid = wanted->peer->uid;
    uint64_t length = wanted->request->length;
    char what[NAME_TEMPLATE_MAX + 32];
    const struct policy_ceiling *all = &wanted->rights->ceilings[POLICY_SANDBOXES];
    const struct policy_ceiling *some = &wanted->rights->of_this_template;
    uint64_t others = 0;
    uint32_t n = count_running(daemon, uid, NULL, &length) + quarantine_count(daemon, uid);
    if (length > REQUESTS_MAX)
        return fail(err, ERROR_BUSY, EDQUOT,
                    "the commands and environments of your sandboxes would take more than %u "
                    "MiB; end some first, or pass less",
                    REQUESTS_MAX >> 20);
    if (n >= all->value)
        return too_many(n, "sandboxes", all, "end some first", err);
    n = some->from ? count_running(daemon, uid, wanted->template_name, &others) : 0;
    (void)snprintf(what, sizeof(what), "sandboxes of %s", wanted->template_name);
    return n < some->value ? 0 : too_many(n, what, some, "end some first", err);
}

struct kept_of {
    int dir_fd;
    uid_t uid;
    const char *template_name;
    uint32_t n;
    uint32_t n_of_template;
    uint64_t bytes;
};

static int count_kept(void *data, const char *id)
{
    struct kept_of *kept = data;
    struct stat st;
    _cleanup_record_ struct record record = {0};
    if (record_read_head(kept->dir_fd, id, &record, NULL) < 0 ||
        record.owner_uid != kept->uid ||
        fstatat(kept->dir_fd, id, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return 0;
    kept->n++;
    kept->n_of_template += streq(record.template_name, kept->template_name);
    kept->bytes += (uint64_t)st.st_size;
    return 0;
}

/* Kept sandboxes hold an id range, a clone and a record as long as their owner likes. */
static int check_kept(struct daemon *daemon, const struct wanted *wanted, struct error *err)
{
    static const char remedy[] = "remove some first: see `isolate ps -a`";
    char what[NAME_TEMPLATE_MAX + 32];
    const struct policy_ceiling *all = &wanted->rights->ceilings[POLICY_SANDBOXES];
    const struct policy_ceiling *some = &wanted->rights->of_this_template;
    _cleanup_close_ int dir = records_kept(daemon, err);
    struct kept_of kept = {
        .dir_fd = dir,
        .uid = wanted->peer->uid,
        .template_name = wanted->template_name,
        .bytes = wanted->request->length,
    };
    int r = dir < 0 ? dir : record_for_each(dir, count_kept, &kept);
    if (r < 0)
        return dir < 0 ? r : fail(err, ERROR_SYSTEM, r, "kept sandboxes: ");
    if (kept.n >= all->value || kept.bytes > REQUESTS_MAX)
        return too_many(kept.n, "kept sandboxes", all, remedy, err);
    (void)snprintf(what, sizeof(what), "kept sandboxes of %s", wanted->template_name);
    return kept.n_of_template < some->value
               ? 0
               : too_many(kept.n_of_template, what, some, remedy, err);
}

int policy_check_quota(struct daemon *daemon, const struct wanted *wanted, struct error *err)
{
    int r = check_running(daemon, wanted, err);
    return r == 0 && wanted->request->keep ? check_kept(daemon, wanted, err) : r;
}
