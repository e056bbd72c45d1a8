#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The static analyzer of clang 19 over the sources that a build directory compiles:
analyze.py [BUILDDIR [FILE…]], as tidy.py, whose clang-tidy is older. --self-test, too."""
import sys

from tidy import Tidy, main

BAD = "#include <stdlib.h>\nint f(void)\n{\n    int *p = malloc(4);\n    free(p);\n    return *p;\n}\n"

if __name__ == "__main__":
    sys.exit(main(Tidy("analyze", "clang-tidy-19", 19, "tests/gates/analyze.yaml", BAD)))
