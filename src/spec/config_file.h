/* SPDX-License-Identifier: Apache-2.0 */
/* One file of the configuration, INI as systemd's. The files are root's; every key comes with
 * where it stands, so that what is wrong, or what follows from it, can be told. */
#pragma once

#include "base/error.h"

struct config_line {
    const char *section;
    const char *name;
    const char *value;
    const char *from; /* "FILE:LINE" */
};

/* Calls on_key for every key until it fails; its error gets "FILE:LINE: " in front. A line that
 * is neither [Section] nor Key=value, or too long to be read as a whole, is an error that says
 * so; -ENOENT and the like where the file cannot be opened. */
int config_file_read(const char *file,
                     int (*on_key)(void *data, const struct config_line *line,
                                   struct error *err),
                     void *data, struct error *err) _must_check_;
