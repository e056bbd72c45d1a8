# SPDX-License-Identifier: Apache-2.0
"""A member takes all that there is of something that everybody needs: processes that work on calls,
space for records. Others must be served. Part of attack 27."""

import contextlib

from resident import BERT, MALLORY, Control, Raw, run_parameters

BIG = "x" * 100000


def big_environment(megabytes):
    return [f"A{i}={BIG}" for i in range(int(megabytes * 10))]


def run_one(service, raw, megabytes, **more):
    control = Control()
    raw.ask("Run", [control.theirs.fileno()], more=True, **run_parameters(
        service, env=big_environment(megabytes), **more))
    return control


def test_calls_whose_answer_nobody_reads(service):
    """Each of them keeps a process of isolated's busy: that uid's share of them."""
    with Raw(service) as raw:
        control = run_one(service, raw, 1, keep=True, name="big", argv=["/attack/look"])
        while raw.receive().get("continues"):
            pass
        control.close()
    with contextlib.ExitStack() as stack:
        for n in range(300):  # more than all have together
            raw = stack.enter_context(Raw(service))
            raw.ask("List", all=True)
        for _ in range(3):
            assert service.serves()
            with Raw(service, BERT) as other:
                assert "error" not in other.call("List")
            assert service.call("ps", uid=0).returncode == 0
        with Raw(service) as raw:
            assert raw.call("List")["error"] == "io.isolate.Busy"
    assert service.call("rm", "big", uid=MALLORY).returncode == 0


def test_all_who_wait_hear_of_the_end(service):
    """Many replies at once to one user are no reason to end who passes them on."""
    with contextlib.ExitStack() as stack:
        first = stack.enter_context(Raw(service))
        control = run_one(service, first, 0, name="awaited", argv=["/attack/ids", "1000"])
        while first.receive()["parameters"].get("state") != "started":
            pass
        waiting = [stack.enter_context(Raw(service)) for _ in range(250)]
        for raw in waiting:
            raw.ask("Wait", name="awaited")
        assert service.serves()
        with Raw(service) as other:
            other.call("Kill", name="awaited", signal=9)
        for raw in waiting:
            assert raw.receive()["parameters"]["exit"] == {"kind": "signaled", "signal": 9}
        control.close()


def test_records_of_large_requests(service):
    """What a request says is written down: one user's cannot fill the runtime directory."""
    with contextlib.ExitStack() as stack:
        controls = []
        # from coarse to fine, until the last page is taken
        for megabytes, times in ((1.5, 50), (0.1, 20), (0, 60)):
            for _ in range(times):
                raw = stack.enter_context(Raw(service))
                controls.append(run_one(service, raw, megabytes, argv=["/attack/ids", "1000"]))
                raw.receive()
            assert service.serves()
        for control in controls:
            control.close()
