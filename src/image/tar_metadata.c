/* SPDX-License-Identifier: Apache-2.0 */
/* Owner, mode, times, attributes and ACLs of a tar entry. Runs in the confined child of
 * image_extract as root; all values are hostile and end in the kernel's own checks. POSIX ACLs
 * are kept as the attributes system.posix_acl_*: linux/posix_acl_xattr.h. */
#include "base/text.h"
#include "image/beneath.h"
#include "image/tar.h"

#include <archive.h>
#include <archive_entry.h>
#include <endian.h>
#include <fcntl.h>
#include <linux/posix_acl.h>
#include <linux/posix_acl_xattr.h>
#include <string.h>
#include <sys/stat.h>

#define ACL_ENTRIES_MAX 8192

void tar_metadata_clear(struct tar_metadata *metadata)
{
    xattrs_clear(&metadata->xattrs);
}

static int read_id(la_int64_t id, const char *what, uint32_t *ret, struct error *err)
{
    if (id < 0 || id >= UINT32_MAX)
        return fail(err, ERROR_INVALID, EOVERFLOW, "the %s %lld is out of range", what,
                    (long long)id);
    *ret = (uint32_t)id;
    return 0;
}

static int acl_compare(const void *a, const void *b)
{
    const struct posix_acl_xattr_entry *x = a;
    const struct posix_acl_xattr_entry *y = b;
    int tags = (int)le16toh(x->e_tag) - (int)le16toh(y->e_tag);
    return tags != 0
               ? tags
               : (le32toh(x->e_id) > le32toh(y->e_id)) - (le32toh(x->e_id) < le32toh(y->e_id));
}

static int acl_entry(int tag, int permissions, int id, struct posix_acl_xattr_entry *ret,
                     struct error *err)
{
    bool named = tag == ARCHIVE_ENTRY_ACL_USER || tag == ARCHIVE_ENTRY_ACL_GROUP;
    uint16_t kernel_tag = tag == ARCHIVE_ENTRY_ACL_USER_OBJ    ? ACL_USER_OBJ
                          : tag == ARCHIVE_ENTRY_ACL_USER      ? ACL_USER
                          : tag == ARCHIVE_ENTRY_ACL_GROUP_OBJ ? ACL_GROUP_OBJ
                          : tag == ARCHIVE_ENTRY_ACL_GROUP     ? ACL_GROUP
                          : tag == ARCHIVE_ENTRY_ACL_MASK      ? ACL_MASK
                          : tag == ARCHIVE_ENTRY_ACL_OTHER     ? ACL_OTHER
                                                               : 0;
    if (kernel_tag == 0)
        return fail(err, ERROR_UNSUPPORTED, 0, "its ACL is no POSIX ACL; repack without it");
    if (named && id < 0)
        return fail(err, ERROR_INVALID, EINVAL,
                    "its ACL has the name of a user or group and no number (GNU tar --acls); "
                    "repack with "
                    "bsdtar, or without --acls");
    ret->e_tag = htole16(kernel_tag);
    ret->e_perm = htole16((uint16_t)(permissions & 7));
    ret->e_id = htole32(named ? (uint32_t)id : (uint32_t)ACL_UNDEFINED_ID);
    return 0;
}

static int read_acl(struct archive_entry *entry, int type, const char *name, struct xattrs *ret,
                    struct error *err)
{
    int n = archive_entry_acl_reset(entry, type);
    if (n <= 0)
        return 0;
    if (n > ACL_ENTRIES_MAX)
        return fail(err, ERROR_INVALID, E2BIG, "its ACL has %d entries", n);
    size_t size = sizeof(struct posix_acl_xattr_header) +
                  ((size_t)n + 3) * sizeof(struct posix_acl_xattr_entry);
    _cleanup_free_ struct posix_acl_xattr_header *acl = calloc(1, size);
    if (!acl)
        return fail(err, ERROR_SYSTEM, ENOMEM, "read its ACL: ");
    struct posix_acl_xattr_entry *entries = (struct posix_acl_xattr_entry *)(acl + 1);
    size_t used = 0;
    int one_type = 0;
    int permissions = 0;
    int tag = 0;
    int id = -1;
    const char *who = NULL;
    while (archive_entry_acl_next(entry, type, &one_type, &permissions, &tag, &id, &who) ==
               ARCHIVE_OK &&
           used < (size_t)n + 3) {
        int r = acl_entry(tag, permissions, id, &entries[used++], err);
        if (r < 0)
            return r;
    }
    if (used > 1)
        qsort(entries, used, sizeof(*entries), acl_compare);
    acl->a_version = htole32(POSIX_ACL_XATTR_VERSION);
    int r = xattrs_add(ret, name, acl, sizeof(*acl) + used * sizeof(*entries));
    return r < 0 ? fail(err, ERROR_SYSTEM, r, "read its ACL: ") : 0;
}

/* What no layer brings along: what overlayfs would take for its own where it may use user.*,
 * and labels of a policy that is another machine's. */
static bool is_of_a_machine(const char *name)
{
    return text_after(name, "user.overlay.") || streq(name, "security.selinux");
}

static int read_xattrs(struct archive_entry *entry, bool of_layer, struct xattrs *ret,
                       struct error *err)
{
    const char *name = NULL;
    const void *value = NULL;
    size_t length = 0;
    (void)archive_entry_xattr_reset(entry);
    while (archive_entry_xattr_next(entry, &name, &value, &length) == ARCHIVE_OK) {
        bool left_out = !name || (of_layer && is_of_a_machine(name));
        int r = left_out ? 0 : xattrs_add(ret, name, value, length);
        if (r < 0)
            return fail(err, ERROR_SYSTEM, r, "read its attributes: ");
    }
    int r = 0;
    /* an ACL of the plain mode bits only is none */
    if (archive_entry_acl_count(entry, ARCHIVE_ENTRY_ACL_TYPE_ACCESS) > 3)
        r = read_acl(entry, ARCHIVE_ENTRY_ACL_TYPE_ACCESS, "system.posix_acl_access", ret, err);
    if (r == 0 && archive_entry_filetype(entry) == AE_IFDIR)
        r = read_acl(entry, ARCHIVE_ENTRY_ACL_TYPE_DEFAULT, "system.posix_acl_default", ret,
                     err);
    return r;
}

int tar_metadata_read(struct archive_entry *entry, bool of_layer, struct tar_metadata *ret,
                      struct error *err)
{
    _cleanup_tar_metadata_ struct tar_metadata metadata = {0};
    int r = read_id(archive_entry_uid(entry), "uid", &metadata.uid, err);
    if (r == 0)
        r = read_id(archive_entry_gid(entry), "gid", &metadata.gid, err);
    if (r == 0)
        r = read_xattrs(entry, of_layer, &metadata.xattrs, err);
    if (r < 0)
        return r;
    metadata.mode = archive_entry_perm(entry) & 07777;
    metadata.times[1] =
        (struct timespec){archive_entry_mtime(entry), archive_entry_mtime_nsec(entry)};
    metadata.times[0] = metadata.times[1];
    if (archive_entry_atime_is_set(entry))
        metadata.times[0] =
            (struct timespec){archive_entry_atime(entry), archive_entry_atime_nsec(entry)};
    *ret = TAKE_STRUCT(metadata);
    return 0;
}

int tar_metadata_apply(const struct tar_metadata *metadata, int fd, int parent_fd,
                       const char *name, bool is_symlink, struct error *err)
{
    const char *attribute = NULL;
    int at = fd >= 0 ? fd : parent_fd;
    int flags = fd >= 0 ? AT_EMPTY_PATH : AT_SYMLINK_NOFOLLOW;
    /* the owner first: a change of it takes away set-id bits and capabilities */
    if (fchownat(at, fd >= 0 ? "" : name, metadata->uid, metadata->gid, flags) < 0)
        return fail(err, ERROR_SYSTEM, errno, "set the owner %u:%u: ", metadata->uid,
                    metadata->gid);
    if (fd < 0 && !is_symlink && fchdir(parent_fd) < 0)
        return fail(err, ERROR_SYSTEM, errno, "enter its directory: ");
    int r = is_symlink ? 0 : xattrs_drop_inherited(fd, name, &metadata->xattrs);
    if (r < 0)
        return fail(err, ERROR_SYSTEM, r, "remove the ACL that its directory hands down: ");
    if (fd >= 0 ? fchmod(fd, metadata->mode) < 0
                : !is_symlink && fchmodat(at, name, metadata->mode, 0) < 0)
        return fail(err, ERROR_SYSTEM, errno, "set the mode %#o: ", metadata->mode);
    if (is_symlink && metadata->xattrs.n > 0 && fchdir(parent_fd) < 0)
        return fail(err, ERROR_SYSTEM, errno, "enter its directory: ");
    r = xattrs_write(fd, name, &metadata->xattrs, &attribute);
    if (r == -EOPNOTSUPP)
        return fail(err, ERROR_UNSUPPORTED, EOPNOTSUPP,
                    "the storage's file system cannot keep its attribute %.100s; use another "
                    "storage, or repack without it",
                    attribute);
    if (r < 0)
        return fail(err, ERROR_SYSTEM, r, "set the attribute %.100s: ", attribute);
    r = fd >= 0 ? futimens(fd, metadata->times)
                : utimensat(at, name, metadata->times, AT_SYMLINK_NOFOLLOW);
    return r < 0 ? fail(err, ERROR_SYSTEM, errno, "set its times: ") : 0;
}
