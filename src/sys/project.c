/* SPDX-License-Identifier: Apache-2.0 */
/* Runs in isolated as root. Quotas are reached by an fd on their file system (Linux 5.14), so
 * that no path is looked up. */
#include "sys/project.h"

#include <errno.h>
#include <linux/dqblk_xfs.h>
#include <linux/fs.h>
#include <linux/quota.h>
#include <stdbool.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define BLOCK        1024          /* the unit of limits (QIF_DQBLKSIZE) */
#define SLACK        (1024 * 1024) /* bytes */
#define SLACK_INODES 64

static int quota(int dir_fd, unsigned command, uint32_t id, void *data)
{
    return syscall(SYS_quotactl_fd, dir_fd, QCMD(command, PRJQUOTA), id, data) < 0 ? -errno : 0;
}

static bool is_enforced(int dir_fd)
{
    struct fs_quota_statv state = {.qs_version = FS_QSTATV_VERSION1};
    return quota(dir_fd, Q_XGETQSTATV, 0, &state) == 0 && (state.qs_flags & FS_QUOTA_PDQ_ENFD);
}

/* What a project has; all 0 of one that has never been used. */
static int get(int dir_fd, uint32_t id, struct if_dqblk *ret)
{
    *ret = (struct if_dqblk){0};
    int r = quota(dir_fd, Q_GETQUOTA, id, ret);
    return r == -ENOENT ? 0 : r;
}

/* In bytes and inodes; 0: none. The soft limits say what the hard ones are when they are not
 * relaxed: a crash relaxes nothing for good. */
struct limits {
    uint64_t bytes;
    uint64_t inodes;
};
static const struct limits none = {0};

static int set(int dir_fd, uint32_t id, const struct limits *limits, bool relaxed)
{
    uint64_t slack = relaxed && limits->bytes > 0 ? SLACK : 0;
    struct if_dqblk block = {
        .dqb_bhardlimit = (limits->bytes + slack + BLOCK - 1) / BLOCK,
        .dqb_bsoftlimit = (limits->bytes + BLOCK - 1) / BLOCK,
        .dqb_ihardlimit = limits->inodes + (relaxed && limits->inodes > 0 ? SLACK_INODES : 0),
        .dqb_isoftlimit = limits->inodes,
        .dqb_valid = QIF_LIMITS,
    };
    return quota(dir_fd, Q_SETQUOTA, id, &block);
}

uint32_t project_of(int dir_fd)
{
    struct fsxattr attributes;
    return ioctl(dir_fd, FS_IOC_FSGETXATTR, &attributes) < 0 ? 0 : attributes.fsx_projid;
}

/* The one that project_assign gave it; 0: none. */
static uint32_t assigned(int dir_fd, struct project_range range)
{
    uint32_t id = project_of(dir_fd);
    return id >= range.first && id - range.first < range.n ? id : 0;
}

static int move_into(int dir_fd, uint32_t id)
{
    struct fsxattr attributes;
    if (ioctl(dir_fd, FS_IOC_FSGETXATTR, &attributes) < 0)
        return -errno;
    attributes.fsx_projid = id;
    attributes.fsx_xflags |= FS_XFLAG_PROJINHERIT;
    return ioctl(dir_fd, FS_IOC_FSSETXATTR, &attributes) < 0 ? -errno : 0;
}

int project_assign(int dir_fd, struct project_range range)
{
    if (!is_enforced(dir_fd) || project_of(dir_fd) != 0)
        return 0;
    for (uint32_t id = range.first; id - range.first < range.n; id++) {
        struct if_dqblk usage;
        int r = get(dir_fd, id, &usage);
        if (r < 0)
            return r;
        if (usage.dqb_curspace > 0 || usage.dqb_curinodes > 0)
            continue; /* a layer that came of an earlier one's commit, say */
        r = usage.dqb_bhardlimit > 0 || usage.dqb_ihardlimit > 0 ? set(dir_fd, id, &none, false)
                                                                 : 0;
        return r < 0 ? r : move_into(dir_fd, id);
    }
    return -EBUSY;
}

int project_limit(int dir_fd, struct project_range range, uint64_t bytes, uint64_t inodes)
{
    struct if_dqblk usage;
    uint32_t id = assigned(dir_fd, range);
    if (id == 0)
        return -EOPNOTSUPP;
    int r = get(dir_fd, id, &usage);
    const struct limits limits = {usage.dqb_curspace + bytes, usage.dqb_curinodes + inodes};
    return r < 0 ? r : set(dir_fd, id, &limits, false);
}

static void change_slack(int dir_fd, struct project_range range, bool relaxed)
{
    struct if_dqblk now;
    uint32_t id = assigned(dir_fd, range);
    if (id == 0 || get(dir_fd, id, &now) < 0 || now.dqb_bsoftlimit == 0)
        return;
    const struct limits limits = {now.dqb_bsoftlimit * BLOCK, now.dqb_isoftlimit};
    (void)!set(dir_fd, id, &limits, relaxed);
}

void project_relax(int dir_fd, struct project_range range)
{
    change_slack(dir_fd, range, true);
}

void project_tighten(int dir_fd, struct project_range range)
{
    change_slack(dir_fd, range, false);
}

void project_release(int dir_fd, struct project_range range)
{
    uint32_t id = assigned(dir_fd, range);
    if (id != 0)
        (void)!set(dir_fd, id, &none, false);
}
