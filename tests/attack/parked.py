# SPDX-License-Identifier: Apache-2.0
"""The attacks' instance by way of a daemon: what is started on the template was parked before, by the
engine in question."""

import json

from instance import ENGINE, parse, tree_hash, wait_until
from resident import Resident

# states of records that are the pool's own
POOLS = {"cloning", "fresh", "parked"}
DEMAND = 6  # starts in a row, at most, until the pool keeps one ready
PARKED_SECONDS = 3


class Parked(Resident):
    mode = "resident"

    def __init__(self, engine=ENGINE):
        self.engine = engine
        super().__init__("[Pool]\nParked=2\nFresh=0\n", suffix=f"-parked-{engine.replace(':', '').replace('/', '')}")
        self.environment["ISOLATE_SOCKET"] = str(self.socket)
        self.template = "t"
        try:
            self.ask_for_some()
        except BaseException:  # nobody else has it yet
            self.close()
            raise

    def ask_for_some(self):
        for _ in range(DEMAND):
            self.run("look")
            if self.wait_for_parked():
                break
        assert self.ready(), f"nothing is parked with {self.engine}: {self.shape()}"

    def shape(self, template="t"):
        """What the pool says of the template with this engine; "": of directories."""
        done = self.call("pool", "--json")
        assert done.returncode == 0, done
        wanted = (self.engine.partition(":")[0], template)
        shapes = [one for one in json.loads(done.stdout) if (one["engine"], one["template"]) == wanted]
        return shapes[0] if shapes else {"ready": 0, "claims": 0}

    def ready(self):
        return self.shape()["ready"] > 0

    def wait_for_parked(self):
        return wait_until(self.ready, PARKED_SECONDS)

    def run(self, program, *arguments, **more):
        if more.get("root") is None:
            self.wait_for_parked()
        return super().run(program, *arguments, **more)

    def attack_by_exec(self, program, *arguments, options=(), root=None, **more):
        """The results of an attack program that is not a sandbox's first command."""
        if root is None:
            self.wait_for_parked()
        done = self.call("run", "-d", "--name", "attacked", *self.engine_options(), *options, str(root or self.template),
                         "--", "/attack/ids", "1000")
        assert done.returncode == 0, done
        try:
            done = self.call("exec", "attacked", "--", f"/attack/{program}", *arguments, **more)
            assert done.returncode == 0, done
            return parse(done.stdout)
        finally:
            self.call("kill", "-s", "KILL", "attacked")
            assert wait_until(lambda: "attacked" not in self.call("ps").stdout), "it lives on"

    def of_pool(self):
        """The ids of sandboxes that the pool keeps."""
        pools = set()
        for path in self.runtime.glob("sandboxes/*"):
            try:
                if json.loads(path.read_text().partition("\n")[0])["state"] in POOLS:
                    pools.add(path.name)
            except (OSError, ValueError):
                continue
        return pools

    def clones(self):
        return [path for path in super().clones() if path.name not in self.of_pool()]

    def leftovers(self):
        """Without what is the pool's, of which each range of ids names its sandbox."""
        found = []
        for path in super().leftovers():
            name = path.rpartition("/")[2]
            try:
                owner = open(path, encoding="ascii").read().strip() if "/ids/" in path else name
            except OSError:
                continue  # it goes
            found += [] if owner in self.of_pool() | {"decoders"} else [path]
        return found

    def host_state(self):
        layers = {str(path): tree_hash(path) for path in self.state.glob("*/layers/*/tree")}
        return super().host_state() | layers
