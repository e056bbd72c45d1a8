/* SPDX-License-Identifier: Apache-2.0 */
/* The original's command line, as far as it exists: what starts commands here, -r in
 * isolate-ctl. */
#pragma once

#define ORIGINAL_REFRESH "isolate -r DATASET [-f] [-s] [NUM]"
#define ORIGINAL_RUN     "isolate -z DATASET COMMAND [ARG…]"

/* `isolate -z DATASET COMMAND…`, without the "-z": the exit status. */
int original_run(int argc, char **argv);
