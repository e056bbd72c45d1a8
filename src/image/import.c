/* SPDX-License-Identifier: Apache-2.0 */
/* From a SOURCE to a filled directory. Runs in isolate-image as root: paths in the SOURCE are
 * the administrator's and are opened with root's rights. */
#include "base/text.h"
#include "image/image.h"
#include "image/progress.h"
#include "sys/fd.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

int image_check_empty(int target_fd, struct error *err)
{
    _cleanup_closedir_ DIR *dir = dir_stream(dir_open_at(target_fd, "."));
    if (!dir)
        return fail(err, ERROR_SYSTEM, errno, "open the target directory: ");
    struct dirent *entry = NULL;
    while ((entry = readdir(dir)))
        if (!streq(entry->d_name, ".") && !streq(entry->d_name, ".."))
            return fail(err, ERROR_INVALID, ENOTEMPTY,
                        "the target directory is not empty: it holds \"%.200s\"",
                        entry->d_name);
    return 0;
}

static int import_directory(const struct image_source *source, int target_fd,
                            struct progress *progress, struct error *err)
{
    _cleanup_close_ int fd = open(source->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 && errno == ENOTDIR)
        return fail(err, ERROR_INVALID, ENOTDIR,
                    "source dir:%.300s: this is not a directory; use tar: for an archive",
                    source->path);
    if (fd < 0)
        return fail(err, errno == ENOENT ? ERROR_NOT_FOUND : ERROR_SYSTEM, errno,
                    "source dir:%.300s: ", source->path);
    progress_begin(progress, "copy");
    int r = image_copy(fd, target_fd, progress, err);
    return r < 0 ? error_prefix(err, r, "source dir:%.150s: ", source->path) : 0;
}

static int import_archive(const struct image_source *source, int target_fd,
                          struct progress *progress, struct error *err)
{
    struct stat st;
    /* O_NONBLOCK: the path may be that of a fifo nobody writes to */
    _cleanup_close_ int fd = open(source->path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd < 0)
        return fail(err, errno == ENOENT ? ERROR_NOT_FOUND : ERROR_SYSTEM, errno,
                    "source tar:%.300s: ", source->path);
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
        return fail(err, ERROR_INVALID, 0,
                    "source tar:%.300s: this is not a regular file; use dir: for a directory",
                    source->path);
    progress_begin(progress, "unpack");
    progress_expect(progress, (uint64_t)st.st_size);
    char what[PATH_MAX + 8];
    (void)snprintf(what, sizeof(what), "tar:%s", source->path);
    return image_extract(fd, what, target_fd, progress, err);
}

/* An OCI layout or an archive of docker's. */
static int import_container(const struct image_source *source, int target_fd, int layers_fd,
                            struct progress *progress, struct buffer *ret_defaults,
                            struct error *err)
{
    struct stat st;
    bool is_archive = source->kind == IMAGE_SOURCE_DOCKER_ARCHIVE;
    const char *kind = is_archive ? "docker-archive" : "oci";
    char what[PATH_MAX + IMAGE_TAG_MAX + 24];
    (void)snprintf(what, sizeof(what), "%s:%s%s%s", kind, source->path, *source->tag ? ":" : "",
                   source->tag);
    /* O_NONBLOCK: the path may be that of a fifo nobody writes to */
    _cleanup_close_ int fd = open(source->path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd < 0)
        return fail(err, errno == ENOENT ? ERROR_NOT_FOUND : ERROR_SYSTEM, errno,
                    "source %s:%.300s: ", kind, source->path);
    if (fstat(fd, &st) < 0 || (is_archive ? !S_ISREG(st.st_mode) : !S_ISDIR(st.st_mode)))
        return fail(err, ERROR_INVALID, is_archive ? EINVAL : ENOTDIR, "source %s:%.300s: %s",
                    kind, source->path,
                    is_archive ? "this is not a regular file; use oci: for a directory"
                               : "this is not a directory; use docker-archive: for an archive");
    progress_begin(progress, "unpack");
    const struct image_container container = {
        .fd = fd,
        .is_archive = is_archive,
        .tag = *source->tag ? source->tag : NULL,
        .what = what,
        .layers_fd = layers_fd,
    };
    return image_unpack_container(&container, target_fd, progress, ret_defaults, err);
}

int image_import(const char *source, int target_fd, int layers_fd, struct progress *progress,
                 struct buffer *ret_defaults, struct error *err)
{
    _cleanup_buffer_ struct buffer os_release = {0};
    struct image_source parsed = {0};
    /* os-release(5): a symlink in /etc to /usr/lib/os-release, and without either no default */
    if (file_read_at(AT_FDCWD, "/usr/lib/os-release", 65536, &os_release) < 0)
        (void)!file_read_at(AT_FDCWD, "/etc/os-release", 65536, &os_release);
    int r = image_source_parse(source, os_release.data ? os_release.data : "", &parsed, err);
    if (r < 0)
        return r;
    r = image_check_empty(target_fd, err);
    if (r < 0)
        return r;
    switch (parsed.kind) {
    case IMAGE_SOURCE_DIR:
        return import_directory(&parsed, target_fd, progress, err);
    case IMAGE_SOURCE_TAR:
        return import_archive(&parsed, target_fd, progress, err);
    case IMAGE_SOURCE_OCI:
    case IMAGE_SOURCE_DOCKER_ARCHIVE:
        return import_container(&parsed, target_fd, layers_fd, progress, ret_defaults, err);
    case IMAGE_SOURCE_DEBIAN:
    case IMAGE_SOURCE_UBUNTU:
        return image_bootstrap(&parsed, target_fd, progress, err);
    }
    return fail(err, ERROR_INVALID, 0, "source \"%.100s\" is unknown", source);
}
