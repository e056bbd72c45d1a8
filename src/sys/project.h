/* SPDX-License-Identifier: Apache-2.0 */
/* Project quotas of ext4 and XFS: all files below a directory count as those of one project,
 * and its blocks can be limited. Users of a user namespace cannot take a file out of its
 * project (fs/ioctl.c). Needs CAP_SYS_ADMIN. Source: quotactl(2), ioctl_fsxattr(2),
 * linux/dqblk_xfs.h. */
#pragma once

#include "base/cleanup.h"

#include <stdint.h>

/* The ids that one directory may have. */
struct project_range {
    uint32_t first;
    uint32_t n;
};

/* The project of a directory; 0: none, or not known. */
uint32_t project_of(int dir_fd) _must_check_;

/* Gives an empty directory, and all that is made in it from now on, to a project that no file
 * belongs to, the first such of the range. Does nothing where the file system enforces no
 * project quotas, or the directory belongs to a project already (of an administrator's, around
 * it). 0, -EBUSY where all ids are in use, other -errno. dir_fd: no O_PATH. */
int project_assign(int dir_fd, struct project_range range) _must_check_;

/* The directory's project may grow by so many bytes and inodes from what it has now.
 * -EOPNOTSUPP where project_assign did nothing. */
int project_limit(int dir_fd, struct project_range range, uint64_t bytes,
                  uint64_t inodes) _must_check_;

/* While the host itself makes something in the directory it may exceed its limit a little; does
 * nothing where it has none. */
void project_relax(int dir_fd, struct project_range range);
void project_tighten(int dir_fd, struct project_range range);

/* There is no limit any more, and with the last file nothing of the project. */
void project_release(int dir_fd, struct project_range range);
