/* SPDX-License-Identifier: Apache-2.0 */
/* Takes the host's traces out of a fresh template. Runs in isolate-image as root; the tree is
 * that of packages, which may hold symlinks anywhere: none is followed. */
#include "image/bootstrap.h"

#include "base/log.h"
#include "base/text.h"
#include "image/beneath.h"
#include "sys/fd.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define KEYRING_MAX (4 * 1024 * 1024)

static int write_file(int target_fd, const char *path, const void *data, size_t length,
                      struct error *err)
{
    const char *name = NULL;
    _cleanup_close_ int at = beneath_open_parent(target_fd, path, &name);
    if (at < 0)
        return fail(err, ERROR_SYSTEM, at, "template: /%s: ", path);
    if (unlinkat(at, name, 0) < 0 && errno != ENOENT)
        return fail(err, ERROR_SYSTEM, errno, "template: replace /%s: ", path);
    _cleanup_close_ int fd =
        openat(at, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
    int r = fd < 0 ? -errno : fd_write_all(fd, data, length);
    if (r == 0 && fchmod(fd, 0644) < 0)
        r = -errno;
    return r < 0 ? beneath_write_failed(at, r, path, length, err) : 0;
}

static int remove_file(int target_fd, const char *path, struct error *err)
{
    const char *name = NULL;
    _cleanup_close_ int at = beneath_open_parent(target_fd, path, &name);
    if (at == -ENOENT)
        return 0;
    if (at < 0)
        return fail(err, ERROR_SYSTEM, at, "template: /%s: ", path);
    if (unlinkat(at, name, 0) < 0 && errno != ENOENT)
        return fail(err, ERROR_SYSTEM, errno, "template: remove /%s: ", path);
    return 0;
}

static bool has_file(int target_fd, const char *path)
{
    const char *name = NULL;
    _cleanup_close_ int at = beneath_open_parent(target_fd, path, &name);
    return at >= 0 && faccessat(at, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

/* A keyring that a source names must be there for the template's own apt, at the same path. */
static int copy_keyring(int target_fd, const char *keyring, struct error *err)
{
    _cleanup_buffer_ struct buffer content = {0};
    _cleanup_free_ char *path = malloc(strlen(keyring) + 1);
    if (!path)
        return fail(err, ERROR_SYSTEM, ENOMEM, "template: keyring: ");
    /* behind the "/" it is relative to the template's root */
    int r = beneath_normalize(keyring + strspn(keyring, "/"), path, err);
    if (r < 0)
        return error_prefix(err, r, "keyring %.200s: ", keyring);
    if (has_file(target_fd, path))
        return 0;
    r = file_read_at(AT_FDCWD, keyring, KEYRING_MAX, &content);
    if (r == 0)
        r = write_file(target_fd, path, content.data, content.length, err);
    if (r < 0)
        log_warning("template: apt in it will not find its keyring %s (%s); copy it there",
                    keyring, strerror(-r));
    return 0;
}

static int write_sources(int target_fd, const struct apt_sources *sources, struct error *err)
{
    _cleanup_buffer_ struct buffer lines = {0};
    for (size_t i = 0; i < sources->n; i++) {
        const struct apt_source *source = &sources->items[i];
        int r = source->signed_by ? copy_keyring(target_fd, source->signed_by, err) : 0;
        if (r < 0)
            return r;
        apt_source_line(source, false, &lines);
        buffer_append_char(&lines, '\n');
    }
    if (lines.failed)
        return fail(err, ERROR_SYSTEM, ENOMEM, "template: sources.list: ");
    return write_file(target_fd, "etc/apt/sources.list", lines.data, lines.length, err);
}

int bootstrap_finish(int target_fd, const struct apt_sources *sources, struct error *err)
{
    int r = write_file(target_fd, "etc/resolv.conf", "", 0, err);
    if (r == 0)
        r = remove_file(target_fd, "etc/hostname", err);
    if (r == 0) /* holds only the --aptopt of this bootstrap: the proxies of this machine */
        r = remove_file(target_fd, "etc/apt/apt.conf.d/99mmdebstrap", err);
    if (r == 0 && sources->n > 0)
        r = write_sources(target_fd, sources, err);
    return r;
}
