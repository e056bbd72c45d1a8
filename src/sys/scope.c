/* SPDX-License-Identifier: Apache-2.0 */
#include "sys/scope.h"

#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

int scope_sockets(struct error *err)
{
    const struct {
        uint64_t handled_access_fs;
        uint64_t handled_access_net;
        uint64_t scoped;
    } rules = {.scoped = 1};    /* LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET */
    const unsigned ask_abi = 1; /* LANDLOCK_CREATE_RULESET_VERSION */
    long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, ask_abi);
    if (abi < 6)
        return 0;
    _cleanup_close_ int fd =
        (int)syscall(SYS_landlock_create_ruleset, &rules, sizeof(rules), 0);
    if (fd < 0 || syscall(SYS_landlock_restrict_self, fd, 0) < 0)
        return fail(err, ERROR_SYSTEM, errno, "landlock: ");
    return 0;
}
