/* SPDX-License-Identifier: Apache-2.0 */
/* See servers.h. Runs in isolated as root; the files are the callers'. */
#include "daemon/servers.h"

#include "base/cleanup.h"
#include "base/log.h"
#include "spec/host_accounts.h"
#include "spec/ids_owned.h"
#include "sys/fuse.h"
#include "sys/process.h"

#include <string.h>
#include <unistd.h>

/* Whoever has sent what hangs, or may. */
struct suspect {
    uid_t uid;
    char name[64];
};

static void say(uid_t uid, int n)
{
    if (n < 0)
        log_warning("file systems of uid %u cannot be aborted: %s", uid, strerror(-n));
    else
        log_warning("uid %u, or who has taken its decoder over, has sent files that hang, or "
                    "may: %d FUSE file systems are aborted",
                    uid, n);
}

/* Root's servers answer, or the machine is in trouble already. */
static bool is_anybodys(const struct fuse_mount *mount, const void *data)
{
    return mount->uid != 0;
}

bool servers_abort_of(uid_t uid, const struct fd_list *files)
{
    bool hidden = false;
    int n = 0;
    _cleanup_close_ int connections = fuse_open_connections();
    if (connections < 0 && connections != -ENODEV)
        say(uid, connections);
    for (size_t i = 0; i < files->n; i++) {
        uint32_t major = 0;
        uint32_t minor = 0;
        bool known = fuse_device_of(files->fds[i], &major, &minor) == 0;
        bool aborted =
            known && major == 0 && fuse_abort_one(connections, minor, is_anybodys, NULL) > 0;
        hidden = hidden || !known || (major == 0 && !aborted);
        n += aborted;
    }
    if (n > 0)
        say(uid, n);
    return hidden;
}

static bool is_theirs(const struct fuse_mount *mount, const void *data)
{
    char number[16];
    struct ids_owner owner;
    const struct suspect *suspect = data;
    if (mount->uid == 0 || mount->uid == suspect->uid)
        return mount->uid != 0;
    (void)snprintf(number, sizeof(number), "%u", suspect->uid);
    return ids_owned_subordinate(mount->uid, &owner, NULL) > 0 &&
           (strcmp(owner.owner, number) == 0 ||
            (*suspect->name && strcmp(owner.owner, suspect->name) == 0));
}

pid_t servers_abort_all(uid_t uid, bool everybodys, int *keep, size_t n)
{
    struct suspect suspect = {.uid = uid};
    _cleanup_close_ int pidfd = -EBADF;
    pid_t pid = process_clone(0, -EBADF, &pidfd);
    if (pid != 0)
        return pid;
    (void)!close_others(keep, n);
    (void)host_user_is_local(uid, suspect.name, sizeof(suspect.name));
    say(uid, fuse_abort(everybodys ? is_anybodys : is_theirs, &suspect));
    _exit(0);
}
