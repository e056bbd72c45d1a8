/* SPDX-License-Identifier: Apache-2.0 */
/* Devices of a run: see run.h. Runs as the caller, whose rights open what is named. */
#include "client/run.h"

#include "base/text.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>

int draft_device(struct run_draft *draft, const char *value, struct error *err)
{
    char source[PATH_MAX];
    const char *colon = strchr(value, ':');
    size_t n = colon ? (size_t)(colon - value) : strlen(value);
    if (n == 0 || n >= sizeof(source) || (colon && colon[1] == '\0'))
        return fail(err, ERROR_INVALID, EINVAL,
                    "--device \"%.200s\": write PATH or PATH:TARGET, for example /dev/fuse",
                    value);
    (void)snprintf(source, sizeof(source), "%.*s", (int)n, value);
    return run_draft_device(draft, source, colon ? colon + 1 : source, err);
}

#define GPU_DIRECTORY "/dev/dri"

int draft_gpu(struct run_draft *draft, struct error *err)
{
    bool any = false;
    _cleanup_closedir_ DIR *dir = opendir(GPU_DIRECTORY);
    for (struct dirent *entry = dir ? readdir(dir) : NULL; entry; entry = readdir(dir)) {
        char path[sizeof(GPU_DIRECTORY) + NAME_MAX + 1];
        if (!text_after(entry->d_name, "renderD"))
            continue;
        (void)snprintf(path, sizeof(path), "%s/%s", GPU_DIRECTORY, entry->d_name);
        int r = run_draft_device(draft, path, path, err);
        if (r < 0)
            return r;
        any = true;
    }
    return any ? 0
               : fail(err, ERROR_NOT_FOUND, ENODEV,
                      "--gpu: this machine has no %s/renderD*: no graphics processor, or no "
                      "driver for it (see dmesg)",
                      GPU_DIRECTORY);
}
