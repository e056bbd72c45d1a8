/* SPDX-License-Identifier: Apache-2.0 */
/* See mask.h. Runs as root of the sandbox's user namespace, before any command. */
#include "init/mask.h"
#include "sys/fd.h"
#include "sys/hidden.h"
#include "sys/mount.h"
#include "sys/own_mounts.h"

#include <fcntl.h>
#include <sys/stat.h>

#define HARDENED OWN_MOUNT_HARDENED

static int mask(const char *path, const char *null_path)
{
    struct stat st;
    const char *const empty[] = {"source", "tmpfs", "mode", "0555", NULL};
    _cleanup_close_ int place = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (place < 0 || fstat(place, &st) < 0)
        return errno == ENOENT || errno == EACCES ? 0 : -errno;
    _cleanup_close_ int cover = S_ISDIR(st.st_mode)
                                    ? mount_new("tmpfs", empty, HARDENED | MOUNT_ATTR_RDONLY)
                                    : mount_open_tree(AT_FDCWD, null_path, false);
    return cover < 0 ? cover : mount_attach(cover, place);
}

static int make_read_only(const char *path)
{
    _cleanup_close_ int place = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (place < 0)
        return errno == ENOENT ? 0 : -errno;
    _cleanup_close_ int copy = mount_open_tree(place, "", true);
    if (copy < 0)
        return copy;
    int r = mount_set_attributes(copy, true, HARDENED | MOUNT_ATTR_RDONLY, 0, -EBADF);
    return r < 0 ? r : mount_attach(copy, place);
}

static int mask_all(const char *const *paths, const char *null_path, struct error *err)
{
    for (size_t i = 0; paths[i]; i++) {
        int r = mask(paths[i], null_path);
        if (r < 0)
            return fail(err, ERROR_SYSTEM, r, "mask %s: ", paths[i]);
    }
    return 0;
}

int mask_in_sys(struct error *err)
{
    return mask_all(hidden_in_sys, "/dev/null", err);
}

int mask_in_proc(const char *null_path, struct error *err)
{
    int r = mask_all(hidden_in_proc, null_path, err);
    return r < 0 ? r : mask_read_only_in_proc(err);
}

int mask_read_only_in_proc(struct error *err)
{
    for (size_t i = 0; read_only_in_proc[i]; i++) {
        int r = make_read_only(read_only_in_proc[i]);
        if (r < 0)
            return fail(err, ERROR_SYSTEM, r, "make %s read-only: ", read_only_in_proc[i]);
    }
    return 0;
}
