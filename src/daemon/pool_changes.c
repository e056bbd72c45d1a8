/* SPDX-License-Identifier: Apache-2.0 */
/* How the pool hears that a template has changed, whichever process did it: through a file in
 * the runtime directory. Runs in isolated, its forks and one-shots as root. */
#include "base/log.h"
#include "daemon/pool.h"
#include "daemon/pool_shape.h"
#include "sys/fd.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define UNKNOWN_CHANGE ((ino_t)-1) /* no file has that number */

/* Which change was the last; 0: there was none. */
static ino_t last_change(const struct daemon *daemon)
{
    struct stat st;
    if (fstatat(daemon->run_fd, "templates.changed", &st, AT_SYMLINK_NOFOLLOW) == 0)
        return st.st_ino;
    return errno == ENOENT ? 0 : UNKNOWN_CHANGE;
}

bool pool_is_stale(const struct daemon *daemon)
{
    ino_t last = last_change(daemon);
    return last == UNKNOWN_CHANGE || (last != 0 && last != daemon->templates_seen);
}

/* Templates changed through another process, a one-shot for example. */
void pool_look(struct daemon *daemon)
{
    if (!pool_is_stale(daemon))
        return;
    daemon->templates_seen = last_change(daemon);
    for (struct shape *shape = daemon->shapes; shape; shape = shape->next)
        pool_shape_drop_members(shape);
}

void pool_templates_changed(struct daemon *daemon)
{
    /* another file each time: two changes may have one time */
    int r = file_replace_at(daemon->run_fd, "templates.changed", "", 0, false);
    if (r < 0)
        log_warning("templates.changed: %s", strerror(-r));
}
