# SPDX-License-Identifier: Apache-2.0
"""Where tests keep what is slow to make and may be used again: nothing needs to be there."""

import os
import pathlib


def cache_directory():
    """ISOLATE_TEST_CACHE, or the user's."""
    chosen = os.environ.get("ISOLATE_TEST_CACHE")
    if chosen:
        return pathlib.Path(chosen)
    base = os.environ.get("XDG_CACHE_HOME") or pathlib.Path("~/.cache").expanduser()
    return pathlib.Path(base) / "isolate-tests"
