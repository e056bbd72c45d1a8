/* SPDX-License-Identifier: Apache-2.0 */
/* See policy.h. Runs in isolated as root; the request is the caller's, its ids and groups are
 * the kernel's, and what follows from them is in root's files. */
#include "daemon/policy.h"

#include "base/text.h"
#include "daemon/limits.h"
#include "daemon/policy_quota.h"
#include "sys/caps.h"

#include <inttypes.h>
#include <stddef.h>
#include <string.h>

static bool is_named(const struct peer *peer, const struct template_config *of_template)
{
    for (size_t i = 0; i < of_template->users.n; i++)
        if (of_template->users.ids[i] == peer->uid)
            return true;
    for (size_t i = 0; i < of_template->groups.n; i++)
        if (peer_is_in(peer, of_template->groups.ids[i]))
            return true;
    return false;
}

int policy_check_template(const struct peer *peer, const struct template_config *of_template,
                          struct error *err)
{
    if (!of_template || peer->uid == 0)
        return 0;
    bool users = of_template->users.said;
    bool groups = of_template->groups.said;
    if ((!users && !groups) || is_named(peer, of_template))
        return 0;
    return fail(
        err, ERROR_DENIED, EPERM,
        "template \"%s\": you (uid %u) may not use it: %s%s%s%s%s; see `isolate policy`",
        of_template->name, peer->uid, users ? "Users= of " : "",
        users ? of_template->users.from : "", users && groups ? " and " : "",
        groups ? "Groups= of " : "", groups ? of_template->groups.from : "");
}

int policy_rights(const struct config *config, const struct peer *peer,
                  const struct template_config *of_template, struct policy_rights *ret,
                  struct error *err)
{
    size_t n = 0;
    const struct policy **groups = calloc(config->n_groups + 1, sizeof(struct policy *));
    if (!groups)
        return fail(err, ERROR_SYSTEM, ENOMEM, "policy: ");
    for (size_t i = 0; i < config->n_groups; i++)
        if (config->groups[i].known && peer_is_in(peer, config->groups[i].gid))
            groups[n++] = &config->groups[i].policy; /* with a problem: nothing */
    int r = policy_combine(&config->policy, groups, n,
                           of_template ? &of_template->policy : NULL, ret, err);
    free(groups);
    return r;
}

/* What no policy gives. */
static int check_roots(const struct run_request *request, struct error *err)
{
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
        {request->limits.io_weight > LIMIT_IO_WEIGHT_DEFAULT, "--io-weight above 100"},
        {request->engine && streq(request->engine, "chroot"), "--engine chroot"},
    };
    for (size_t i = 0; i < ELEMENTS(refused); i++)
        if (refused[i].asked)
            return fail(err, ERROR_DENIED, EPERM, "%s: for root only", refused[i].what);
    return 0;
}

/* runc and crun are what oci stands for; another runtime is executed in the pod before there
 * are filters, so that its path must be given by name. */
static bool is_known_runtime(const char *engine)
{
    const char *runtime = text_after(engine, "oci:");
    for (size_t i = 0; runtime && engine_oci_runtimes[i]; i++)
        if (streq(runtime, engine_oci_runtimes[i]))
            return true;
    return false;
}

static int check_engine(const struct wanted *wanted, struct error *err)
{
    char what[128];
    const char *asked = wanted->request->engine;
    const char *engine = asked ? asked : "native";
    if (policy_allows(wanted->rights, POLICY_ENGINES, engine) ||
        (is_known_runtime(engine) && policy_allows(wanted->rights, POLICY_ENGINES, "oci")))
        return 0;
    (void)snprintf(what, sizeof(what), asked ? "--engine %.100s" : "--engine %s, the default",
                   engine);
    return policy_refuse(wanted->rights, POLICY_ENGINES, engine, what, err);
}

static int check_network(const struct wanted *wanted, struct error *err)
{
    static const char *const words[] = {[NETWORK_NONE] = "none",
                                        [NETWORK_HOST] = "host",
                                        [NETWORK_NAT] = "nat",
                                        [NETWORK_BRIDGE] = "bridge="};
    char what[64];
    const struct network *network = &wanted->request->network;
    (void)snprintf(what, sizeof(what), "--network %s%s", words[network->mode], network->bridge);
    const char *word = what + strlen("--network ");
    return policy_allows(wanted->rights, POLICY_NETWORKS, word)
               ? 0
               : policy_refuse(wanted->rights, POLICY_NETWORKS, word, what, err);
}

static int check_seccomp_word(const struct wanted *wanted, const char *option, const char *word,
                              struct error *err)
{
    char what[64];
    (void)snprintf(what, sizeof(what), "%s %s", option, word);
    return policy_allows(wanted->rights, POLICY_SECCOMP, word)
               ? 0
               : policy_refuse(wanted->rights, POLICY_SECCOMP, word, what, err);
}

/* A profile of who may not choose any filter can only take away: it is loaded on top of the
 * default one, to which one must have the right. */
static int check_seccomp(struct sandbox *sandbox, const struct wanted *wanted,
                         struct error *err)
{
    struct run_seccomp *seccomp = &sandbox->request.seccomp;
    const char *word = seccomp_name(seccomp->kind);
    seccomp->on_top = seccomp->kind == SECCOMP_PROFILE &&
                      !policy_allows(wanted->rights, POLICY_SECCOMP, word) &&
                      policy_allows(wanted->rights, POLICY_SECCOMP, "default");
    int r = seccomp->on_top ? 0 : check_seccomp_word(wanted, "--seccomp", word, err);
    return r < 0 || !seccomp->abi_32bit
               ? r
               : check_seccomp_word(wanted, "--personality", SECCOMP_32BIT, err);
}

static int note_imposed(struct sandbox *sandbox, const char *what, const char *from,
                        struct error *err)
{
    if (!sandbox->imposed)
        sandbox->imposed = json_object();
    return json_object_set_new(sandbox->imposed, what, json_string(from)) < 0
               ? fail(err, ERROR_SYSTEM, ENOMEM, "policy: ")
               : 0;
}

/* Those that a sandbox has by default are taken away where they are not given; one that was
 * asked for by name is refused. */
static int check_capabilities(struct sandbox *sandbox, const struct policy_rights *rights,
                              struct error *err)
{
    char what[64];
    struct run_request *request = &sandbox->request;
    uint64_t taken = request->capabilities & ~policy_capabilities(rights);
    uint64_t refused = taken & request->capabilities_added;
    for (unsigned i = 0; refused && caps_name(i); i++)
        if (refused & CAP_BIT(i)) {
            (void)snprintf(what, sizeof(what), "--cap-add %s", caps_name(i));
            return policy_refuse(rights, POLICY_CAPABILITIES, caps_name(i), what, err);
        }
    if (!taken)
        return 0;
    const struct policy *limit = rights->of_template;
    if (!limit || !limit->values[POLICY_CAPABILITIES].said)
        limit = &sandbox->body.daemon->config.policy;
    request->capabilities &= ~taken;
    return note_imposed(sandbox, "capabilities", limit->values[POLICY_CAPABILITIES].from, err);
}

static int too_much(enum policy_key key, uint64_t asked, const struct policy_ceiling *ceiling,
                    struct error *err)
{
    char wish[32];
    char most[32];
    policy_print_ceiling(key, asked, wish, sizeof(wish));
    policy_print_ceiling(key, ceiling->value, most, sizeof(most));
    return fail(err, ERROR_DENIED, EPERM,
                "%s %s: more than your ceiling, which is %s (%s= of %s); see `isolate policy`",
                policy_keys[key].option, wish, most, policy_keys[key].name, ceiling->from);
}

/* Where a request has what a ceiling bounds. */
static uint64_t *bounded(struct run_request *request, enum policy_key key)
{
    switch ((int)key) {
    case POLICY_MEMORY:
        return &request->limits.memory_bytes;
    case POLICY_SWAP:
        return &request->limits.swap_bytes;
    case POLICY_CPUS:
        return &request->limits.cpus_milli;
    case POLICY_PIDS:
        return &request->limits.pids;
    case POLICY_DISK:
        return &request->limits.disk_bytes;
    case POLICY_TIME:
        return &request->timeout_ms;
    default:
        return NULL;
    }
}

/* Whether there is nothing to impose: more or less was asked for. Who asks for memory alone has
 * no swap. */
static bool is_asked(const struct run_request *request, enum policy_key key, uint64_t value)
{
    return key == POLICY_SWAP ? request->limits.has_swap || request->limits.memory_bytes > 0
                              : value > 0;
}

/* What who asks for nothing gets: as much as may be, but no swap that would count as memory. */
static uint64_t unasked(const struct policy_rights *rights, enum policy_key key)
{
    bool is_memory =
        rights->swap_is_memory && rights->ceilings[POLICY_MEMORY].value != POLICY_NO_CEILING;
    return key == POLICY_SWAP && is_memory ? 0 : rights->ceilings[key].value;
}

static int impose(struct sandbox *sandbox, enum policy_key key,
                  const struct policy_rights *rights, struct error *err)
{
    const struct policy_ceiling *ceiling = &rights->ceilings[key];
    struct run_request *request = &sandbox->request;
    uint64_t *value = bounded(request, key);
    if (!value || ceiling->value == POLICY_NO_CEILING)
        return 0;
    if (is_asked(request, key, *value))
        return *value <= ceiling->value ? 0 : too_much(key, *value, ceiling, err);
    *value = unasked(rights, key);
    request->limits.has_swap = request->limits.has_swap || key == POLICY_SWAP;
    return note_imposed(sandbox, policy_keys[key].member, ceiling->from, err);
}

/* Swap is memory of the sandbox's, too: where nothing is said of it, a ceiling of memory is one
 * of both together. Otherwise who may have little memory could have a lot by asking for swap.
 */
static int check_swap(const struct sandbox *sandbox, const struct policy_rights *rights,
                      struct error *err)
{
    char wish[32];
    char memory[32];
    char most[32];
    const struct run_limits *limits = &sandbox->request.limits;
    const struct policy_ceiling *ceiling = &rights->ceilings[POLICY_MEMORY];
    if (!limits->has_swap || !rights->swap_is_memory || ceiling->value == POLICY_NO_CEILING ||
        limits->memory_bytes + limits->swap_bytes <= ceiling->value)
        return 0;
    policy_print_ceiling(POLICY_SWAP, limits->swap_bytes, wish, sizeof(wish));
    policy_print_ceiling(POLICY_MEMORY, limits->memory_bytes, memory, sizeof(memory));
    policy_print_ceiling(POLICY_MEMORY, ceiling->value, most, sizeof(most));
    return fail(
        err, ERROR_DENIED, EPERM,
        "--swap %s: with %s of memory it is more than your ceiling, which is %s for both "
        "(Memory= of %s, without Swap=); ask for less memory; see `isolate policy`",
        wish, memory, most, ceiling->from);
}

/* The limit of a clone's disk space stays as it was made. */
static int check_disk_of_kept(const struct sandbox *sandbox,
                              const struct policy_ceiling *ceiling, struct error *err)
{
    char most[32];
    char has[32];
    uint64_t bytes = sandbox->kept_disk_bytes;
    if (ceiling->value == POLICY_NO_CEILING || (bytes > 0 && bytes <= ceiling->value))
        return 0;
    policy_print_ceiling(POLICY_DISK, ceiling->value, most, sizeof(most));
    policy_print_ceiling(POLICY_DISK, bytes ? bytes : POLICY_NO_CEILING, has, sizeof(has));
    return fail(
        err, ERROR_DENIED, EPERM,
        "kept sandbox \"%.80s\": its disk space was limited to %s when it was made, and "
        "your ceiling is %s (Disk= of %s); root can still start it",
        sandbox->request.kept, has, most, ceiling->from);
}

static int impose_all(struct sandbox *sandbox, const struct policy_rights *rights,
                      struct error *err)
{
    /* swap before memory: whether that was asked for */
    static const enum policy_key order[] = {POLICY_SWAP, POLICY_MEMORY, POLICY_CPUS,
                                            POLICY_PIDS, POLICY_DISK,   POLICY_TIME};
    int r = 0;
    for (size_t i = 0; r == 0 && i < ELEMENTS(order); i++) {
        const struct policy_ceiling *ceiling = &rights->ceilings[order[i]];
        r = order[i] == POLICY_DISK && sandbox->request.kept
                ? check_disk_of_kept(sandbox, ceiling, err)
                : impose(sandbox, order[i], rights, err);
    }
    return r < 0 ? r : check_swap(sandbox, rights, err);
}

static int find_kept(struct sandbox *sandbox, const struct peer *peer, struct error *err)
{
    char id[CLONE_NAME_SIZE];
    _cleanup_record_ struct record record = {0};
    _cleanup_close_ int kept = records_kept(sandbox->body.daemon, err);
    int r = kept < 0 ? kept : record_find(kept, sandbox->request.kept, peer->uid, id);
    if (r <= 0) /* that there is none is said by who looks for it to start it */
        return r < 0 ? fail(err, ERROR_SYSTEM, r, "kept sandboxes: ") : 0;
    r = record_read_head(kept, id, &record, err);
    if (r < 0)
        return r;
    (void)snprintf(sandbox->admitted_for, sizeof(sandbox->admitted_for), "%s",
                   record.template_name);
    sandbox->kept_disk_bytes = record.disk_bytes;
    return 0;
}

int policy_check_kept(const struct sandbox *sandbox, const struct record *record,
                      struct error *err)
{
    if (streq(record->template_name, sandbox->admitted_for) &&
        record->disk_bytes == sandbox->kept_disk_bytes)
        return 0;
    return fail(err, ERROR_BUSY, EAGAIN,
                "kept sandbox \"%.80s\": it has changed meanwhile; try again",
                sandbox->request.kept);
}

/* Which template it is about. What is wrong with its file closes it, but not to root who starts
 * what is kept already. */
static int find_template(struct sandbox *sandbox, const struct peer *peer,
                         const struct template_config **ret, struct error *err)
{
    const struct run_request *request = &sandbox->request;
    int r = request->kept ? find_kept(sandbox, peer, err) : 0;
    if (r < 0)
        return r;
    if (request->template_name)
        (void)snprintf(sandbox->admitted_for, sizeof(sandbox->admitted_for), "%s",
                       request->template_name);
    *ret = config_template(&sandbox->body.daemon->config, sandbox->admitted_for);
    if (!*ret || !*(*ret)->problem || (peer->uid == 0 && request->kept))
        return 0;
    return fail(err, ERROR_INVALID, EINVAL, "template \"%s\": %s", (*ret)->name,
                (*ret)->problem);
}

static int admit_member(struct sandbox *sandbox, const struct wanted *wanted,
                        const struct template_config *of_template, struct error *err)
{
    int r = check_roots(wanted->request, err);
    if (r == 0)
        r = policy_check_template(wanted->peer, of_template, err);
    if (r == 0)
        r = check_engine(wanted, err);
    if (r == 0)
        r = check_network(wanted, err);
    if (r == 0)
        r = check_seccomp(sandbox, wanted, err);
    if (r == 0)
        r = check_capabilities(sandbox, wanted->rights, err);
    if (r == 0)
        r = impose_all(sandbox, wanted->rights, err);
    return r < 0 ? r : policy_check_quota(sandbox->body.daemon, wanted, err);
}

int policy_admit(struct sandbox *sandbox, const struct peer *peer, struct policy_rights *ret,
                 struct error *err)
{
    const struct daemon *daemon = sandbox->body.daemon;
    const struct template_config *of_template = NULL;
    const struct wanted wanted = {
        .peer = peer,
        .request = &sandbox->request,
        .template_name = sandbox->admitted_for,
        .rights = ret,
    };
    if (sandbox->request.detach && !daemon->resident)
        return fail(err, ERROR_UNSUPPORTED, EOPNOTSUPP,
                    "--detach needs the resident daemon, and none runs: systemctl start "
                    "isolated.socket (or run isolated)");
    int r = find_template(sandbox, peer, &of_template, err);
    if (r < 0 || peer->uid == 0)
        return r;
    r = policy_rights(&daemon->config, peer, of_template, ret, err);
    return r < 0 ? r : admit_member(sandbox, &wanted, of_template, err);
}

/* What says that a limit of that kind holds although nobody asked for it, or NULL. */
static const char *imposed_by(const struct sandbox *sandbox, enum policy_key key)
{
    return json_string_value(json_object_get(sandbox->imposed, policy_keys[key].member));
}

int policy_say_disk(const struct sandbox *sandbox, int result, struct error *err)
{
    const char *from = imposed_by(sandbox, POLICY_DISK);
    return result < 0 && from && err->code == ERROR_UNSUPPORTED
               ? error_prefix(err, result, "Disk= of %.200s holds for you: ", from)
               : result;
}

int policy_require_limits(const struct sandbox *sandbox, bool enable, struct error *err)
{
    const struct run_limits *limits = &sandbox->request.limits;
    const struct {
        enum policy_key key;
        struct run_limits limits;
    } each[] = {
        {POLICY_MEMORY, {.memory_bytes = limits->memory_bytes}},
        {POLICY_SWAP, {.swap_bytes = limits->swap_bytes, .has_swap = true}},
        {POLICY_CPUS, {.cpus_milli = limits->cpus_milli}},
        {POLICY_PIDS, {.pids = limits->pids}},
    };
    for (size_t i = 0; i < ELEMENTS(each); i++) {
        const char *from = imposed_by(sandbox, each[i].key);
        int r =
            from ? limits_require(sandbox->body.daemon->cgroup_fd, &each[i].limits, enable, err)
                 : 0;
        if (r < 0)
            return error_prefix(
                err, r, "%s= of %.200s holds for you: ", policy_keys[each[i].key].name, from);
    }
    return 0;
}
