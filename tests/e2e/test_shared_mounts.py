# SPDX-License-Identifier: Apache-2.0
"""Where mounts are shared, as systemd makes all of them, nothing that is mounted in a sandbox may
appear on the machine: each run is watched in a mount namespace of its own that is shared."""
import subprocess

import pytest

WATCH = """
    seen() { cut -d' ' -f3- /proc/self/mountinfo | sort; }
    "$@" >/dev/null || exit 1   # the first run may mount the runtime directory
    before=$(seen)
    "$@" || exit 1
    [ "$before" = "$(seen)" ] || { seen; exit 2; }
"""


def watched(instance, options, command, **kw):
    return subprocess.run(
        ["unshare", "--mount", "--propagation", "shared", "--", "sh", "-c", WATCH, "sh",
         *map(str, instance.run_argv(options, command, kw.get("template")))],
        env=instance._environment(None), capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize("options", [
    [],
    ["--network", "host"],
    ["-v", "{one}:/x", "-v", "{two}:/x/sub"],
    ["-v", "{one}:/x", "--tmpfs", "/x/sub"],
    ["-v", "{one}:/x:rbind"],
    ["--storage", "dir"],
], ids=" ".join)
def test_no_mount_leaks(instance, tmp_path, options):
    one, two = tmp_path / "one", tmp_path / "two"
    (one / "sub").mkdir(parents=True)
    two.mkdir()
    done = watched(instance, [o.format(one=one, two=two) for o in options], ["true"])
    assert done.returncode == 0, (done.stdout, done.stderr)
