/* SPDX-License-Identifier: Apache-2.0 */
/* See user_command.h. Runs as the caller; the directory may be somebody else's. */
#include "client/user_command.h"

#include "base/cleanup.h"
#include "client/original.h"
#include "sys/mount.h"

#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

static int look_for(int root, const char *path)
{
    struct stat st;
    _cleanup_close_ int fd = open_resolved(root, path, O_PATH, RESOLVE_IN_ROOT);
    if (fd < 0 || fstat(fd, &st) < 0)
        return 127;
    return S_ISREG(st.st_mode) && (st.st_mode & 0111) ? 0 : 126;
}

int user_command_check(int root, const char *command)
{
    char path[PATH_MAX];
    int status = 127;
    const char *directory = ORIGINAL_PATH;
    if (strchr(command, '/'))
        return look_for(root, command);
    while (*directory && status != 0) {
        size_t n = strcspn(directory, ":");
        (void)snprintf(path, sizeof(path), "%.*s/%s", (int)n, directory, command);
        int found = look_for(root, path);
        status = found == 127 ? status : found;
        directory += n + (directory[n] == ':');
    }
    return status;
}
