/* SPDX-License-Identifier: Apache-2.0 */
/* PARENT of a storage: templates and clones are visible where it is mounted, so that only root
 * may get in there. What is not isolate's alone is never closed. Runs in isolated as root. */
#include "base/log.h"
#include "base/text.h"
#include "storage/zfs.h"
#include "sys/fd.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

struct parent {
    const struct storage *storage;
    const char *coming; /* the dataset that is about to become a template, or NULL */
    char other[256];    /* what there is beside isolate's; "": nothing */
};

static bool is_ours(const struct parent *parent, const char *name)
{
    char dataset[ZFS_NAME_SIZE];
    struct zfs_dataset of;
    if (parent->coming && streq(name, parent->coming))
        return true;
    zfs_name(parent->storage, dataset, "%s", name);
    return zfs_get(dataset, &of, NULL) == 0 &&
           (*of.template_name || *of.clone || *of.import || of.made);
}

static int look_at(void *data, const char *name, const char *value)
{
    struct parent *parent = data;
    if (!*parent->other && !is_ours(parent, name))
        (void)snprintf(parent->other, sizeof(parent->other), "the dataset %s", name);
    return 0;
}

/* Everything that lies there must be a dataset of ours, and every dataset. */
static int find_other(struct parent *parent, int fd, struct error *err)
{
    int r = zfs_for_each_child(parent->storage, "type", look_at, parent, err);
    _cleanup_closedir_ DIR *dir = r < 0 ? NULL : dir_stream(dir_open_at(fd, "."));
    if (r == 0 && !dir)
        r = fail(err, ERROR_SYSTEM, errno, "storage %s: ", parent->storage->name);
    for (struct dirent *entry = dir ? readdir(dir) : NULL; entry && !*parent->other;
         entry = readdir(dir))
        if (!streq(entry->d_name, ".") && !streq(entry->d_name, "..") &&
            !is_ours(parent, entry->d_name))
            (void)snprintf(parent->other, sizeof(parent->other), "\"%.200s\"", entry->d_name);
    return r;
}

int zfs_close_parent(const struct storage *storage, const char *coming, struct error *err)
{
    struct stat st;
    struct zfs_dataset of;
    struct parent parent = {storage, coming, ""};
    int r = zfs_get_chosen(zfs_parent(storage), &of, err);
    if (r < 0)
        return error_prefix(err, r, "storage %s: ", storage->name);
    if (!of.mounted || !*of.mountpoint)
        return 0;
    _cleanup_close_ int fd = open(of.mountpoint, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0)
        return fail(err, ERROR_SYSTEM, errno, "storage %s: %s: ", storage->name, of.mountpoint);
    if (!(st.st_mode & 077))
        return 0;
    r = find_other(&parent, fd, err);
    if (r < 0)
        return r;
    if (*parent.other || streq(of.mountpoint, "/"))
        return fail(
            err, ERROR_DENIED, EPERM,
            "storage %s: %s must be closed to all users but root, because templates "
            "and clones are visible in it, but it has %s, too; make a dataset for them: "
            "zfs create %s/isolate (or, if nobody else needs it, chmod 700 %s)",
            storage->name, of.mountpoint, *parent.other ? parent.other : "all the rest",
            zfs_parent(storage), of.mountpoint);
    if (chmod(fd_path(fd).text, st.st_mode & 07700) < 0)
        return fail(err, ERROR_SYSTEM, errno,
                    "storage %s: close %s to other users: ", storage->name, of.mountpoint);
    log_warning(
        "%s is closed to other users now (mode %04o): what lies in clones is not theirs to "
        "read or to hold",
        of.mountpoint, st.st_mode & 07700);
    return 0;
}

int zfs_place(const char *dataset, const char *mountpoint, struct error *err)
{
    char property[ZFS_PATH_SIZE + 16];
    struct zfs_dataset of;
    int r = zfs_get(dataset, &of, err);
    if (r < 0 || *of.type)
        return r;
    (void)snprintf(property, sizeof(property), "mountpoint=%s", mountpoint);
    r = ZFS(err, "create", "-o", property, dataset);
    return r < 0 ? error_prefix(err, r, "make a dataset for templates: ") : 0;
}
