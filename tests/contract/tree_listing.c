/* SPDX-License-Identifier: Apache-2.0 */
/* Trees and differences as text, so that a failing comparison shows itself. Written apart from
 * the drivers' own comparison on purpose. */
#include "storage_fixture.h"

#include "base/text.h"
#include "sys/fd.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static void list_xattrs(int fd, uint32_t first_id, struct buffer *ret)
{
    char path[32];
    char names[4096];
    char value[256];
    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    ssize_t n = listxattr(path, names, sizeof(names));
    for (const char *name = names; n > 0 && name < names + n; name += strlen(name) + 1) {
        if (!text_after(name, "user.") && !text_after(name, "system.posix_acl"))
            continue;
        ssize_t length = getxattr(path, name, value, sizeof(value));
        struct acl acl;
        if (length == sizeof(acl) && text_after(name, "system.posix_acl")) {
            memcpy(&acl, value, sizeof(acl));
            acl.entries[ACL_NAMED_USER].id -= first_id;
            memcpy(value, &acl, sizeof(acl));
        }
        buffer_printf(ret, " %s=", name);
        for (ssize_t i = 0; i < length; i++)
            buffer_printf(ret, "%02x", (unsigned char)value[i]);
    }
}

static void list_entry(int dir_fd, const char *name, uint32_t first_id, struct buffer *ret)
{
    struct stat st;
    char target[256];
    _cleanup_close_ int fd = openat(dir_fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(fstat(fd, &st), 0);
    buffer_printf(ret, " %o %u:%u", st.st_mode, st.st_uid - first_id, st.st_gid - first_id);
    if (S_ISLNK(st.st_mode)) {
        ssize_t n = readlinkat(fd, "", target, sizeof(target) - 1);
        buffer_printf(ret, " -> %.*s", (int)n, target);
    } else if (S_ISREG(st.st_mode)) {
        buffer_printf(ret, " %lld %lld.%09ld ", (long long)st.st_size,
                      (long long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
        _cleanup_buffer_ struct buffer content = {0};
        assert_int_equal(file_read_at(dir_fd, name, 1U << 20, &content), 0);
        buffer_append_json_string(ret, content.data ? content.data : "");
    } else if (S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode)) {
        buffer_printf(ret, " %llx", (unsigned long long)st.st_rdev);
    }
    list_xattrs(fd, first_id, ret);
    buffer_append_char(ret, '\n');
}

static void list_below(int dir_fd, const char *prefix, uint32_t first_id, struct buffer *ret)
{
    struct dirent **entries = NULL;
    int n = scandirat(dir_fd, ".", &entries, NULL, by_name);
    assert_true(n >= 0);
    for (int i = 0; i < n; i++) {
        const char *name = entries[i]->d_name;
        if (!streq(name, ".") && !streq(name, "..")) {
            char path[1024];
            (void)snprintf(path, sizeof(path), "%.700s/%s", prefix, name);
            buffer_append_text(ret, path);
            list_entry(dir_fd, name, first_id, ret);
            _cleanup_close_ int child = dir_open_at(dir_fd, name);
            if (child >= 0)
                list_below(child, path, first_id, ret);
        }
        free(entries[i]);
    }
    free(entries);
}

void tree_list(int dir_fd, uint32_t first_id, struct buffer *ret)
{
    buffer_append_text(ret, "/");
    list_entry(dir_fd, ".", first_id, ret);
    list_below(dir_fd, "", first_id, ret);
    assert_false(ret->failed);
}

void clone_list_tree(unsigned n, struct buffer *ret)
{
    _cleanup_close_ int mount = clone_mount(n);
    tree_list(mount, clone_first_id(n), ret);
}

void template_list_tree(const char *name, const char *generation, struct buffer *ret)
{
    int mount = -EBADF;
    assert_ok(fixture.storage.driver->mount_generation(&fixture.storage, name, generation,
                                                       &mount, &err));
    tree_list(mount, 0, ret);
    fd_close(mount);
}

static int print_difference(void *data, enum diff_kind kind, const char *path)
{
    buffer_append_char(data, (char)kind);
    buffer_append_char(data, ' ');
    buffer_append_text(data, path);
    buffer_append_char(data, '\n');
    return 0;
}

void clone_list_diff(unsigned n, const struct provided_list *provided, struct buffer *ret)
{
    char name[CLONE_NAME_SIZE];
    clone_name(n, name);
    assert_ok(fixture.storage.driver->diff(&fixture.storage, name, provided, print_difference,
                                           ret, &err));
    buffer_append_text(ret, "");
    assert_false(ret->failed);
}
