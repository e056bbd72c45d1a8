/* SPDX-License-Identifier: Apache-2.0 */
/* The original's command line, as far as it starts commands. */
#pragma once

/* `isolate -z DATASET COMMAND…`, without the "-z": the exit status. */
int original_run(int argc, char **argv);
