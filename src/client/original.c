/* SPDX-License-Identifier: Apache-2.0 */
/* `isolate -z PARENT/NAME COMMAND…` of the original is `isolate run --storage zfs:PARENT NAME
 * -- COMMAND…`. Runs as the caller. */
#include "client/original.h"

#include "base/log.h"
#include "base/text.h"
#include "client/run.h"

#include <string.h>

int original_run(int argc, char **argv)
{
    char storage[256];
    const char *dataset = argc > 0 ? argv[0] : "";
    const char *slash = strrchr(dataset, '/');
    if (argc < 2 || !slash || !slash[1] || slash == dataset) {
        log_error("isolate -z: usage: " ORIGINAL_RUN ", DATASET as POOL/PARENT/NAME");
        return 125;
    }
    if (argv[1][0] == '-') {
        log_error("isolate -z: option \"%s\" of the original is not in this version yet; see "
                  "`isolate help run`",
                  argv[1]);
        return 125;
    }
    (void)snprintf(storage, sizeof(storage), "zfs:%.*s", (int)(slash - dataset), dataset);
    char **run = calloc((size_t)argc + 8, sizeof(*run));
    int n = 0;
    if (!run)
        return 125;
    if (isatty(STDIN_FILENO)) /* as the original does */
        run[n++] = (char[]){"-t"};
    run[n++] = (char[]){"--storage"};
    run[n++] = storage;
    run[n++] = argv[0] + (slash + 1 - dataset);
    run[n++] = (char[]){"--"};
    for (int i = 1; i < argc; i++)
        run[n++] = argv[i];
    int status = run_main("run", n, run);
    free(run);
    return status;
}
