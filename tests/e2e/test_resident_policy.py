# SPDX-License-Identifier: Apache-2.0
"""Policy: what members may do by isolated.conf, groups.d and templates.d, through a resident daemon. Real
users and groups, by their numbers."""

import json
import os
import re
import shutil
import signal
import stat

import pytest

from sandboxes import MEMBERS, PATIENCE, wait_until
from services import Member, finish, refused

ANNE, BERT, CARL = 61301, 61302, 61303
STAFF, MORE = 61501, 61502  # groups of the machine without a name
CHOWN, NET_RAW, NET_ADMIN = 1 << 0, 1 << 13, 1 << 12
DEFAULT = 0x405fb  # what uid 0 of a sandbox has: capabilities(7)


@pytest.fixture
def anne(service):
    return Member(service, ANNE)


@pytest.fixture
def bert(service):
    """A member who is in a group more."""
    return Member(service, BERT, groups=f"{MEMBERS},{STAFF}")


@pytest.fixture
def carl(service):
    return Member(service, CARL, groups=f"{MEMBERS},{STAFF},{MORE}")


@pytest.fixture
def policy(service):
    """policy(all_members, staff=…, more=…, t=…): [Policy] of isolated.conf, of groups and of the template t,
    read by the daemon that runs."""
    folders = [service.base / name for name in ("groups.d", "templates.d")]

    def write(text="", t=None, **groups):
        service.write_configuration(extra=f"[Policy]\n{text}\n")
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
        if t is not None:
            (folders[1] / "t.conf").write_text(f"[Policy]\n{t}\n")
        for name, said in groups.items():
            number = {"staff": STAFF, "more": MORE}[name]
            (folders[0] / f"{number}.conf").write_text(f"[Policy]\n{said}\n")
        return reload(service)

    yield write
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


def reload(service):
    seen = len(service.log())
    service.resident.send_signal(signal.SIGHUP)
    wait_until(lambda: re.search("configuration (reloaded|stays)", service.log()[seen:]), PATIENCE, "the reload")
    return service.log()[seen:]


def capabilities(member, *options):
    done = member.run(options, ["sh", "-c", "while read a b; do [ $a = CapEff: ] && echo $b; done </proc/self/status; true"])
    assert done.returncode == 0, done
    return int(done.stdout, 16)


# --- lists ---


def test_networks_of_groups_and_of_a_template(policy, anne, bert):
    host = ["--network", "host"]
    policy(staff="Networks=host")
    refused(anne.run(host), "--network host", "for root only", "Networks=")
    assert bert.run(host).returncode == 0
    policy(staff="Networks=host", t="Networks=nat")
    refused(bert.run(host), "--network host", "not with this template", "templates.d/t.conf:2")
    assert bert.run().returncode == 0, "none is for everybody"
    policy("Networks=host nat")
    assert anne.run(host).returncode == 0
    refused(anne.run(["--network", "bridge=none"]), "bridge=none")
    policy("Networks=host", staff="Networks=bridge=a")
    assert bert.run(host).returncode == 0, "what a group has adds to it"


def test_older_keys_mean_the_same(service, policy, anne):
    service.settings["Network.Members"] = "host"
    policy("Networks=host")
    assert anne.run(["--network", "host"]).returncode == 0
    said = policy("Networks=nat")
    assert "say different things" in said and "old configuration stays" in said, said
    assert anne.run(["--network", "host"]).returncode == 0


def test_engines(service, policy, anne, bert):
    policy("Engines=bwrap", staff="Engines=native oci:/usr/bin/true")
    refused(anne.run(), "--engine native, the default", "for root only", "Engines=")
    refused(anne.run(["--engine", "native"]), "--engine native:")
    refused(anne.run(["--engine", "oci:/usr/bin/runc"]), "--engine oci:/usr/bin/runc:")
    assert anne.run(["--engine", "bwrap"]).returncode == 0
    assert bert.run().returncode == 0 and bert.run(["--engine", "bwrap"]).returncode == 0
    # it is executed, and is no runtime
    done = bert.run(["--engine", "oci:/usr/bin/true"])
    assert done.returncode == 125 and "for root only" not in done.stderr, done
    refused(bert.run(["--engine", "oci:/usr/bin/false"]), "oci:/usr/bin/false")
    refused(bert.run(["--engine", "chroot"]), "--engine chroot: for root only")
    policy(t="Engines=bwrap")
    refused(anne.run(), "not with this template", "t.conf:2")
    assert service.run().returncode == 0, "root is bound by nothing"


def test_every_engine_can_be_listed(service, policy):
    """All that isolate has, chroot excepted, which would make its users root."""
    engines = {engine["name"] for engine in json.loads(service.ok("engines", "--json"))}
    assert "reloaded" in policy(f"Engines={' '.join(engines - {'chroot'})}")
    assert "chroot isolates nothing" in policy("Engines=chroot")


def test_capabilities(policy, anne, bert):
    assert capabilities(anne) == DEFAULT
    policy(staff="Capabilities=NET_RAW")
    refused(anne.run(["--cap-add", "NET_RAW"]), "--cap-add CAP_NET_RAW", "for root only")
    assert capabilities(bert, "--cap-add", "NET_RAW") == DEFAULT | NET_RAW
    assert capabilities(bert) == DEFAULT, "it is for who asks"
    refused(bert.run(["--cap-add", "ALL"]), "--cap-add CAP_")
    policy(staff="Capabilities=NET_RAW", t="Capabilities=CHOWN")
    assert capabilities(bert) == CHOWN, "what a template does not give is not there"
    refused(bert.run(["--cap-add", "NET_RAW"]), "not with this template")
    refused(bert.run(["--cap-add", "SETUID"]), "not with this template")
    assert capabilities(bert, "--cap-drop", "ALL") == 0
    policy("Capabilities=")
    assert capabilities(anne) == 0
    policy("Capabilities=ALL")
    refused(anne.run(["--cap-add", "SYS_ADMIN"]), "CAP_SYS_ADMIN")


def test_exec_has_no_more_capabilities(service, policy, anne):
    policy(t="Capabilities=CHOWN", staff="Capabilities=default")
    process = anne.sleeper("--name", "one")
    policy()
    done = anne.isolate("exec", "one", "--", "sh", "-c", "while read a b; do [ $a = CapEff: ] && echo $b; done </proc/self/status; true")
    assert int(done.stdout, 16) == CHOWN, done
    finish(process)


def test_devices(service, policy, anne, bert):
    node = f"/dev/isolate-policy-{os.getpid()}"
    os.mknod(node, stat.S_IFCHR | 0o666, os.makedev(1, 3))
    os.chmod(node, 0o666)
    try:
        device = ["--device", f"{node}:/dev/x"]
        policy(staff=f"Devices={node}")
        refused(anne.run(device), node, "for root only", "Devices=")
        assert bert.run(device, ["sh", "-c", "echo x >/dev/x"]).returncode == 0
        policy(staff=f"Devices={node}", t="Devices=/dev/zero")
        refused(bert.run(device), node, "not with this template", "t.conf:2")
    finally:
        os.unlink(node)


# --- who may use a template ---


def test_closed_template(service, policy, anne, bert):
    policy(t=f"Users={BERT}")
    refused(anne.run(), 'template "t"', f"uid {ANNE}", "Users= of", "t.conf:2", "isolate policy")
    refused(anne.isolate("run", "--explain", "t"), 'template "t"')
    assert bert.run().returncode == 0 and service.run().returncode == 0
    policy(t=f"Groups={STAFF}")
    refused(anne.run(), "Groups= of")
    assert bert.run().returncode == 0
    policy(t=f"Users={ANNE}\nGroups={STAFF}")
    assert anne.run().returncode == 0 and bert.run().returncode == 0
    policy(t="Users=nobody-of-this-name")
    refused(anne.run(), 'template "t"')
    policy(t="Users=")
    assert anne.run().returncode == 0


def test_closed_template_is_listed_with_a_mark(service, policy, anne, bert):
    policy(t=f"Users={BERT}")
    denied = {member.uid: json.loads(member.ok("template", "ls", "--json"))[0].get("denied")
              for member in (anne, bert)}
    assert denied[BERT] is None and "Users= of" in denied[ANNE], denied
    assert "may not use it" in anne.ok("template", "ls")
    assert "denied" not in json.loads(service.ok("template", "ls", "--json"))[0]


@pytest.mark.settings({"Pool.Parked": 2})
def test_what_is_parked_is_under_it(service, policy, anne, bert):
    policy()
    service.ok("pool", "set", "t", "1")
    wait_until(service.parked, PATIENCE, "a parked sandbox")
    policy(t=f"Users={BERT}\nTime=1s")
    wait_until(service.parked, PATIENCE, "a parked sandbox")
    refused(anne.run(), 'template "t"')
    assert bert.run([], ["sleep", "30"]).returncode == 124
    policy(t="Users=x\nNo=key")
    wait_until(service.parked, PATIENCE, "a parked sandbox")
    refused(bert.run(), "t.conf:3", "No")
    service.ok("pool", "drain")


# --- ceilings ---


def test_time(policy, anne, bert):
    policy("Time=1s", staff="Time=2h")
    assert anne.run([], ["sleep", "30"]).returncode == 124
    refused(anne.run(["--timeout", "90s"]), "--timeout 90s: more than your ceiling, which is 1s", "Time= of", "isolated.conf:")
    assert anne.run(["--timeout", "900ms"], ["sleep", "30"]).returncode == 124
    assert bert.run(["--timeout", "90s"]).returncode == 0
    policy("Time=2h", staff="Time=infinity", t="Time=1s")
    assert bert.run([], ["sleep", "30"]).returncode == 124
    refused(bert.run(["--timeout", "2s"]), "t.conf:2")


def test_nothing_of_a_sandbox_outlives_its_time(policy, service, anne):
    """Neither what exec has started in it nor what nobody waits for."""
    policy("Time=2s")
    anne.ok("run", "-d", "--name", "one", "t", "--", "sleep", "600")
    done = anne.isolate("exec", "one", "--", "sh", "-c", "trap '' TERM; sleep 600")
    assert done.returncode != 0, done
    wait_until(lambda: not service.ps(), PATIENCE, "the end of all")


def test_sandboxes(policy, anne, bert):
    policy("Sandboxes=2", staff="Sandboxes=3", t="Sandboxes=1")
    process = anne.sleeper()
    refused(anne.run(), "you have 1 sandboxes of t already", "Sandboxes=", "t.conf:2")
    policy("Sandboxes=2", staff="Sandboxes=3")
    more = anne.sleeper()
    refused(anne.run(), "you have 2 sandboxes already", "isolated.conf:")
    his = [bert.sleeper() for _ in range(3)]
    refused(bert.run(), "you have 3 sandboxes already", f"groups.d/{STAFF}.conf:2")
    for one in [process, more, *his]:
        finish(one)
    policy(t="Sandboxes=1")
    assert anne.run(["--keep", "--name", "kept"]).returncode == 0
    refused(anne.run(["--keep"]), "1 kept sandboxes of t already", "t.conf:2")
    assert anne.run().returncode == 0
    anne.ok("rm", "kept")


@pytest.mark.parametrize("key, option", [("Memory=64M", "--memory"), ("CPUs=0.5", "--cpus"), ("Pids=64", "--pids"),
                                         ("Swap=0", "--swap")])
def test_limit_holds_or_nothing_runs(service, policy, anne, key, option):
    """Where this machine has no such controller a ceiling is no open door: nothing runs."""
    name, value = key.split("=")
    asked = service.run([option, value])
    policy(key)
    done = anne.run()
    if asked.returncode == 0:
        assert done.returncode == 0, done
    else:
        refused(done, f"{name}= of", "isolated.conf:", "holds for you", option, "controller")
    more = {"--memory": "65M", "--cpus": "0.6", "--pids": "65", "--swap": "1M"}[option]
    refused(anne.run([option, more]), f"{option} {more}" if option != "--cpus" else "--cpus 0.600",
            "more than your ceiling")
    assert service.run().returncode == 0


def test_swap_counts_as_memory_where_nothing_is_said_of_it(policy, anne, bert):
    """Otherwise a ceiling of memory would be none. What has no controller here is refused for that."""

    def too_much(*options):
        return "more than your ceiling" in anne.run(list(options)).stderr

    policy("Memory=64M")
    refused(anne.run(["--swap", "1M"]), "--swap 1M: with 64M of memory", "which is 64M for both", "Memory= of",
            "isolated.conf:", "without Swap=")
    assert too_much("--memory", "32M", "--swap", "33M")
    assert not too_much("--memory", "32M", "--swap", "32M")
    assert not too_much("--swap", "0")
    policy("Memory=64M\nSwap=infinity")
    assert not too_much("--memory", "64M", "--swap", "1G")
    policy("Memory=64M\nSwap=1M")
    assert not too_much("--memory", "64M", "--swap", "1M")
    assert too_much("--memory", "32M", "--swap", "2M")
    for swap in ("infinity", "1G"):
        policy("Memory=64M", t=f"Swap={swap}")
        assert too_much("--swap", "1M"), "what a template says only tightens"
        assert not too_much(), "who asks for no swap gets none that is too much"
    policy(t="Memory=64M")
    assert too_much("--swap", "1M")
    policy("Memory=64M", staff="Swap=infinity")
    assert too_much("--swap", "1M")
    assert "more than your ceiling" not in bert.run(["--swap", "1G"]).stderr
    policy("")
    assert not too_much("--swap", "1G")


def test_disk(service, policy, anne):
    asked = service.run(["--disk", "64M"])
    policy("Disk=64M")
    done = anne.run()
    assert (done.returncode == 0) == (asked.returncode == 0), (done, asked)
    if asked.returncode != 0:
        refused(done, "Disk= of", "isolated.conf:", "holds for you", asked.stderr[len("isolate: "):])
    refused(anne.run(["--disk", "65M"]), "--disk 65M: more than your ceiling, which is 64M")


# --- kept sandboxes: the policy of now ---


def test_kept_sandbox_is_started_under_the_policy_of_now(service, policy, anne):
    policy("Networks=host\nTime=1h")
    assert anne.run(["--keep", "--name", "kept", "--network", "host", "--timeout", "30m"]).returncode == 0
    policy("Networks=host\nTime=30m")
    assert anne.isolate("start", "kept").returncode == 0
    policy("Time=1h")
    refused(anne.isolate("start", "kept"), "--network host")
    policy("Networks=host\nTime=10m")
    refused(anne.isolate("start", "kept"), "--timeout 1800s", "ceiling")
    policy("Networks=host", t=f"Users={BERT}")
    refused(anne.isolate("start", "kept"), 'template "t"', "may not use it")
    policy("Networks=host", t="Nonsense=1")
    refused(anne.isolate("start", "kept"), "t.conf:2", "Nonsense")
    policy("Networks=host\nDisk=1G")
    refused(anne.isolate("start", "kept"), "was limited to infinity when it was made", "your ceiling is 1G")
    assert service.isolate("start", "kept").returncode == 0, "root is bound by nothing"
    assert anne.ok("diff", "kept") == "", "what is hers she sees and removes"
    anne.ok("rm", "kept")


# --- broken files ---


@pytest.mark.parametrize("broken", ["Networks=host\nNonsense=1", "Networks=host\nTime=1s", "Networks=host\nEngines=chroot",
                                    "Networks=host\nUsers=0"])
def test_broken_file_of_a_group_gives_nothing(service, policy, bert, carl, broken):
    said = policy(staff=broken, more="Networks=host")
    assert f"groups.d/{STAFF}.conf:3" in said and "reloaded" in said, said
    refused(bert.run(["--network", "host"]), "--network host")
    assert bert.run().returncode == 0
    assert carl.run(["--network", "host"]).returncode == 0, "the other group of his"


def test_broken_file_of_a_template_closes_it(service, policy, anne):
    said = policy(t="Networks=none\nNonsense=1")
    assert "t.conf:3" in said, said
    refused(anne.run(), "t.conf:3", "Nonsense")
    refused(service.run(), "t.conf:3")


def test_broken_policy_of_all_is_not_taken(service, policy, anne):
    policy("Time=1s")
    assert "old configuration stays" in policy("Time=2h\nNonsense=1")
    refused(anne.run(["--timeout", "90s"]), "ceiling")


def test_group_that_the_machine_does_not_have(service, policy):
    policy()
    (service.base / "groups.d" / "no-such-group.conf").write_text("[Policy]\nNetworks=host\n")
    assert 'no group "no-such-group"' in reload(service)


# --- explain ---


def test_explain_says_what_policy_sets(policy, anne, service):
    policy("Time=1h", t="Capabilities=CHOWN")
    plan = json.loads(anne.ok("run", "--explain", "--json", "t"))["plan"]
    assert plan["timeout_ms"] == 3600000 and plan["capabilities"] == ["CAP_CHOWN"], plan
    by = {item["what"]: item["from"] for item in plan["imposed"]}
    assert by["timeout_ms"].endswith(":" + str(line_of(service.config, "Time=1h")))
    assert by["capabilities"].endswith("/templates.d/t.conf:2")
    assert "set by policy" in anne.ok("run", "--explain", "t")
    asked = json.loads(anne.ok("run", "--explain", "--json", "--timeout", "5m", "t"))
    assert asked["plan"]["timeout_ms"] == 300000
    assert [item["what"] for item in asked["plan"]["imposed"]] == ["capabilities"]
    assert "timeout_ms" not in json.loads(anne.ok("run", "--explain", "--json", "t"))["spec"]
    assert json.loads(service.ok("run", "--explain", "--json", "t"))["plan"]["imposed"] == []


def line_of(path, text):
    return path.read_text().split("\n").index(text) + 1


# --- isolate policy ---


def shown(member, *arguments):
    return json.loads(member.ok("policy", "--json", *arguments))


def words(reply, key):
    return {item["word"]: item.get("closed_by") for item in reply["words"] if item["key"] == key}


def ceilings(reply):
    return {item["key"]: item.get("value") for item in reply["ceilings"]}


def test_policy_without_configuration(service, anne):
    reply = shown(anne)
    assert (reply["uid"], reply["root"], reply["member"]) == (ANNE, False, True), reply
    assert MEMBERS in reply["groups"] and "user" not in reply
    assert words(reply, "engine") == dict.fromkeys(["native", "bwrap", "lxc", "nspawn", "oci"])
    assert words(reply, "network") == {"none": None} and words(reply, "device") == {}
    assert len(words(reply, "capability")) == 10
    assert ceilings(reply) == {"memory_bytes": None, "swap_bytes": None, "cpus_milli": None, "pids": None,
                               "disk_bytes": None, "timeout_ms": None, "sandboxes": 256}
    assert {item["from"] for item in reply["words"]} == {"default"}
    assert reply["templates"] == [] and reply["problems"] == []
    table = anne.ok("policy")
    for line in (rf"user +uid {ANNE} +groups {ANNE} {MEMBERS}\n", r"engine +native bwrap lxc nspawn oci +default", r"--memory +no ceiling +default",
                 r"sandboxes +at most 256 +default", r"template +all others +default"):
        assert re.search(line, table), (line, table)


def test_policy_says_why(service, policy, anne, bert):
    policy("Memory=1G\nNetworks=nat", staff="Memory=2G\nNetworks=host", t=f"Groups={STAFF}\nNetworks=nat\nSandboxes=3")
    reply = shown(bert, "t")
    assert words(reply, "network") == {"none": None, "nat": None,
                                       "host": f"{service.base}/templates.d/t.conf:3"}, reply
    assert ceilings(reply)["memory_bytes"] == 2 << 30 and ceilings(reply)["sandboxes_of_template"] == 3
    by = {item["key"]: item["from"] for item in reply["ceilings"]}
    assert by["memory_bytes"] == f"{service.base}/groups.d/{STAFF}.conf:2"
    assert (reply["template"], reply["denied"]) == ("t", "")
    denied = shown(anne, "t")["denied"]
    assert "Groups= of" in denied and "t.conf:2" in denied
    refused(anne.isolate("policy", "no-such"), "no-such")
    assert denied in anne.run().stderr, "it says what a run says"
    assert [item["denied"] for item in shown(anne)["templates"]] == [denied]
    table = bert.ok("policy", "t")
    assert re.search(rf"network +not host +.*{STAFF}.conf:3, but not in .*t.conf:3", table), table
    assert re.search(rf"--memory +at most 2G +.*{STAFF}.conf:2", table), table
    assert re.search(r"template +not t +template .*may not use it", anne.ok("policy"))


def test_policy_and_runs_agree(policy, anne, bert, carl):
    """What is shown is what happens, for each network, engine and capability that there is a word for."""
    policy("Engines=native", staff="Networks=host\nEngines=bwrap", more="Capabilities=NET_RAW", t="Engines=native oci\nCapabilities=default")
    for member in (anne, bert, carl):
        reply = shown(member, "t")
        for key, options in (("network", ("none", "host")), ("engine", ("native", "bwrap", "lxc")),
                             ("capability", ("CAP_CHOWN", "CAP_NET_RAW", "CAP_SYS_PTRACE"))):
            open_words = {word for word, closed_by in words(reply, key).items() if not closed_by}
            for word in options:
                option = {"network": "--network", "engine": "--engine", "capability": "--cap-add"}[key]
                engine = [] if key == "engine" else ["--engine", "native"]
                done = member.isolate("run", "--explain", *engine, option, word, "t")
                assert (done.returncode == 0) == (word in open_words), (key, word, open_words, done)


def test_policy_of_others(service, policy, anne, bert):
    policy(staff="Networks=host")
    refused(anne.isolate("policy", "--for", str(BERT)), "policy --for another user", "root only")
    refused(anne.isolate("policy", "--for", "root"), "root only")
    assert shown(anne, "--for", str(ANNE)) == shown(anne)
    of_anne = json.loads(service.ok("policy", "--json", "--for", str(ANNE)))
    assert of_anne["uid"] == ANNE and of_anne["member"] is False, "no file of the machine's says that she is"
    refused(service.isolate("policy", "--for", "no-such-user"), "no-such-user")
    nobody = json.loads(service.ok("policy", "--json", "--for", "nobody"))
    assert nobody["user"] == "nobody" and nobody["groups"] == [65534]
    assert "not in the group" in service.ok("policy", "--for", "nobody")
    reply = json.loads(service.ok("policy", "--json"))
    assert reply["root"] and reply["words"] == [] and reply["ceilings"] == []
    assert re.search(r"everything +yes +root", service.ok("policy"))


def test_policy_tells_of_broken_files(service, policy, anne, bert):
    policy(staff="Nonsense=1", t="Nonsense=1")
    assert f"{STAFF}.conf:2" in shown(bert)["problems"][0]
    assert shown(anne)["problems"] == [], "it is not her group"
    assert f"{STAFF}.conf:2" in json.loads(service.ok("policy", "--json"))["problems"][0]
    assert "t.conf:2" in shown(anne, "t")["denied"]
    assert re.search(r"problem +nothing of it +.*Nonsense", bert.ok("policy"))
    check = {item["name"]: item for item in json.loads(service.isolate("doctor", "--json").stdout)["checks"]}["config"]
    assert "Nonsense" in json.dumps(check), check


def test_policy_without_a_daemon(service, anne):
    """Root's one-shot knows as much; others have what they can do themselves."""
    service.stop_resident()
    of_anne = json.loads(service.ok("policy", "--json", "--for", str(ANNE)))
    assert ceilings(of_anne)["sandboxes"] == 256
    reply = shown(anne)
    assert reply["member"] is False and "no isolated is running" in reply["denied"], reply
    assert "bwrap" in anne.ok("policy")
    refused(anne.isolate("policy", "t"), "no isolated is running")
    refused(anne.isolate("policy", "--for", "root"), "no isolated is running")


def test_policy_of_a_stranger(service):
    stranger = Member(service, 61309, groups=None)
    reply = shown(stranger)
    assert reply["member"] is False and "members of the group" in reply["denied"], reply
