# SPDX-License-Identifier: Apache-2.0
"""What the daemon's lasting processes have open is the same before and after each method of the
interface, whether it succeeds or not."""

import collections
import os
import pathlib
import re
import signal
import socket
import time

import pytest

from instance import RUN_SECONDS, wait_until
from resident import MALLORY, Control, Raw, run_parameters, version

IDL = pathlib.Path(__file__).resolve().parents[2] / "src/varlink/io.isolate.varlink"
METHODS = re.findall(r"^method (\w+)", IDL.read_text(), re.M)
TIMES = 3
LASTING = {b"--builder", b"isolate-nursery", b"isolate-decoder"}
NO = "there_is_no_such_thing"


def open_files(service):
    """{(process, what): how many} of the daemon, its builders, the nursery and the decoders."""
    found = collections.Counter()
    for pid in (service.process.pid, *service.helpers()):
        try:
            words = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            if pid != service.process.pid and not LASTING & set(words):
                continue
            for fd in os.listdir(f"/proc/{pid}/fd"):
                what = re.sub(r"\d+", "N", os.readlink(f"/proc/{pid}/fd/{fd}"))
                # the log and the end of a detached sandbox are kept for who asks later
                if "/logs/t_" not in what:
                    found[(b" ".join(words[:2]).decode(), pid, what)] += 1
        except OSError:
            continue
    return found


def settled(service):
    """The same when no call is being worked on."""
    last = [None]

    def rests():
        last.append(open_files(service))
        time.sleep(0.3)
        return last[-1] == last[-2] and not list((service.runtime / "sandboxes").glob("[!.]*"))
    assert wait_until(rests, RUN_SECONDS), last[-2:]
    return last[-1]


class Callers:
    """Root's connection and a member's, which stay, so that their decoders do."""

    def __init__(self, service):
        self.service = service
        self.version = version(service)
        self.root = Raw(service, 0, (0,))
        self.member = Raw(service, MALLORY)

    def close(self):
        self.root.socket.close()
        self.member.socket.close()

    def succeed(self, method, fds=(), more=False, **parameters):
        """The last reply."""
        self.root.ask(method, fds, more, **parameters)
        while True:
            answer = self.root.receive()
            assert answer and "error" not in answer, answer
            if not answer.get("continues"):
                return answer["parameters"]

    def fail(self, raw, wanted, method, fds=(), more=False, **parameters):
        answer = raw.call(method, fds, more, **parameters)
        assert answer and answer.get("error", "").split(".")[-1] == wanted, answer

    def run(self, method="Run", **parameters):
        control = Control()
        try:
            return self.succeed(method, [control.theirs.fileno()], True, **run_parameters(self.service, **parameters))
        finally:
            control.close()

    def detach(self):
        parameters = run_parameters(self.service, detach=True, argv=["/attack/ids", "1000"])
        del parameters["control"]
        return self.succeed("Run", more=True, **parameters)["id"]

    def with_control(self, method, **parameters):
        control = Control([])
        try:
            return self.succeed(method, [control.theirs.fileno()], **parameters)
        finally:
            control.close()

    def end(self, sandbox):
        self.succeed("Kill", name=sandbox, signal=9)
        self.succeed("Wait", name=sandbox)

    def keep(self):
        return self.run(keep=True)["id"]


# Each leaves everything as it was.


def run(callers):
    assert callers.run()["exit"]["code"] == 0
    assert callers.run(argv=["/attack/look", "/etc"], engine="native", tmpfs=[{"target": "/mnt"}])["state"] == "ended"


def explain(callers):
    request = run_parameters(callers.service)
    del request["control"]
    assert callers.succeed("Explain", request=request)["plan"]


def hold(callers, then):
    held = callers.run(pre_hook=True)
    assert held["state"] == "held"
    if then == "Release":
        return callers.succeed("Release", id=held["id"])
    # its client, which closed its control socket, is gone for init
    callers.root.ask("Continue", more=True, id=held["id"])
    while callers.root.receive().get("continues"):
        pass
    return None


def in_a_sandbox(callers, method):
    sandbox = callers.detach()
    if method == "Exec":
        control = Control()
        callers.succeed("Exec", [control.theirs.fileno()], sandbox=sandbox, control=0, argv=["/attack/look"],
                        client=callers.version)
        control.close()
    elif method == "Attach":
        callers.with_control("Attach", name=sandbox, control=0)
    else:
        more = {"signal": signal.SIGCONT} if method == "Kill" else {}  # of which it does not end
        callers.succeed(method, name=sandbox, **more)
    callers.end(sandbox)


def of_a_kept_one(callers, method):
    sandbox = callers.keep()
    if method == "Diff":
        callers.succeed("Diff", more=True, name=sandbox)
    elif method == "Commit":
        callers.succeed("Commit", name=sandbox, template="t")
    callers.succeed("Remove", name=sandbox)


def template(callers, method):
    t = callers.succeed
    t("TemplateCreate", name="other", source=f"dir:{callers.service.root}")
    if method == "TemplateRollback":
        first = t("TemplateInspect", name="other")["template"]["generations"][0]["id"]
        t("TemplateSnapshot", name="other")
        t("TemplateRollback", name="other", generation=first)
    elif method in ("TemplateInspect", "TemplateHash", "TemplateSnapshot"):
        t(method, name="other")
    t("TemplateRemove", name="other")


def pool(callers):
    callers.succeed("PoolSet", template="t", wanted=0)
    run(callers)
    callers.succeed("PoolRefresh")
    callers.succeed("PoolDrain")


def stock(callers):
    callers.succeed("PoolStock", template="t", wanted=2)
    callers.succeed("PoolStock", template="t", wanted=0)


def plain(method, **parameters):
    return lambda callers: callers.succeed(method, **parameters)


SUCCESSES = {
    "Run": run, "Explain": explain, "Continue": lambda c: hold(c, "Continue"),
    "Release": lambda c: hold(c, "Release"),
    **{name: lambda c, name=name: in_a_sandbox(c, name) for name in ("Exec", "Kill", "Attach", "Logs", "Inspect")},
    "Wait": lambda c: c.end(c.detach()),
    **{name: lambda c, name=name: of_a_kept_one(c, name) for name in ("Diff", "Commit", "Remove")},
    **{name: lambda c, name=name: template(c, name) for name in METHODS
       if name.startswith("Template") and name not in ("TemplateAdopt", "TemplateList")},
    **{name: pool for name in ("PoolSet", "PoolRefresh", "PoolDrain")}, "PoolStock": stock,
    "List": plain("List", all=True, stats=True), "Prune": plain("Prune", kept=True),
    **{name: plain(name) for name in ("EngineList", "Policy", "PoolList", "Status", "StorageList", "TemplateList")},
}
# TemplateAdopt takes a ZFS dataset, StorageForget a storage elsewhere
ELSEWHERE = {"TemplateAdopt", "StorageForget"}

# method: (error, parameters, more) of a member who may call it
OF_NOTHING = {
    "Continue": ("NotFound", {"id": NO}, True), "Release": ("NotFound", {"id": NO}, False),
    "Explain": ("Invalid", {"request": {}}, False), "Diff": ("NotFound", {"name": NO}, True),
    "TemplateInspect": ("NotFound", {"name": NO}, False), "List": ("Protocol", {}, False),
    **{name: ("NotFound", {"name": NO}, False) for name in ("Kill", "Wait", "Logs", "Inspect", "Remove")},
    "Policy": ("Denied", {"user": "root"}, False),
    **{name: ("Protocol", {}, False) for name in ("EngineList", "PoolList", "TemplateList")},
}
ROOT_ONLY = {"PoolSet", "PoolRefresh", "PoolStock", "PoolDrain", "Commit", "Prune", "Status", "StorageList",
             "StorageForget"} | {name for name in METHODS if name.startswith("Template")} - {
                 "TemplateList", "TemplateInspect"}


def with_fds(callers, method):
    """A member sends fds, of which one may not be sent or none is asked for."""
    one, two = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    path = os.open("/", os.O_PATH)
    pipe = os.pipe()
    for fds in ([path] * 100, [one.fileno(), pipe[0]]):
        answer = callers.member.call(method, fds, True, name=NO, id=NO)
        assert answer["error"] in ("io.isolate.Protocol", "io.isolate.Denied"), answer
    os.close(path), os.close(pipe[0]), os.close(pipe[1])
    one.close(), two.close()


def errors_of_run(callers):
    for bad, wanted in (({"template": NO}, "NotFound"), ({"argv": 7}, "Invalid"), ({"engine": NO}, "Denied"),
                        ({"user": NO}, "NotFound"), ({"generation": NO}, "NotFound"), ({"first_id": 1000000}, "Denied"),
                        ({"binds": [{"fd": 0, "target": "/mnt", "source": "/"}]}, "Unsupported")):
        control = Control()
        callers.fail(callers.member, wanted, "Run", [control.theirs.fileno()], True,
                     **run_parameters(callers.service, **bad))
        control.close()
    control = Control()
    # before it is executed, in the sandbox
    callers.fail(callers.member, "NoCommand", "Run", [control.theirs.fileno()], True,
                 **run_parameters(callers.service, argv=["/" + NO]))
    control.close()


def error(callers, method):
    if method == "Run":
        errors_of_run(callers)
    elif method in ("Exec", "Attach"):
        control = Control()
        parameters = {"name": NO}
        if method == "Exec":
            parameters = {"sandbox": NO, "argv": ["x"], "client": callers.version}
        callers.fail(callers.member, "NotFound", method, [control.theirs.fileno()], control=0, **parameters)
        control.close()
    elif method in ROOT_ONLY:
        callers.fail(callers.member, "Denied", method, name=NO)
    else:
        wanted, parameters, more = OF_NOTHING[method]
        if wanted != "Protocol":
            callers.fail(callers.member, wanted, method, (), more, **parameters)
    if method not in ("Run", "Explain"):
        with_fds(callers, method)


@pytest.fixture
def callers(service):
    made = Callers(service)
    yield made
    made.close()


def check(service, callers, act):
    act(callers) # what is opened once and stays
    before = settled(service)
    assert len({pid for _, pid, _ in before}) == 6, "daemon, two builders, nursery, two decoders"
    for _ in range(TIMES):
        with Raw(service) as another:
            another.call("PoolList")
            act(callers)
    assert wait_until(lambda: open_files(service) == before, 15), (
        f"new: {open_files(service) - before}, gone: {before - open_files(service)}")


@pytest.mark.parametrize("method", METHODS)
def test_success(service, callers, method):
    if method in ELSEWHERE:
        pytest.skip("needs a storage that the machine may not have")
    check(service, callers, SUCCESSES[method])


@pytest.mark.parametrize("method", METHODS)
def test_error(service, callers, method):
    check(service, callers, lambda callers: error(callers, method))
