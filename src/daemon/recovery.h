/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of recovery: what belongs to whom. For recover.c, which takes away what belongs to
 * nobody, and leftovers.c, which shows it. Runs in isolated as root. */
#pragma once

#include "daemon/daemon.h"

struct recovery {
    struct daemon *daemon;
    int running;
    int kept;
    bool force;       /* sandboxes that have not started and whose init does not end, too */
    bool collect;     /* somebody was killed: imports, layers and generations may be garbage */
    json_t *warnings; /* see recover_warn */
};

#define _cleanup_recovery_ _cleanup_(recovery_close)
int recovery_open(struct daemon *daemon, struct recovery *ret, struct error *err) _must_check_;
void recovery_close(struct recovery *recovery);

/* Also where that cannot be known: what belongs to nobody is taken away. */
bool recovery_has_record(int dir_fd, const char *id);

/* Visits the entries of the cgroup parent (named after their sandbox) or of ids (files that
 * hold the sandbox's id) that belong to a sandbox that no record knows. */
void recovery_ownerless(const struct recovery *recovery, int dir_fd, const char *directory,
                        void (*visit)(const struct recovery *recovery, const char *entry,
                                      void *data),
                        void *data);

/* Whether nobody has the lock of its record; whether its processes live, after so many times
 * 10 ms; whether its record says that it runs. */
bool recovery_is_free(const struct recovery *recovery, const char *id);
bool recovery_lives_on(const struct recovery *recovery, const char *id, int tries);
bool recovery_has_started(const struct recovery *recovery, const char *id);

/* Leaves those in the list that belong to no sandbox. */
void recovery_drop_owned(const struct recovery *recovery, struct clone_list *clones);

/* Calls each for the logs of detached sandboxes that are gone. */
void recovery_stale_logs(const struct recovery *recovery,
                         void (*each)(const struct recovery *recovery, const char *id,
                                      void *data),
                         void *data);
