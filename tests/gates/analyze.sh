#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# All checks of the static analyzer of clang 19, which is in Debian 12 as clang-tidy-19, but leaks:
# analyze.sh [BUILDDIR [FILE…]], as tidy.sh, of which this is another name. --self-test, too.
. "$(dirname "$0")/tidy.sh"
