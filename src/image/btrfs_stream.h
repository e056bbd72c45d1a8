/* SPDX-License-Identifier: Apache-2.0 */
/* The stream of `btrfs send`, version 1: "btrfs-stream", a NUL and the version; then commands,
 * each with its length, its type, a CRC (which is not looked at: the frame around the stream
 * has a digest) and attributes, which are a type, a length and that many bytes; all numbers
 * little-endian. Source: fs/btrfs/send.h of Linux, which is no public header. Pure; a stream is
 * hostile. */
#pragma once

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#define BTRFS_STREAM_VERSION 1
#define BTRFS_COMMAND_MAX    (64U * 1024) /* bytes with its head */
#define BTRFS_UUID_SIZE      16
#define BTRFS_STREAM_DAMAGED "the stream is damaged: "

enum btrfs_command_type {
    BTRFS_SUBVOL = 1,
    BTRFS_SNAPSHOT,
    BTRFS_MKFILE,
    BTRFS_MKDIR,
    BTRFS_MKNOD,
    BTRFS_MKFIFO,
    BTRFS_MKSOCK,
    BTRFS_SYMLINK,
    BTRFS_RENAME,
    BTRFS_LINK,
    BTRFS_UNLINK,
    BTRFS_RMDIR,
    BTRFS_SET_XATTR,
    BTRFS_REMOVE_XATTR,
    BTRFS_WRITE,
    BTRFS_CLONE,
    BTRFS_TRUNCATE,
    BTRFS_CHMOD,
    BTRFS_CHOWN,
    BTRFS_UTIMES,
    BTRFS_END,
    _BTRFS_COMMANDS
};

enum btrfs_attribute_type {
    BTRFS_UUID = 1,
    BTRFS_SIZE = 4,
    BTRFS_MODE = 5,
    BTRFS_UID = 6,
    BTRFS_GID = 7,
    BTRFS_RDEV = 8,
    BTRFS_MTIME = 10,
    BTRFS_ATIME = 11,
    BTRFS_XATTR_NAME = 13,
    BTRFS_XATTR_DATA = 14,
    BTRFS_PATH = 15,
    BTRFS_PATH_TO = 16,
    BTRFS_PATH_LINK = 17,
    BTRFS_FILE_OFFSET = 18,
    BTRFS_DATA = 19,
    BTRFS_CLONE_UUID = 20,
    BTRFS_CLONE_PATH = 22,
    BTRFS_CLONE_OFFSET = 23,
    BTRFS_CLONE_LENGTH = 24,
    _BTRFS_ATTRIBUTES
};

struct btrfs_attribute {
    const char *data; /* NULL: it is not there */
    size_t length;
};

struct btrfs_command {
    enum btrfs_command_type type;
    struct btrfs_attribute attributes[_BTRFS_ATTRIBUTES];
};

/* What one asks of a command; all -EBADMSG with ERROR_INVALID where it does not have that. The
 * text is a new one, to be freed, without a NUL in it. */
int btrfs_get_number(const struct btrfs_command *command, enum btrfs_attribute_type type,
                     uint64_t *ret, struct error *err) _must_check_;
int btrfs_get_time(const struct btrfs_command *command, enum btrfs_attribute_type type,
                   struct timespec *ret, struct error *err) _must_check_;
int btrfs_get_uuid(const struct btrfs_command *command, enum btrfs_attribute_type type,
                   uint8_t ret[static BTRFS_UUID_SIZE], struct error *err) _must_check_;
int btrfs_get_text(const struct btrfs_command *command, enum btrfs_attribute_type type,
                   char **ret, struct error *err) _must_check_;

/* Takes a stream in pieces of any length and calls back for each of its commands, which is
 * valid until that returns; what it returns, where that is not 0, ends the stream. */
struct btrfs_stream {
    int (*callback)(const struct btrfs_command *command, void *data, struct error *err);
    void *data;
    bool begun;    /* its head was right */
    size_t used;   /* of block */
    size_t wanted; /* bytes in it before there is something to look at */
    char block[BTRFS_COMMAND_MAX];
};
void btrfs_stream_begin(struct btrfs_stream *stream);
int btrfs_stream_put(struct btrfs_stream *stream, const char *data, size_t length,
                     struct error *err) _must_check_;
