/* SPDX-License-Identifier: Apache-2.0 */
/* Loop devices: a file as a disk. They are gone with their last user, a mount or an fd
 * (autoclear), so that there is nothing to take back after a crash. Need CAP_SYS_ADMIN and
 * nodes in /dev, which containers often lack. Source: loop(4), linux/loop.h. */
#pragma once

#include "base/cleanup.h"

#define LOOP_PATH_SIZE 32

/* The file (open for reading and writing) as a new device: its fd, and its path. -ENOENT or
 * -EACCES, -EPERM, -ENXIO where there are no loop devices here; -EBUSY where others take all
 * that are free; other -errno. */
int loop_attach(int file_fd, char ret_path[static LOOP_PATH_SIZE]) _must_check_;

/* The device that has this file already: its fd, and its path. -ENOENT where none has it, or
 * one that is just letting go of it. */
int loop_find(int file_fd, char ret_path[static LOOP_PATH_SIZE]) _must_check_;
