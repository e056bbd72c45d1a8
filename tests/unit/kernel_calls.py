#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Prints the names of the system calls that the installed headers of the kernel know, as C strings.
Arguments: the C compiler's command."""

import re
import subprocess
import sys

macros = subprocess.run([*sys.argv[1:], "-E", "-dM", "-x", "c", "-"], input="#include <asm/unistd.h>\n",
                        capture_output=True, text=True, check=True).stdout
names = sorted(set(re.findall(r"^#define __NR_(\w+) \S", macros, re.M)) - {"syscalls", "arch_specific_syscall"})
if len(names) < 250:
    sys.exit("the headers name %d system calls: that cannot be all" % len(names))
for name in names:
    print('"%s",' % name)
