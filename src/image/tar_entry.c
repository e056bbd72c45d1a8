/* SPDX-License-Identifier: Apache-2.0 */
/* One entry of a tar archive becomes one file. Runs in the confined child of image_extract as
 * root; every field of the entry is hostile. Files are made with O_EXCL below a directory that
 * is held open, so that nothing made before is ever followed or written to. */
#include "base/text.h"
#include "image/beneath.h"
#include "image/progress.h"
#include "image/tar.h"
#include "sys/tree.h"

#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

/* Where an entry goes. */
struct place {
    const char *path; /* normalized */
    const char *name;
    int parent_fd; /* the target's */
};

static int write_failed(const struct place *place, int errnum, uint64_t bytes,
                        struct error *err)
{
    return beneath_write_failed(place->parent_fd, errnum, place->path, bytes, err);
}

/* A later entry replaces an earlier one of its name: of the same archive never a directory with
 * content, of a layer below anything. */
static int remove_earlier(struct tar_target *target, const struct place *place,
                          struct error *err)
{
    struct stat st;
    if (target->has_lower) {
        int r = tree_remove(place->parent_fd, place->name);
        return r < 0 ? fail(err, ERROR_SYSTEM, r, "replace what a layer below has there: ") : 0;
    }
    if (fstatat(place->parent_fd, place->name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return fail(err, ERROR_SYSTEM, errno, "replace an earlier entry: ");
    if (unlinkat(place->parent_fd, place->name, S_ISDIR(st.st_mode) ? AT_REMOVEDIR : 0) == 0)
        return 0;
    if (errno == ENOTEMPTY || errno == EEXIST)
        return fail(err, ERROR_INVALID, EEXIST,
                    "it would replace a directory that has content; repack the archive");
    return fail(err, ERROR_SYSTEM, errno, "replace an earlier entry: ");
}

static int read_name(const char *text, char **ret, struct error *err)
{
    if (!text)
        return fail(err, ERROR_INVALID, EILSEQ, "a name cannot be read");
    _cleanup_free_ char *path = malloc(strlen(text) + 1);
    if (!path)
        return fail(err, ERROR_SYSTEM, ENOMEM, "read the name: ");
    int r = beneath_normalize(text, path, err);
    if (r < 0)
        return r;
    *ret = TAKE_PTR(path);
    return 0;
}

static int look_at(const struct place *place, struct stat *ret, struct error *err)
{
    return fstatat(place->parent_fd, place->name, ret, AT_SYMLINK_NOFOLLOW) < 0
               ? fail(err, ERROR_SYSTEM, errno, "look at it: ")
               : 0;
}

static int make_directory(struct tar_target *target, const struct place *place,
                          struct tar_metadata *metadata, struct error *err)
{
    struct stat st;
    bool made = mkdirat(place->parent_fd, place->name, 0700) == 0;
    if (!made && errno != EEXIST)
        return write_failed(place, errno, 0, err);
    int r = look_at(place, &st, err);
    if (r == 0 && !made && !S_ISDIR(st.st_mode)) {
        r = remove_earlier(target, place, err);
        if (r == 0 && mkdirat(place->parent_fd, place->name, 0700) < 0)
            return write_failed(place, errno, 0, err);
        if (r == 0)
            r = look_at(place, &st, err);
    }
    return r < 0 ? r : tar_target_add_directory(target, place->path, st.st_ino, metadata, err);
}

static int write_content(int fd, struct archive *archive, uint64_t size,
                         const struct place *place, struct progress *progress,
                         struct error *err)
{
    const void *block = NULL;
    size_t length = 0;
    la_int64_t offset = 0;
    for (;;) {
        int r = archive_read_data_block(archive, &block, &length, &offset);
        if (r == ARCHIVE_EOF)
            break;
        if (r != ARCHIVE_OK)
            return tar_damaged(archive, err);
        if (offset < 0 || (uint64_t)offset > size || length > size - (uint64_t)offset)
            return fail(err, ERROR_INVALID, EBADMSG,
                        "the archive is damaged: more content than size");
        for (size_t done = 0; done < length;) {
            ssize_t n = pwrite(fd, (const char *)block + done, length - done,
                               offset + (la_int64_t)done);
            if (n < 0 && errno != EINTR)
                return write_failed(place, errno, size, err);
            if (n > 0)
                done += (size_t)n;
        }
        progress_add(progress, 0, length);
    }
    return ftruncate(fd, (off_t)size) < 0 ? write_failed(place, errno, size, err) : 0;
}

static int make_regular(struct tar_target *target, struct archive *archive,
                        struct archive_entry *entry, const struct place *place,
                        const struct tar_metadata *metadata, struct error *err)
{
    int flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
    la_int64_t size = archive_entry_size(entry);
    if (size < 0)
        return fail(err, ERROR_INVALID, EBADMSG, "the archive is damaged: a size is negative");
    _cleanup_close_ int fd = openat(place->parent_fd, place->name, flags, 0600);
    if (fd < 0 && errno == EEXIST) {
        int r = remove_earlier(target, place, err);
        if (r < 0)
            return r;
        fd = openat(place->parent_fd, place->name, flags, 0600);
    }
    if (fd < 0)
        return write_failed(place, errno, (uint64_t)size, err);
    int r = write_content(fd, archive, (uint64_t)size, place, target->progress, err);
    return r < 0 ? r : tar_metadata_apply(metadata, fd, -EBADF, "", false, err);
}

/* -EXDEV where that has made it another file: in an overlay a file of a layer below is copied
 * first, and its other names stay what they were. */
static int make_link_once(const struct place *place, int at, const char *name)
{
    struct stat before;
    struct stat after;
    if (fstatat(at, name, &before, AT_SYMLINK_NOFOLLOW) < 0 ||
        linkat(at, name, place->parent_fd, place->name, 0) < 0 ||
        fstatat(at, name, &after, AT_SYMLINK_NOFOLLOW) < 0)
        return -errno;
    return before.st_nlink > 1 && before.st_ino != after.st_ino ? -EXDEV : 0;
}

/* A hard link to an earlier entry, which is found under the same rules as the entry's own name.
 */
static int make_hard_link(struct tar_target *target, const char *text,
                          const struct place *place, struct error *err)
{
    _cleanup_free_ char *path = NULL;
    int r = read_name(text, &path, err);
    if (r < 0)
        return error_prefix(err, r, "hard link to \"%.100s\": ", text ? text : "?");
    if (streq(path, place->path))
        return 0;
    char *slash = strrchr(path, '/');
    const char *name = slash ? slash + 1 : path;
    if (slash)
        *slash = '\0';
    _cleanup_close_ int at = tar_target_open(target, slash ? path : "");
    if (at == -ELOOP || at == -ENOTDIR)
        return fail(
            err, ERROR_DENIED, EPERM,
            "hard link to \"%.100s\", which passes through %s; such an archive is refused, "
            "repack it",
            text, at == -ELOOP ? "a symlink" : "a file that is no directory");
    if (at < 0)
        return fail(err, ERROR_INVALID, at, "hard link to \"%.100s\": ", text);
    if (!*name)
        return fail(err, ERROR_INVALID, EPERM, "hard link to the root directory");
    r = make_link_once(place, at, name);
    if (r == -EEXIST) {
        r = remove_earlier(target, place, err);
        if (r < 0)
            return r;
        r = make_link_once(place, at, name);
    }
    if (r == -ENOENT)
        return fail(err, ERROR_INVALID, ENOENT,
                    "hard link to \"%.100s\", which is not in the archive before it", text);
    return r < 0 ? write_failed(place, r, 0, err) : 0;
}

static int make_node_once(const struct place *place, struct archive_entry *entry, mode_t type)
{
    if (type == AE_IFLNK) {
        const char *content = archive_entry_symlink(entry);
        if (!content)
            return -EILSEQ;
        return symlinkat(content, place->parent_fd, place->name) < 0 ? -errno : 0;
    }
    dev_t device = type == AE_IFIFO ? 0 : archive_entry_rdev(entry);
    return mknodat(place->parent_fd, place->name, type | 0600, device) < 0 ? -errno : 0;
}

static int make_node(struct tar_target *target, struct archive_entry *entry,
                     const struct place *place, const struct tar_metadata *metadata,
                     struct error *err)
{
    mode_t type = archive_entry_filetype(entry);
    int r = make_node_once(place, entry, type);
    if (r == -EEXIST) {
        r = remove_earlier(target, place, err);
        if (r < 0)
            return r;
        r = make_node_once(place, entry, type);
    }
    if (r == -EILSEQ)
        return fail(err, ERROR_INVALID, EILSEQ, "the target of the symlink cannot be read");
    if (r < 0)
        return write_failed(place, r, 0, err);
    return tar_metadata_apply(metadata, -EBADF, place->parent_fd, place->name, type == AE_IFLNK,
                              err);
}

/* What overlayfs, in whose layer it would be, takes for the absence of a file. */
static bool is_overlay_whiteout(const struct tar_target *target, struct archive_entry *entry,
                                mode_t type)
{
    return target->layered && type == AE_IFCHR && archive_entry_rdev(entry) == 0;
}

static int make(struct tar_target *target, struct archive *archive, struct archive_entry *entry,
                const struct place *place, struct tar_metadata *metadata, struct error *err)
{
    mode_t type = archive_entry_filetype(entry);
    switch (type) {
    case AE_IFDIR:
        return make_directory(target, place, metadata, err);
    case AE_IFREG:
        return make_regular(target, archive, entry, place, metadata, err);
    case AE_IFLNK:
    case AE_IFCHR:
    case AE_IFBLK:
    case AE_IFIFO:
        return is_overlay_whiteout(target, entry, type)
                   ? fail(err, ERROR_UNSUPPORTED, 0,
                          "it is the device 0:0, with which overlayfs marks what was deleted, "
                          "and no layer of an image does; make the image anew")
                   : make_node(target, entry, place, metadata, err);
    default:
        return fail(err, ERROR_UNSUPPORTED, 0,
                    "it is of an unknown type (%#o); repack the archive", (unsigned)type);
    }
}

static int make_root(struct tar_target *target, mode_t type, struct tar_metadata *metadata,
                     struct error *err)
{
    struct stat st;
    if (type != AE_IFDIR)
        return fail(err, ERROR_INVALID, EISDIR,
                    "the archive's root is no directory; repack it");
    return fstat(target->root_fd, &st) < 0
               ? fail(err, ERROR_SYSTEM, errno, "look at it: ")
               : tar_target_add_directory(target, "", st.st_ino, metadata, err);
}

int tar_entry_make(struct tar_target *target, struct archive *archive,
                   struct archive_entry *entry, struct error *err)
{
    _cleanup_free_ char *path = NULL;
    _cleanup_tar_metadata_ struct tar_metadata metadata = {0};
    const char *link = archive_entry_hardlink(entry);
    mode_t type = link ? AE_IFREG : archive_entry_filetype(entry);
    const char *text = archive_entry_pathname(entry);
    /* what some write for the root itself */
    int r = read_name(text && *text && !text[strspn(text, "/")] ? "." : text, &path, err);
    if (r == 0 && target->layered)
        r = tar_layer_whiteout(target, path, err);
    if (r != 0 || type == AE_IFSOCK)
        return r < 0 ? r : 0;
    r = link ? 0 : tar_metadata_read(entry, target->layered, &metadata, err);
    if (r < 0)
        return r;
    if (streq(path, ""))
        return make_root(target, type, &metadata, err);
    struct place place = {.path = path};
    r = tar_target_parent(target, path, &place.name, &place.parent_fd, err);
    if (r == 0)
        r = tar_layer_note(target, target->parent_inode, place.name, err);
    if (r < 0)
        return r;
    return link ? make_hard_link(target, link, &place, err)
                : make(target, archive, entry, &place, &metadata, err);
}
