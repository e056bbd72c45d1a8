/* SPDX-License-Identifier: Apache-2.0 */
/* isolated: the privileged side of isolate. Without arguments it is the resident daemon;
 * `isolated --oneshot FD` serves one client; `isolated --keeper` is in keeper.c. Runs as root.
 */
#include "base/log.h"
#include "base/parse.h"
#include "base/text.h"
#include "daemon/builder.h"
#include "daemon/keeper.h"
#include "daemon/start.h"
#include "paths.h"
#include "sys/fd.h"
#include "sys/process.h"

#include <fcntl.h>
#include <string.h>

static int usage(void)
{
    log_error("isolated: usage: isolated [--oneshot FD | --keeper | --version]");
    return 125;
}

static int start_oneshot(const char *number)
{
    uint32_t fd = 0;
    struct error err = {0};
    if (parse_u32(number, 3, 65535, &fd, "--oneshot", &err) < 0) {
        log_error("isolated: %s", err.text);
        return 125;
    }
    /* the caller's other descriptors are not ours to hold */
    if ((fd > 3 && close_range(3, fd - 1, 0) < 0) || close_from((int)fd + 1) < 0) {
        log_error("isolated: close inherited descriptors (close_range): %s", strerror(errno));
        return 125;
    }
    if (fcntl((int)fd, F_SETFD, FD_CLOEXEC) < 0) {
        log_error("isolated: --oneshot %u: no such descriptor", fd);
        return 125;
    }
    return oneshot_main((int)fd);
}

int main(int argc, char **argv)
{
    if (fd_open_missing_stdio() < 0)
        return 125;
    if (argc == 1)
        return resident_main();
    if (argc == 2 && streq(argv[1], "--builder"))
        return builder_main();
    if (argc == 2 && streq(argv[1], "--keeper"))
        return keeper_main();
    if (argc == 2 && streq(argv[1], "--version")) {
        (void)printf("isolated %s\n", ISOLATE_VERSION);
        return 0;
    }
    return argc == 3 && streq(argv[1], "--oneshot") ? start_oneshot(argv[2]) : usage();
}
