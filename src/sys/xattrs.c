/* SPDX-License-Identifier: Apache-2.0 */
/* Extended attributes. Runs as root in isolate-image and isolated; names and values come from
 * hostile trees and archives and are only passed on to the kernel, which checks them. */
#include "sys/xattrs.h"

#include "base/text.h"

#include <string.h>
#include <sys/xattr.h>

static void xattr_free(struct xattr *xattr)
{
    free(xattr->name);
    free(xattr->value);
    *xattr = (struct xattr){0};
}

void xattrs_clear(struct xattrs *xattrs)
{
    int saved = errno;
    for (size_t i = 0; i < xattrs->n; i++)
        xattr_free(&xattrs->items[i]);
    free(xattrs->items);
    *xattrs = (struct xattrs){0};
    errno = saved;
}

bool xattr_is_kept(const char *name)
{
    if (text_after(name, "trusted.overlay."))
        return false;
    return text_after(name, "user.") || text_after(name, "trusted.") ||
           text_after(name, "security.") || streq(name, "system.posix_acl_access") ||
           streq(name, "system.posix_acl_default");
}

static struct xattr *xattrs_slot(struct xattrs *xattrs, const char *name)
{
    for (size_t i = 0; i < xattrs->n; i++)
        if (streq(xattrs->items[i].name, name))
            return &xattrs->items[i];
    if (xattrs->n == xattrs->capacity) {
        size_t capacity = xattrs->capacity ? xattrs->capacity * 2 : 4;
        struct xattr *items = reallocarray(xattrs->items, capacity, sizeof(*items));
        if (!items)
            return NULL;
        xattrs->items = items;
        xattrs->capacity = capacity;
    }
    struct xattr *slot = &xattrs->items[xattrs->n];
    *slot = (struct xattr){.name = strdup(name)};
    if (!slot->name)
        return NULL;
    xattrs->n++;
    return slot;
}

int xattrs_add(struct xattrs *xattrs, const char *name, const void *value, size_t length)
{
    if (!xattr_is_kept(name))
        return 0;
    void *copy = malloc(length + 1);
    if (!copy)
        return -ENOMEM;
    if (length > 0)
        memcpy(copy, value, length);
    struct xattr *slot = xattrs_slot(xattrs, name);
    if (!slot) {
        free(copy);
        return -ENOMEM;
    }
    free(slot->value);
    slot->value = copy;
    slot->length = length;
    return 0;
}

static int compare(const void *a, const void *b)
{
    return strcmp(((const struct xattr *)a)->name, ((const struct xattr *)b)->name);
}

void xattrs_sort(struct xattrs *xattrs)
{
    if (xattrs->n > 1)
        qsort(xattrs->items, xattrs->n, sizeof(*xattrs->items), compare);
}

/* The list of names into *ret (malloc), its length or -errno. Both the list and the values may
 * grow between asking for the size and reading. */
static ssize_t list_names(int fd, const char *name, char **ret)
{
    for (int tries = 0; tries < 10; tries++) {
        ssize_t n = fd >= 0 ? flistxattr(fd, NULL, 0) : llistxattr(name, NULL, 0);
        if (n <= 0)
            return n < 0 ? -errno : 0;
        _cleanup_free_ char *names = malloc((size_t)n + 1);
        if (!names)
            return -ENOMEM;
        n = fd >= 0 ? flistxattr(fd, names, (size_t)n) : llistxattr(name, names, (size_t)n);
        if (n >= 0) {
            names[n] = '\0';
            *ret = TAKE_PTR(names);
            return n;
        }
        if (errno != ERANGE)
            return -errno;
    }
    return -EBUSY;
}

static int read_one(int fd, const char *name, const char *attribute, struct xattrs *ret)
{
    for (int tries = 0; tries < 10; tries++) {
        ssize_t n =
            fd >= 0 ? fgetxattr(fd, attribute, NULL, 0) : lgetxattr(name, attribute, NULL, 0);
        if (n < 0)
            return errno == ENODATA ? 0 : -errno;
        _cleanup_free_ char *value = malloc((size_t)n + 1);
        if (!value)
            return -ENOMEM;
        n = fd >= 0 ? fgetxattr(fd, attribute, value, (size_t)n + 1)
                    : lgetxattr(name, attribute, value, (size_t)n + 1);
        if (n >= 0)
            return xattrs_add(ret, attribute, value, (size_t)n);
        if (errno != ERANGE)
            return errno == ENODATA ? 0 : -errno;
    }
    return -EBUSY;
}

int xattrs_read(int fd, const char *name, struct xattrs *ret)
{
    _cleanup_free_ char *names = NULL;
    _cleanup_xattrs_ struct xattrs xattrs = {0};
    ssize_t n = list_names(fd, name, &names);
    if (n < 0 && n != -EOPNOTSUPP)
        return (int)n;
    for (const char *p = names; n > 0 && p < names + n; p += strlen(p) + 1) {
        int r = xattr_is_kept(p) ? read_one(fd, name, p, &xattrs) : 0;
        if (r < 0)
            return r;
    }
    xattrs_sort(&xattrs);
    *ret = TAKE_STRUCT(xattrs);
    return 0;
}

int xattrs_write(int fd, const char *name, const struct xattrs *xattrs, const char **ret_name)
{
    for (size_t i = 0; i < xattrs->n; i++) {
        const struct xattr *x = &xattrs->items[i];
        int r = fd >= 0 ? fsetxattr(fd, x->name, x->value, x->length, 0)
                        : lsetxattr(name, x->name, x->value, x->length, 0);
        if (r < 0) {
            *ret_name = x->name;
            return -errno;
        }
    }
    return 0;
}

void xattrs_remove_others(int fd, const struct xattrs *keep)
{
    _cleanup_free_ char *names = NULL;
    ssize_t n = list_names(fd, NULL, &names);
    for (const char *p = names; n > 0 && p < names + n; p += strlen(p) + 1) {
        bool kept = !xattr_is_kept(p);
        for (size_t i = 0; !kept && i < keep->n; i++)
            kept = streq(keep->items[i].name, p);
        if (!kept && fremovexattr(fd, p) < 0)
            continue; /* a security module's own label stays */
    }
}

static bool has_xattr(const struct xattrs *xattrs, const char *name)
{
    for (size_t i = 0; xattrs && i < xattrs->n; i++)
        if (streq(xattrs->items[i].name, name))
            return true;
    return false;
}

int xattrs_drop_inherited(int fd, const char *name, const struct xattrs *keep)
{
    static const char *const acls[] = {"system.posix_acl_access", "system.posix_acl_default"};
    for (size_t i = 0; i < ELEMENTS(acls); i++) {
        if (has_xattr(keep, acls[i]))
            continue;
        int r = fd >= 0 ? fremovexattr(fd, acls[i]) : lremovexattr(name, acls[i]);
        if (r < 0 && errno != ENODATA && errno != EOPNOTSUPP)
            return -errno;
    }
    return 0;
}
