/* SPDX-License-Identifier: Apache-2.0 */
/* Ids inside of extended attributes. Runs in isolated as root; values come from hostile trees,
 * and what is not whole stays as it is, for the kernel to refuse. Source: linux/capability.h,
 * linux/posix_acl_xattr.h. */
#include "base/text.h"
#include "sys/xattrs.h"

#include <endian.h>
#include <linux/capability.h>
#include <linux/posix_acl.h>
#include <linux/posix_acl_xattr.h>
#include <string.h>

static void shift_acl(struct xattr *acl, uint32_t by)
{
    char *end = (char *)acl->value + acl->length;
    char *at = (char *)acl->value + sizeof(struct posix_acl_xattr_header);
    for (; at + sizeof(struct posix_acl_xattr_entry) <= end;
         at += sizeof(struct posix_acl_xattr_entry)) {
        struct posix_acl_xattr_entry entry;
        memcpy(&entry, at, sizeof(entry));
        if (le16toh(entry.e_tag) != ACL_USER && le16toh(entry.e_tag) != ACL_GROUP)
            continue;
        entry.e_id = htole32(le32toh(entry.e_id) + by);
        memcpy(at, &entry, sizeof(entry));
    }
}

/* It counts only for the user namespace whose root it names; without a name, for the host's. */
static int shift_capability(struct xattr *attribute, uint32_t by)
{
    struct vfs_ns_cap_data capability = {0};
    if (attribute->length < XATTR_CAPS_SZ_2 || attribute->length > sizeof(capability))
        return 0;
    memcpy(&capability, attribute->value, attribute->length);
    uint32_t root = le32toh(capability.rootid) + by;
    uint32_t flags = le32toh(capability.magic_etc) & VFS_CAP_FLAGS_EFFECTIVE;
    capability.magic_etc =
        htole32((root == 0 ? VFS_CAP_REVISION_2 : VFS_CAP_REVISION_3) | flags);
    capability.rootid = htole32(root);
    size_t length = root == 0 ? XATTR_CAPS_SZ_2 : XATTR_CAPS_SZ_3;
    void *value = malloc(length);
    if (!value)
        return -ENOMEM;
    memcpy(value, &capability, length);
    free(attribute->value);
    attribute->value = value;
    attribute->length = length;
    return 0;
}

int xattrs_shift_ids(struct xattrs *xattrs, uint32_t by)
{
    int r = 0;
    for (size_t i = 0; i < xattrs->n && by != 0 && r == 0; i++) {
        struct xattr *x = &xattrs->items[i];
        if (text_after(x->name, "system.posix_acl_"))
            shift_acl(x, by);
        else if (streq(x->name, "security.capability"))
            r = shift_capability(x, by);
    }
    return r;
}
