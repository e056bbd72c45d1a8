/* SPDX-License-Identifier: Apache-2.0 */
/* A fixture of two directories in one of its own, below TMPDIR: `from`, 0751, and `to`, 0700.
 */
#pragma once

#include "sys/fd.h"
#include "sys/tree.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

struct fixture {
    char path[256];
    int base;
    int from;
    int to;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    const char *base = getenv("TMPDIR");
    if (!f)
        return -1;
    (void)snprintf(f->path, sizeof(f->path), "%s/two-trees-XXXXXX", base ? base : "/tmp");
    if (!mkdtemp(f->path))
        return -1;
    f->base = open(f->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (mkdirat(f->base, "from", 0751) < 0 || mkdirat(f->base, "to", 0700) < 0)
        return -1;
    f->from = dir_open_at(f->base, "from");
    f->to = dir_open_at(f->base, "to");
    *state = f;
    return f->from < 0 || f->to < 0 ? -1 : 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    int r = tree_remove(AT_FDCWD, f->path);
    fd_close(f->from);
    fd_close(f->to);
    fd_close(f->base);
    free(f);
    return r;
}
