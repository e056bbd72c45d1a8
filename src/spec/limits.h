/* SPDX-License-Identifier: Apache-2.0 */
/* Limits of a sandbox, and their ranges: what the client checks, and isolated again. Pure. */
#pragma once

#include "spec/cpu_list.h"

#include <stdbool.h>
#include <stdint.h>

/* What the sandbox's cgroup and clone are held to; 0: not limited. */
struct run_limits {
    uint64_t memory_bytes;
    uint64_t swap_bytes; /* with has_swap */
    uint64_t cpus_milli; /* thousandths of one processor */
    uint64_t pids;       /* processes and threads, its init included */
    uint64_t disk_bytes; /* what the clone may take of its own */
    uint64_t io_weight;  /* its share of disks that are busy; the kernel's default is 100 */
    char cpuset[CPU_LIST_TEXT]; /* the processors that it may run on; "": all */
    bool has_swap;              /* without: with memory_bytes none, else not limited */
};

#define LIMIT_MEMORY_MIN (4ULL << 20) /* less holds no init and no command */
#define LIMIT_DISK_MIN   (1ULL << 20)
#define LIMIT_BYTES_MAX  (1ULL << 53) /* what a JSON number holds exactly */
/* What root may choose as the host id of a sandbox's 0: behind the ids of systems and users,
 * and so that 65536 end before those that mean nobody. */
#define FIRST_ID_MIN     65536U
#define FIRST_ID_MAX     4294901758U

#define LIMIT_CPUS_MIN 10 /* thousandths: the kernel's least quota */
#define LIMIT_CPUS_MAX 8192000
#define LIMIT_PIDS_MIN 2
#define LIMIT_PIDS_MAX 4194304 /* as many as Linux has */

#define LIMIT_IO_WEIGHT_MIN     1
#define LIMIT_IO_WEIGHT_MAX     10000
#define LIMIT_IO_WEIGHT_DEFAULT 100 /* more is for root: it is taken from others */

/* With so many bytes come as many files, directories and links, where the storage counts them:
 * what mke2fs makes in a file system of that size. */
static inline uint64_t limit_inodes(uint64_t disk_bytes)
{
    const uint64_t small = 512ULL << 20; /* up to there one for each 4096 bytes */
    uint64_t n = disk_bytes / 16384;
    uint64_t least = (disk_bytes < small ? disk_bytes : small) / 4096;
    return n > least ? n : least > 1024 ? least : 1024;
}
