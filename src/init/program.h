/* SPDX-License-Identifier: Apache-2.0 */
/* What the file of a program says of itself. The files are the sandbox's and hostile: read only
 * where they are regular, and as far as a header goes; nothing of them is executed. */
#pragma once

#include "base/error.h"

#include <limits.h>
#include <stdbool.h>
#include <sys/stat.h>

/* Opens a regular file for reading, following symlinks; anything else is -EINVAL, without
 * waiting for it. */
int program_open(const char *path, struct stat *ret) _must_check_;

/* What an ELF program of this machine's word size names as its dynamic linker; false where it
 * names none. Source: elf(5). */
bool program_linker(const char *path, char ret[static PATH_MAX]);

/* Fails with the reason for which execvp(file) has just failed with errnum: no such command, an
 * interpreter that is missing, another architecture, no program at all. */
int program_refused(const char *file, int errnum, struct error *err) _must_check_;
