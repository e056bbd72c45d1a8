# SPDX-License-Identifier: Apache-2.0
"""What takes long is left to ./check --long."""

import os

import pytest


def pytest_configure(config):
    config.addinivalue_line("markers", "long: only with ISOLATE_LONG=1, which ./check --long sets")


def pytest_collection_modifyitems(items):
    if os.environ.get("ISOLATE_LONG"):
        return
    for item in items:
        if item.get_closest_marker("long"):
            item.add_marker(pytest.mark.skip(reason="takes long: only with ISOLATE_LONG=1, as in ./check --long"))
