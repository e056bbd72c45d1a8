/* SPDX-License-Identifier: Apache-2.0 */
/* See servers.h. Runs in isolated as root; the files are the callers'. */
#include "daemon/servers.h"

#include "base/log.h"
#include "daemon/decoder.h"
#include "spec/host_accounts.h"
#include "spec/ids_owned.h"
#include "sys/fuse.h"

#include <string.h>

/* What may wait for a server, and who has sent it. */
struct suspects {
    const struct fd_list *files;
    uid_t uid;
    char name[64];
};

static bool has_files_of(const struct suspects *suspects, const struct fuse_mount *mount)
{
    for (size_t i = 0; suspects->files && i < suspects->files->n; i++) {
        uint32_t major = 0;
        uint32_t minor = 0;
        if (fuse_device_of(suspects->files->fds[i], &major, &minor) == 0 && major == 0 &&
            minor == mount->minor)
            return true;
    }
    return false;
}

/* The file itself may be of a file system that lies on one of a server's. Root's servers
 * answer, or the machine is in trouble already. */
static bool is_theirs(const struct fuse_mount *mount, const void *data)
{
    char number[16];
    struct ids_owner owner;
    const struct suspects *suspects = data;
    if (mount->uid == 0)
        return false;
    if (mount->uid == suspects->uid || suspects->uid == UID_REFUSED ||
        has_files_of(suspects, mount))
        return true;
    (void)snprintf(number, sizeof(number), "%u", suspects->uid);
    return ids_owned_subordinate(mount->uid, &owner, NULL) > 0 &&
           (!*suspects->name || strcmp(owner.owner, number) == 0 ||
            strcmp(owner.owner, suspects->name) == 0);
}

void servers_abort(const struct fd_list *files, uid_t uid)
{
    struct suspects suspects = {.files = files, .uid = uid};
    (void)host_user_is_local(uid, suspects.name, sizeof(suspects.name));
    int n = fuse_abort(is_theirs, &suspects);
    if (n < 0)
        log_warning("file systems of uid %u cannot be aborted: %s", uid, strerror(-n));
    else
        log_warning(
            "uid %u, or who has taken its decoder over, has sent files that hang, or may: "
            "%d FUSE file systems are aborted",
            uid, n);
}
