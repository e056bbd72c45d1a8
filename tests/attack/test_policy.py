# SPDX-License-Identifier: Apache-2.0
"""Members who want more than policy gives them (32), with messages of their own making: what the client
checks does not count. Control: root, or a member of the group that may."""

import signal
import time

import pytest

from instance import RUN_SECONDS, wait_until
from resident import BERT, MALLORY, MEMBERS, Control, Raw, Resident, run_parameters

STAFF = 61501
POLICY = f"""
[Policy]
Time=60s
Engines=native
Capabilities=default
"""
OF_STAFF = "[Policy]\nTime=1h\nEngines=bwrap\nNetworks=host\nCapabilities=NET_ADMIN\nMemory=infinity\n"
OF_SECRET = f"[Policy]\nGroups={STAFF}\n"


@pytest.fixture(scope="module")
def service():
    made = Resident(POLICY)
    try:
        done = made.call("template", "create", "secret", "--from", f"dir:{made.root}")
        assert done.returncode == 0, done
        for folder, name, text in (("groups.d", STAFF, OF_STAFF), ("templates.d", "secret", OF_SECRET)):
            (made.directory / folder).mkdir()
            (made.directory / folder / f"{name}.conf").write_text(text)
        reload(made)
        yield made
    finally:
        made.close()


def reload(service):
    with open(service.log.name, encoding="utf-8") as log:
        log.seek(0, 2)
        service.process.send_signal(signal.SIGHUP)
        assert wait_until(lambda: "configuration" in log.read(), RUN_SECONDS)


def answer(service, uid, groups, method="Run", /, **parameters):
    """"started", or the name of the error."""
    control = Control()
    try:
        with Raw(service, uid, groups) as raw:
            if method == "Run":
                parameters = run_parameters(service, **parameters)
            said = raw.call(method, [control.theirs.fileno()] if method == "Run" else [], more=method == "Run",
                            **parameters)
    finally:
        control.close()
    return said.get("error", "started").split(".")[-1], said["parameters"]


MORE = {
    "time_above_the_ceiling": {"timeout_ms": 60001},
    "time_of_years": {"timeout_ms": 1 << 53},
    "engine": {"engine": "bwrap"},
    "network": {"network": "host"},
    "capability": {"cap_add": ["NET_ADMIN"]},
    "capability_dropped_before": {"cap_drop": ["ALL"], "cap_add": ["CHOWN", "cap_net_admin"]},
    "template": {"template": "secret"},
    "template_by_generation": {"template": "secret", "generation": "GENERATION"},
}


@pytest.mark.parametrize("what", MORE)
@pytest.mark.parametrize("asked_by", ["Run", "Explain"])
def test_more_than_policy_gives(service, judge, what, asked_by):
    parameters = dict(MORE[what])
    if "generation" in parameters:
        with Raw(service, 0) as raw:
            template = raw.call("TemplateInspect", name="secret")["parameters"]["template"]
        parameters["generation"] = template["generations"][0]["id"]
    said = {}
    for uid, groups in ((MALLORY, (MEMBERS,)), (BERT, (MEMBERS, STAFF))):
        if asked_by == "Run":
            said[uid] = answer(service, uid, groups, **parameters)
        else:
            request = run_parameters(service, **parameters)
            del request["control"]
            said[uid] = answer(service, uid, groups, "Explain", request=request)
    error, message = said[MALLORY]
    assert what.startswith("template") or "ceiling" in str(message) or "for root only" in str(message), message
    control = said[BERT][0] if what != "time_of_years" else answer(service, 0, (0,), **parameters)[0]
    judge(32, f"{what}_by_{asked_by}", f"denied {error}", "SUCCEEDED" if control == "started" else
          f"denied {control}", {"Denied"})


def test_who_leaves_a_group_has_no_more(service, judge):
    """A file that takes something from a group's members is not taken: they would leave the group."""
    path = service.directory / "groups.d" / f"{STAFF}.conf"
    path.write_text("[Policy]\nTime=1s\n")
    reload(service)
    try:
        within = answer(service, BERT, (MEMBERS, STAFF), timeout_ms=60000)[0]
        without = answer(service, BERT, (MEMBERS,), timeout_ms=60000)[0]
        above = answer(service, BERT, (MEMBERS,), timeout_ms=60001)[0]
        assert (within, without) == ("started", "started"), "both have what all have"
        judge(32, "group_left", f"denied {above}", "SUCCEEDED", {"Denied"})
    finally:
        path.write_text(OF_STAFF)
        reload(service)


@pytest.mark.parametrize("parameters", [{"groups": [STAFF]}, {"uid": 0}, {"imposed": []}, {"policy": "none"}])
def test_rights_are_not_said_by_the_caller(service, judge, parameters):
    error, _ = answer(service, MALLORY, (MEMBERS,), network="host", **parameters)
    judge(32, f"says_{next(iter(parameters))}", f"denied {error}", "SUCCEEDED", {"Invalid"})


def test_time_is_not_bought_by_exec(service):
    """What is started late in a sandbox ends with it. A TERM is ignored, so it takes ten seconds more."""
    config = service.directory / "isolated.conf"
    text = config.read_text()
    config.write_text(text.replace("Time=60s", "Time=1s"))
    reload(service)
    try:
        started = time.monotonic()
        done = service.call("run", "-d", "--name", "late", "t", "--", "/attack/ids", "1000", uid=MALLORY)
        assert done.returncode == 0, done
        done = service.call("exec", "late", "--", "/attack/ids", "1000", uid=MALLORY)
        assert done.returncode != 0 and time.monotonic() - started < RUN_SECONDS, done
        assert wait_until(lambda: not service.call("ps", uid=MALLORY).stdout.count("late"), RUN_SECONDS)
    finally:
        config.write_text(text)
        reload(service)
