# SPDX-License-Identifier: Apache-2.0
"""The daemon of the attacks, built with AddressSanitizer and UndefinedBehaviorSanitizer."""

import os
import pathlib
import sys
import tempfile

import pytest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "attack"))

from resident import Raw, Resident, users_with_lines, wait_until  # noqa: E402


class Watched(Resident):
    """One whose sanitizers write what they find into files, leaks at its end included."""

    def __init__(self, directory):
        self.reports = directory
        super().__init__(environment={
            "ASAN_OPTIONS": f"log_path={directory}/asan:detect_leaks=1:exitcode=99",
            "UBSAN_OPTIONS": f"log_path={directory}/ubsan:print_stacktrace=1:halt_on_error=1"})
        self.lasting = set()

    def findings(self):
        return "\n".join(path.read_text(errors="replace")[:20000] for path in sorted(self.reports.iterdir()))

    def remains(self):
        """What there is, for the report of a failure."""
        records = [path.read_text(errors="replace") for path in self.runtime.glob("sandboxes/*")]
        return "\n".join([*self.leftovers(), *records, self.call("ps", "-a", uid=0, groups="").stdout,
                          pathlib.Path(self.log.name).read_text(errors="replace")[-4000:]])

    def clean(self):
        """Everything that was started, kept or parked goes."""
        with Raw(self, 0, (0,)) as raw:
            raw.call("PoolDrain")
            for name in ("u", "v"):
                raw.call("PoolStock", template=name, wanted=0, used=True)
            raw.call("Prune")  # what a call left that was given up in the middle

            def is_empty():
                for sandbox in raw.call("List", all=True)["parameters"]["sandboxes"]:
                    raw.call("Kill", name=sandbox["id"], signal=9)
                    raw.call("Remove", name=sandbox["id"])
                return set(self.leftovers()) <= self.lasting
            return wait_until(is_empty, 60)


@pytest.fixture
def watched():
    if os.geteuid() != 0:
        pytest.skip("needs root")
    if b"__asan_init" not in (pathlib.Path(os.environ["ISOLATE_BUILD"]) / "isolated").read_bytes():
        pytest.fail("ISOLATE_BUILD is no build with -Db_sanitize=address,undefined")
    with users_with_lines(), tempfile.TemporaryDirectory(prefix="isolate-fuzz-") as name:
        directory = pathlib.Path(name)
        directory.chmod(0o777)
        made = Watched(directory)
        try:
            yield made
        finally:
            made.close()
