# SPDX-License-Identifier: Apache-2.0
"""Where tests keep what is slow to make and may be used again: nothing needs to be there."""

import contextlib
import os
import pathlib
import shutil
import time


def cache_directory():
    """ISOLATE_TEST_CACHE, or the user's."""
    chosen = os.environ.get("ISOLATE_TEST_CACHE")
    if chosen:
        return pathlib.Path(chosen)
    base = os.environ.get("XDG_CACHE_HOME") or pathlib.Path("~/.cache").expanduser()
    return pathlib.Path(base) / "isolate-tests"


def remove_unused(paths, days):
    """What was not made, or used, for so long. Others may do the same at the same time."""
    for path in paths:
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_mtime >= time.time() - days * 86400:
                continue
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
