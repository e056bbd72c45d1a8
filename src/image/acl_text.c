/* SPDX-License-Identifier: Apache-2.0 */
/* ACLs on their way into an archive; image/tar_metadata.c reads them again. Runs in
 * isolate-image as root; the kernel has checked the attribute's form when it was set, and it is
 * looked at again. linux/posix_acl_xattr.h. */
#include "image/acl_text.h"

#include <endian.h>
#include <linux/posix_acl.h>
#include <linux/posix_acl_xattr.h>
#include <stdint.h>
#include <string.h>

static const char *tag_name(unsigned tag)
{
    switch (tag) {
    case ACL_USER_OBJ:
    case ACL_USER:
        return "user";
    case ACL_GROUP_OBJ:
    case ACL_GROUP:
        return "group";
    case ACL_MASK:
        return "mask";
    case ACL_OTHER:
        return "other";
    default:
        return NULL;
    }
}

static int append_entry(const struct posix_acl_xattr_entry *entry, struct buffer *ret)
{
    unsigned tag = le16toh(entry->e_tag);
    unsigned bits = le16toh(entry->e_perm);
    const char *name = tag_name(tag);
    if (!name || bits > 7)
        return -EINVAL;
    buffer_printf(ret, "%s%s:", ret->length > 0 ? "," : "", name);
    if (tag == ACL_USER || tag == ACL_GROUP)
        buffer_printf(ret, "%u", le32toh(entry->e_id));
    buffer_printf(ret, ":%c%c%c", bits & ACL_READ ? 'r' : '-', bits & ACL_WRITE ? 'w' : '-',
                  bits & ACL_EXECUTE ? 'x' : '-');
    return 0;
}

int acl_text(const void *value, size_t length, struct buffer *ret, struct error *err)
{
    struct posix_acl_xattr_header header;
    struct posix_acl_xattr_entry entry;
    int r = length < sizeof(header) || (length - sizeof(header)) % sizeof(entry) ? -EINVAL : 0;
    if (r == 0) {
        memcpy(&header, value, sizeof(header));
        r = le32toh(header.a_version) == POSIX_ACL_XATTR_VERSION ? 0 : -EINVAL;
    }
    for (size_t at = sizeof(header); r == 0 && at < length; at += sizeof(entry)) {
        memcpy(&entry, (const char *)value + at, sizeof(entry));
        r = append_entry(&entry, ret);
    }
    if (ret->failed)
        r = -ENOMEM;
    return r < 0 ? fail(err, ERROR_SYSTEM, r, "read its ACL: ") : 0;
}
