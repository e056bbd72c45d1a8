/* SPDX-License-Identifier: Apache-2.0 */
/* See rlimits.h. Runs in isolated as root; what is asked for is the caller's, and was decoded.
 * Source: setrlimit(2): raising a hard limit takes CAP_SYS_RESOURCE of the initial user
 * namespace, which no sandbox has. */
#include "daemon/rlimits.h"

#include "sys/caps.h"
#include "sys/userns.h"

#include <linux/capability.h>
#include <string.h>

/* The hard limit that sandboxes have without any that is said: isolated's own, and on open
 * files the one that it was started with. */
static uint64_t inherited(const struct daemon *daemon, uint32_t resource)
{
    struct rlimit limit = {RLIM_INFINITY, RLIM_INFINITY};
    if (resource == RLIMIT_NOFILE && daemon->resident)
        return daemon->files.rlim_max;
    (void)getrlimit(resource, &limit);
    return limit.rlim_max;
}

void rlimits_plan(const struct daemon *daemon, const struct rlimit_wishes *asked,
                  struct rlimit_wishes *ret)
{
    *ret = daemon->config.ulimits;
    for (uint32_t i = 0; i < asked->n; i++)
        rlimits_set(ret, &asked->items[i]);
}

static int check_member(const struct daemon *daemon, const struct rlimit_wish *wish,
                        struct error *err)
{
    char text[RLIMIT_TEXT_MAX];
    char most[RLIMIT_TEXT_MAX];
    const struct rlimit_wish *given = rlimits_find(&daemon->config.ulimits, wish->resource);
    const uint64_t hard = given ? given->hard : inherited(daemon, wish->resource);
    if (wish->hard <= hard)
        return 0;
    rlimit_print(wish, text);
    rlimit_print(&(struct rlimit_wish){wish->resource, hard, hard}, most);
    return fail(
        err, ERROR_DENIED, EPERM,
        "--ulimit %s: for root only: the hard limit of sandboxes is %s (see Ulimits= in "
        "[Limits] of the configuration)",
        text, strchr(most, ':') + 1);
}

static int check_power(const struct daemon *daemon, const struct rlimit_wish *wish,
                       struct error *err)
{
    char text[RLIMIT_TEXT_MAX];
    uint64_t capabilities = 0;
    if (wish->hard <= inherited(daemon, wish->resource))
        return 0;
    int r = caps_effective(&capabilities);
    if (r < 0)
        return fail(err, ERROR_SYSTEM, r, "capabilities of isolated: ");
    if (capabilities & CAP_BIT(CAP_SYS_RESOURCE))
        return 0;
    rlimit_print(wish, text);
    return fail(err, ERROR_UNSUPPORTED, EPERM,
                "ulimit %s: isolated has a lower hard limit, and without CAP_SYS_RESOURCE it "
                "cannot give a higher one; raise its own (LimitNOFILE= and the like of "
                "isolated.service, or `ulimit -H` where it is started)",
                text);
}

int rlimits_check(const struct daemon *daemon, const struct peer *peer,
                  const struct rlimit_wishes *asked, struct error *err)
{
    struct rlimit_wishes planned;
    int r = 0;
    for (uint32_t i = 0; i < asked->n && r == 0 && peer->uid != 0; i++)
        r = check_member(daemon, &asked->items[i], err);
    rlimits_plan(daemon, asked, &planned);
    for (uint32_t i = 0; i < planned.n && r == 0; i++)
        r = check_power(daemon, &planned.items[i], err);
    return r;
}

int rlimits_raise(pid_t init, uint32_t first_id, const struct rlimit_wishes *planned,
                  struct error *err)
{
    int raised = 0;
    for (uint32_t i = 0; i < planned->n; i++) {
        const struct rlimit_wish *wish = &planned->items[i];
        struct rlimit limit;
        int r = userns_get_limit(init, first_id, wish->resource, &limit);
        if (r < 0)
            return fail(err, ERROR_SYSTEM, r, "ulimit %s: ", rlimit_name(wish->resource));
        if (wish->hard <= limit.rlim_max)
            continue;
        limit.rlim_max = wish->hard;
        if (prlimit(init, wish->resource, &limit, NULL) < 0)
            return fail(err, ERROR_UNSUPPORTED, errno,
                        "ulimit %s: raise the hard limit%s: ", rlimit_name(wish->resource),
                        wish->resource == RLIMIT_NOFILE ? " (the most is fs.nr_open)" : "");
        raised = 1;
    }
    return raised;
}
