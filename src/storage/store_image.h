/* SPDX-License-Identifier: Apache-2.0 */
/* Images: a clone's own file system, ext4, in a sparse file beside it, where the file system
 * around it has no quotas. All that the clone has of its own is in there; what the image has
 * room for is the limit. It is mounted nowhere but below the clone's root, so that with that
 * its loop device is gone, too, whoever died.
 *
 * The kernel does not expect a file system that somebody has made to harm it. These are made
 * here, and a sandbox reaches files in one, never the image; one that was damaged, which a full
 * disk around it can do, is mounted no more. */
#pragma once

#include "storage/store.h"

#define STORE_IMAGE "image"

/* Makes `name` in a directory of ours, with room for so many bytes, but not for more than the
 * disk has; a durable one survives a power cut. Needs mke2fs. */
int store_image_make(int dir_fd, const char *name, uint64_t bytes, bool durable,
                     struct error *err) _must_check_;
/* The same, as large as another one. */
int store_image_make_like(int dir_fd, const char *name, int like_dir_fd, bool durable,
                          struct error *err) _must_check_;

/* A new detached, nosuid, nodev mount of clones/CLONE/image, or, while it is made, of another
 * name. All mounts of an image are of one file system. -ENOENT, without err, where there is
 * none. */
int store_image_mount(int clone_fd, const char *name, bool durable,
                      struct error *err) _must_check_;

/* An image has no inodes for root alone, as it has blocks: some are held by files, which go
 * while isolate itself makes something in it. As many as can be are made. */
int store_image_spare_make(int mount_fd) _must_check_;
int store_image_spare_take(int mount_fd) _must_check_;

/* What was made in a new one is in the file, or the disk that it lies on was full. */
int store_image_sync(int dir_fd, int mount_fd, struct error *err) _must_check_;

/* Before the clone is destroyed: what somebody still has open of it fails from now on, and
 * holds no space. */
void store_image_release(struct storage *storage, const char *name);
