/* SPDX-License-Identifier: Apache-2.0 */
/* Where the content of templates comes from. Everything here runs as root in isolate-image, a
 * short-lived program below isolated, in a mount and pid namespace and a cgroup of its own.
 *
 * Directory fds are borrowed, may be O_PATH and must be readable by root. Names inside the
 * trees and archives are hostile: nothing is followed, nothing is executed. All functions block
 * for as long as the work takes, allocate, and return 0 or -errno with err set; a full disk is
 * ERROR_NO_SPACE. On failure the target keeps what was written so far: the caller destroys it.
 * Functions that fill or read a tree change the working directory of the process while they run
 * (the only way to reach the extended attributes of symlinks without /proc) and restore it. */
#pragma once

#include "base/buffer.h"
#include "base/error.h"

#include <limits.h>
#include <stdint.h>

struct progress;

enum image_source_kind {
    IMAGE_SOURCE_DEBIAN,
    IMAGE_SOURCE_UBUNTU,
    IMAGE_SOURCE_DIR,
    IMAGE_SOURCE_TAR,
    IMAGE_SOURCE_OCI,
    IMAGE_SOURCE_DOCKER_ARCHIVE,
};

#define IMAGE_SUITE_MAX 41

#define IMAGE_TAG_MAX 255

/* What a SOURCE means: "debian[:SUITE]", "ubuntu[:SUITE]", "dir:PATH", "tar:FILE",
 * "oci:DIR[:TAG]" or "docker-archive:FILE[:NAME]". */
struct image_source {
    enum image_source_kind kind;
    char suite[IMAGE_SUITE_MAX + 1]; /* debian, ubuntu: never empty */
    char path[PATH_MAX];             /* the others: as given */
    char tag[IMAGE_TAG_MAX + 1];     /* oci, docker-archive: "" where none is given */
};

/* Reads a SOURCE. os_release is the text of the machine's os-release file ("" where there is
 * none): it gives the default suite. Pure. ERROR_INVALID for everything malformed. */
int image_source_parse(const char *text, const char *os_release, struct image_source *ret,
                       struct error *err) _must_check_;

/* -ENOTEMPTY with ERROR_INVALID where target_fd holds anything. */
int image_check_empty(int target_fd, struct error *err) _must_check_;

/* Fills the empty directory target_fd from a SOURCE; where that is an image of a container and
 * layers_fd is given (not -EBADF), the layers there. Paths in it are opened with the rights of
 * this process. -ENOTEMPTY where the target is not empty. ret_defaults gets what an image says
 * of the commands that run in it, as JSON: {"entrypoint", "cmd", "env": [TEXT…], "workdir",
 * "user": TEXT} without what it does not say; nothing for other sources. */
int image_import(const char *source, int target_fd, int layers_fd, struct progress *progress,
                 struct buffer *ret_defaults, struct error *err) _must_check_;

/* An image of a container, open. */
struct image_container {
    int fd;           /* an OCI layout's directory, or an archive: a regular file */
    bool is_archive;  /* of `docker save`, or with an OCI layout in it */
    const char *tag;  /* which image of several; NULL: the only one */
    const char *what; /* its name in errors */
    int layers_fd;    /* where its layers are kept (layers.h); -EBADF: all is one tree */
};

/* Unpacks the layers of an image for this machine, the one over the other, into the empty
 * target_fd, or each into one of layers_fd, above those that are there. Their digests and that
 * of the configuration are checked. Whatever is in them happens in confined children (oci.h).
 * ERROR_NOT_FOUND for a tag or part that is not there, ERROR_UNSUPPORTED for another
 * architecture or a kind of part that is not known, -EBADMSG for what is damaged; entries as
 * for image_extract, but that they may pass through symlinks of layers below. */
int image_unpack_container(const struct image_container *container, int target_fd,
                           struct progress *progress, struct buffer *ret_defaults,
                           struct error *err) _must_check_;

/* Fills target_fd with a minimal Debian or Ubuntu made by mmdebstrap(1), whose tar stream goes
 * through image_extract. Uses the mirrors, keys and proxies of the machine's apt. */
int image_bootstrap(const struct image_source *source, int target_fd, struct progress *progress,
                    struct error *err) _must_check_;

/* Copies the tree below source_fd into the empty target_fd: content (FICLONE, then
 * copy_file_range, then read and write; holes stay holes), hard links, symlinks, devices,
 * fifos, ownership, modes, times in ns, extended attributes with capabilities and ACLs. Left
 * out without a word: sockets, attributes trusted.overlay.*, files that vanish meanwhile. Never
 * crosses a mount point: what is mounted inside the source becomes an empty directory or file,
 * and the first such place is named in a warning. Restores the working directory. */
int image_copy(int source_fd, int target_fd, struct progress *progress,
               struct error *err) _must_check_;

/* Unpacks a tar archive (ustar, pax, GNU; plain, gzip, bzip2, xz, zstd, lzma, compress) read
 * from archive_fd, a file or a pipe, into target_fd, over what is there. Happens in a child
 * process that has chrooted into the target, has no_new_privs and may neither execute nor map
 * code before it reads the first byte. Entries that are absolute, contain "..", or pass through
 * a symlink or any other non-directory are refused with ERROR_DENIED; an archive that is cut
 * off or damaged is -EBADMSG with ERROR_INVALID. `what` names the archive in errors. */
int image_extract(int archive_fd, const char *what, int target_fd, struct progress *progress,
                  struct error *err) _must_check_;

#define IMAGE_HASH_TEXT 65 /* 64 hexadecimal digits and a NUL */

/* The SHA-256 of the tree below root_fd: for every entry, in bytewise order within each
 * directory, its path, type, mode, owner, mtime in ns, device number, symlink target, extended
 * attributes (of the name spaces user, trusted, security and the POSIX ACLs; not
 * trusted.overlay.*), size and content, and which earlier entry it is a hard link of.
 * Independent of the order of readdir, of inode numbers and of the file system. Entries that
 * are mount points count as empty; sockets are left out, as of every copy. */
int image_hash(int root_fd, char ret_hex[static IMAGE_HASH_TEXT], struct progress *progress,
               struct error *err) _must_check_;
