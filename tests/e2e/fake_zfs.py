# SPDX-License-Identifier: Apache-2.0
"""An installation whose `zfs` and `zpool` are a script that knows a list of names: what isolate says
where ZFS does not answer, or a pool is not imported. It has a mount namespace of its own, in which the
script lies over the real programs. Nothing can be started from such templates."""

import os
import subprocess

from sandboxes import Instance

NAMES = ("zfs", "zpool")
# where isolated looks for programs, in order
DIRECTORIES = ("/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin")

SCRIPT = r"""#!/bin/sh
if [ -e {base}/silence ]; then cat {base}/silence >&2; exit 1; fi
[ "${{0##*/}}" = zfs ] || exit 0
for last; do :; done
grep -qxF "$last" {base}/datasets || {{ echo "cannot open '$last': dataset does not exist" >&2; exit 1; }}
case "$*" in
get*" all "*) printf 'type\tfilesystem\t-\nmountpoint\tnone\tlocal\nmounted\tno\t-\n' ;;
get*) printf '%s@20260101T000000Z\tcreation\t1767225600\n' "$last" ;;
list*) sed -n 's,^\('"$last"'\(/[^/]*\)\?\)$,\1\t-,p' {base}/datasets ;;
esac
"""

# the last lines of what the commands print where the kernel's module or the daemon is missing
NO_MODULE = "The ZFS modules cannot be auto-loaded.\nTry running 'modprobe zfs' as root to manually load them.\n"
NO_DAEMON = ("connect: No such file or directory\nPlease make sure that the zfs-fuse daemon is running.\n"
             "internal error: failed to initialize ZFS library\n")


def is_real():
    return os.path.exists("/sys/module/zfs")


class FakeZfs(Instance):
    def __init__(self, base, name):
        super().__init__(base, name)
        (self.base / "silence").unlink(missing_ok=True)
        script = self.base / "fake-zfs"
        script.write_text(SCRIPT.format(base=self.base))
        script.chmod(0o755)
        self.have("rpool", "rpool/isolate", "rpool/isolate/deb")
        self.holder = subprocess.Popen(["unshare", "--mount", "--propagation", "private", "sh", "-ec",
                                        "\n".join([*self.mounts(script), "echo ready", "exec sleep 3600"])],
                                       stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        assert self.holder.stdout.readline() == "ready\n"

    @staticmethod
    def mounts(script):
        found = {name: [f"{directory}/{name}" for directory in DIRECTORIES if os.path.exists(f"{directory}/{name}")]
                 for name in NAMES}
        if not all(found.values()):
            yield f"mount -t tmpfs -o mode=0755 tmpfs {DIRECTORIES[-1]}"
        for name in NAMES:
            at = found[name][0] if found[name] else f"{DIRECTORIES[-1]}/{name}"
            yield f"[ -e {at} ] || : >{at}"
            yield f"mount --bind {script} {at}"

    def have(self, *datasets):
        """There are these, and no others."""
        (self.base / "datasets").write_text("".join(f"{name}\n" for name in datasets))

    def silence(self, complaint):
        """From now on nobody answers."""
        (self.base / "silence").write_text(complaint)

    def call(self, argv, **kw):
        return super().call(["nsenter", f"--mount=/proc/{self.holder.pid}/ns/mnt", *argv], **kw)

    def start_resident(self, **kw):
        """Not here: it would be outside of that namespace."""

    def remove(self):
        super().remove()
        self.holder.kill()
        self.holder.wait()
