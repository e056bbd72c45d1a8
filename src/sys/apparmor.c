/* SPDX-License-Identifier: Apache-2.0 */
/* See apparmor.h. Runs in isolated, and in the inner init of a sandbox. Source: apparmor(7),
 * apparmorfs. */
#include "sys/apparmor.h"
#include "base/buffer.h"
#include "base/text.h"
#include "sys/fd.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define SECURITY     "/sys/kernel/security/apparmor/"
#define PROFILES_MAX (1U << 20) /* bytes */

/* "NAME (MODE)" */
static bool is_of(const char *line, const char *name)
{
    const char *rest = text_after(line, name);
    return rest && (*rest == ' ' || *rest == '\n' || *rest == '\0');
}

bool apparmor_has_profile(const char *name)
{
    _cleanup_buffer_ struct buffer text = {0};
    if (access(SECURITY "features/mount", F_OK) < 0 ||
        file_read_at(AT_FDCWD, SECURITY "profiles", PROFILES_MAX, &text) < 0)
        return false;
    for (const char *line = text.data; line && *line;) {
        if (is_of(line, name))
            return true;
        line = strchr(line, '\n');
        line = line ? line + 1 : NULL;
    }
    return false;
}

int apparmor_check(const char *name)
{
    _cleanup_buffer_ struct buffer text = {0};
    int r = file_read_at(AT_FDCWD, "/proc/self/attr/current", 4096, &text);
    return r < 0 ? r : text.data && is_of(text.data, name) ? 0 : -EPERM;
}
