/* SPDX-License-Identifier: Apache-2.0 */
/* See policy.h. Runs in isolated as root; the request is the caller's. */
#include "daemon/policy.h"

#include "base/text.h"
#include "daemon/quarantine.h"
#include "daemon/sandbox.h"
#include "sys/caps.h"

#include <fcntl.h>
#include <sys/stat.h>

#define GOING_MAX 64 /* beyond the quota, what is only still being taken away */

/* Requests are part of the records in the runtime directory, which is everybody's. */
#define REQUESTS_MAX (12U << 20)

static int check_quota(struct daemon *daemon, uid_t uid, uint64_t length, struct error *err)
{
    uint32_t n = 0;
    uint32_t going = 0;
    for (const struct sandbox *sandbox = daemon->sandboxes; sandbox; sandbox = sandbox->next) {
        if (sandbox->body.record.owner_uid != uid)
            continue;
        n++;
        length += sandbox->request.length;
        bool held = sandbox->state == SANDBOX_SETTLING || sandbox->state == SANDBOX_ENDED;
        going += sandbox->state == SANDBOX_DESTROYING || (sandbox->exit_kind != 0 && !held);
    }
    /* who was told that one has ended may have the next one at once. The one that asks is in
     * the list, without its owner yet */
    n -= going < GOING_MAX ? going : GOING_MAX;
    n += quarantine_count(daemon, uid);
    if (length > REQUESTS_MAX)
        return fail(err, ERROR_BUSY, EDQUOT,
                    "the commands and environments of your sandboxes would take more than %u "
                    "MiB; end some first, or pass less",
                    REQUESTS_MAX >> 20);
    return n < daemon->config.sandboxes_per_user
               ? 0
               : fail(err, ERROR_BUSY, EDQUOT,
                      "you have %u sandboxes already (SandboxesPerUser=); end some first", n);
}

struct kept_of {
    int dir_fd;
    uid_t uid;
    uint32_t n;
    uint64_t bytes;
};

static int count_kept(void *data, const char *id)
{
    struct kept_of *kept = data;
    struct stat st;
    _cleanup_record_ struct record record = {0};
    if (record_read(kept->dir_fd, id, &record, NULL) < 0 || record.owner_uid != kept->uid ||
        fstatat(kept->dir_fd, id, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return 0;
    kept->n++;
    kept->bytes += (uint64_t)st.st_size;
    return 0;
}

/* Kept sandboxes hold an id range, a clone and a record as long as their owner likes. */
static int check_kept(struct daemon *daemon, uid_t uid, uint64_t length, struct error *err)
{
    _cleanup_close_ int dir = records_kept(daemon, err);
    struct kept_of kept = {.dir_fd = dir, .uid = uid, .bytes = length};
    int r = dir < 0 ? dir : record_for_each(dir, count_kept, &kept);
    if (r < 0)
        return dir < 0 ? r : fail(err, ERROR_SYSTEM, r, "kept sandboxes: ");
    if (kept.n < daemon->config.sandboxes_per_user && kept.bytes <= REQUESTS_MAX)
        return 0;
    return fail(
        err, ERROR_BUSY, EDQUOT,
        "you have %u kept sandboxes already (SandboxesPerUser=); remove some first: see "
        "`isolate ps -a`",
        kept.n);
}

/* A runtime is executed in the pod, before there are filters. */
static bool is_other_runtime(const char *engine)
{
    const char *runtime = engine_argument(engine);
    for (size_t i = 0; runtime && engine_oci_runtimes[i]; i++)
        if (streq(runtime, engine_oci_runtimes[i]))
            return false;
    return runtime != NULL;
}

/* What is not listed is root's. */
static int check_network(const struct daemon *daemon, const struct network *network,
                         struct error *err)
{
    static const char *const words[] = {[NETWORK_HOST] = "host", [NETWORK_NAT] = "nat"};
    char word[32];
    if (network->mode == NETWORK_NONE)
        return 0;
    (void)snprintf(word, sizeof(word), "%s%s",
                   network->mode == NETWORK_BRIDGE ? "bridge=" : words[network->mode],
                   network->bridge);
    return text_has_word(daemon->config.members_networks, word)
               ? 0
               : fail(err, ERROR_DENIED, EPERM,
                      "--network %s: for root only, unless Members= in [Network] of the "
                      "configuration lists it",
                      word);
}

int policy_check_run(struct daemon *daemon, const struct peer *peer,
                     const struct run_request *request, struct error *err)
{
    if (request->detach && !daemon->resident)
        return fail(err, ERROR_UNSUPPORTED, EOPNOTSUPP,
                    "--detach needs the resident daemon, and none runs: systemctl start "
                    "isolated.socket (or run isolated)");
    if (peer->uid == 0)
        return 0;
    const struct {
        bool asked;
        const char *what;
    } refused[] = {
        {request->hold, "template update"}, /* which asks for the host's network, too */
        {request->root != NULL, "a directory as template"},
        {request->host, "@host"},
        {request->network.host_loopback, "--network nat,host-loopback"},
        {network_low_port(&request->network) != 0, "--publish of a port below 1024"},
        {request->owner != NULL, "--owner"},
        {request->first_id != 0, "--first-id (-u, -g)"},
        {(request->capabilities & ~caps_default()) != 0, "--cap-add"},
        {request->engine && streq(request->engine, "chroot"), "--engine chroot"},
        {is_other_runtime(request->engine), "--engine oci with a runtime of one's own choice"},
    };
    for (size_t i = 0; i < ELEMENTS(refused); i++)
        if (refused[i].asked)
            return fail(err, ERROR_DENIED, EPERM, "%s: for root only", refused[i].what);
    int r = check_network(daemon, &request->network, err);
    if (r == 0)
        r = check_quota(daemon, peer->uid, request->length, err);
    return r == 0 && request->keep ? check_kept(daemon, peer->uid, request->length, err) : r;
}
