/* SPDX-License-Identifier: Apache-2.0 */
/* What commits of all drivers with a store have in common: when one is refused, and which files
 * are isolate's own. Runs in isolated as root; clones are hostile: nothing in them is followed.
 */
#include "storage/store_commit.h"
#include "base/text.h"
#include "storage/compare.h"
#include "sys/fd.h"

#include <fcntl.h>
#include <string.h>

int store_open_parent(int dir_fd, const char *path, const char **ret_name)
{
    char parent[PATH_MAX];
    const char *slash = strrchr(path, '/');
    if (path[0] != '/' || !slash[1] || (size_t)(slash - path) >= sizeof(parent))
        return -EINVAL;
    (void)snprintf(parent, sizeof(parent), "%.*s", (int)(slash - path), path);
    *ret_name = slash + 1;
    return compare_open_directory(dir_fd, parent);
}

static bool content_is(int parent_fd, const char *name, const struct compare_entry *entry,
                       const char *content)
{
    _cleanup_buffer_ struct buffer text = {0};
    size_t length = strlen(content);
    if (S_ISLNK(entry->st.st_mode)) {
        char target[PATH_MAX];
        ssize_t n = readlinkat(entry->fd, "", target, sizeof(target));
        return n == (ssize_t)length && memcmp(target, content, length) == 0;
    }
    return S_ISREG(entry->st.st_mode) && entry->st.st_size == (off_t)length &&
           file_read_at(parent_fd, name, length, &text) == 0 && text.length == length &&
           (length == 0 || memcmp(text.data, content, length) == 0);
}

bool store_is_provided(int dir_fd, const char *path, const struct provided_list *provided)
{
    for (size_t i = 0; provided && i < provided->n; i++) {
        const char *name = NULL;
        if (!streq(provided->items[i].path, path))
            continue;
        _cleanup_close_ int parent = store_open_parent(dir_fd, path, &name);
        _cleanup_compare_entry_ struct compare_entry entry = {.fd = -EBADF};
        if (parent >= 0 && compare_entry_open(parent, name, &entry, NULL) == 0 &&
            entry.fd >= 0 && content_is(parent, name, &entry, provided->items[i].content))
            return true;
    }
    return false;
}

/* A template that got another generation since the clone was made would lose that one. */
static int check_not_moved_on(struct storage *storage, const struct store_clone *clone,
                              const char *name, struct error *err)
{
    struct store_generation current;
    if (!streq(name, clone->template_name))
        return 0;
    int r = store_resolve(storage, name, NULL, &current, NULL);
    if (r < 0 || streq(current.generation.id, clone->generation))
        return 0; /* removed meanwhile: it becomes a new one */
    return fail(
        err, ERROR_BUSY, EBUSY,
        "template \"%s\" has moved on: its current generation is %s, but clone %s was made "
        "from %s; commit to a new name, or repeat the changes in a new clone",
        name, current.generation.id, clone->name, clone->generation);
}

int store_commit_check(struct storage *storage, const struct store_clone *clone,
                       const char *name, struct error *err)
{
    struct template_info info;
    if (clone->root_path)
        return fail(err, ERROR_UNSUPPORTED, EOPNOTSUPP,
                    "clone %s: it runs on the directory %.200s, which is no template; make one "
                    "first with `isolate template create NAME --from dir:%.200s`",
                    clone->name, clone->root_path, clone->root_path);
    if (!streq(name, clone->template_name) &&
        storage->driver->find(storage, name, &info, NULL) > 0)
        return fail(
            err, ERROR_EXISTS, EEXIST,
            "template \"%s\" exists, and clone %s belongs to template \"%s\", which it was "
            "made from or last committed to; commit it to that one or to a new name",
            name, clone->name, clone->template_name);
    return check_not_moved_on(storage, clone, name, err);
}

bool store_clone_is_current(struct storage *storage, const struct store_clone *clone)
{
    struct store_generation current;
    return store_resolve(storage, clone->template_name, NULL, &current, NULL) == 0 &&
           streq(current.generation.id, clone->generation);
}
