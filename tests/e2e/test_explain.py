# SPDX-License-Identifier: Apache-2.0
"""`run --explain` says what then happens, and makes nothing; `run --spec` runs what it has saved."""

import json
import os
import pathlib
import socket
import subprocess

import pytest

from sandboxes import ENGINE, wait_until
from services import Member, finish

ANNE = 61311

OPTIONS = ["ro", "nosuid", "nodev", "noexec"]

# what the command sees of itself; each part ends with a line "=="
LOOK = """
cat /proc/self/mountinfo; echo ==; cat /proc/self/status; echo ==; env; echo ==
pwd; hostname; umask; echo "$0 $*"; cat /etc/hostname 2>/dev/null; echo ==; readlink /proc/self/ns/*; echo ==
echo up; read line
"""


@pytest.fixture(scope="module")
def base(instance, small_root):
    instance.ok("template", "create", "base", "--from", f"dir:{small_root}")
    yield "base"
    instance.ok("template", "rm", "base")


def engine_options(options=()):
    return ["--engine", ENGINE] if ENGINE != "native" and "--engine" not in options else []


def explain(caller, options=(), command=("true",), template="base", **kw):
    """The document; who explains is told nothing else and leaves nothing."""
    done = caller.isolate("run", "--explain", "--json", *engine_options(options), *options, template, "--", *command, **kw)
    assert (done.returncode, done.stderr) == (0, ""), done
    document = json.loads(done.stdout)
    assert document["version"] == 1
    return document


def refused(done, *words):
    assert done.returncode == 125, done
    assert done.stderr.startswith("isolate: ") and done.stderr.count("\n") == 1, done
    assert done.stdout == "", done
    for word in words:
        assert word in done.stderr, (word, done.stderr)


# what is said, and what happens


def parts_of(process):
    text = ""
    while not text.endswith("\nup\n"):
        line = process.stdout.readline()
        assert line, process.communicate()
        text += line
    return [part.strip("\n").split("\n") for part in text.split("==\n")]


def mounts_seen(lines):
    """[(target, type, options)]."""
    seen = []
    for line in lines:
        fields = line.split()
        kind = fields[fields.index("-") + 1]
        seen.append((fields[4], kind, [o for o in OPTIONS if o in fields[5].split(",")]))
    return seen


# these make a /proc, /dev or /run of their own kind, as their configuration says
OWN_KINDS = ("nspawn", "oci")


def check_mounts(plan, lines):
    """All that was said is there, as it was said, and nothing else."""
    seen = mounts_seen(lines)
    covered = plan["hidden"] + plan["read_only_paths"]
    nodes = [f"/dev/{name}" for name in ("null", "zero", "full", "random", "urandom", "tty")]
    left = [m for m in seen if m[0] not in nodes and not m[0].startswith(tuple(covered))]
    said = sorted(m["target"] for m in plan["mounts"])
    if ENGINE == "native":
        assert sorted(m[0] for m in left) == said
    elif ENGINE.startswith(OWN_KINDS):
        assert {m[0] for m in left} >= set(said)
    else:  # some are mounted once more, over the others
        assert {m[0] for m in left} == set(said)
    by_target = {m[0]: m for m in left}
    for mount in plan["mounts"]:
        _, kind, options = by_target[mount["target"]]
        if mount["type"] not in ("root", "bind"):
            assert kind == mount["type"], mount
        if not ENGINE.startswith(OWN_KINDS):
            assert options == [o for o in OPTIONS if o in mount["options"]], mount
        elif mount["target"] not in ("/proc", "/sys") and not mount["target"].startswith("/dev"):
            assert set(options) >= {o for o in OPTIONS if o in mount["options"]}, mount


def capabilities_of(names):
    known = {"CHOWN": 0, "DAC_OVERRIDE": 1, "FOWNER": 3, "FSETID": 4, "KILL": 5, "SETGID": 6, "SETUID": 7,
             "SETPCAP": 8, "NET_BIND_SERVICE": 10, "NET_ADMIN": 12, "SYS_CHROOT": 18}
    return sum(1 << known[name.removeprefix("CAP_")] for name in names)


def check_status(plan, lines):
    status = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    if "uid" in plan:
        assert status["Uid"].split() == [str(plan["uid"])] * 4
        assert status["Gid"].split() == [str(plan["gid"])] * 4
        assert int(status["CapEff"], 16) == capabilities_of(plan["capabilities"])
    assert int(status["NoNewPrivs"]) == plan["no_new_privs"] == 1
    n = int(status["Seccomp_filters"]) - 1 # isolated's own
    assert plan["filters"] > 0 and (n == plan["filters"] or (ENGINE == "nspawn" and n > plan["filters"]))
    # root's files that could be written: nothing set-id may be made of them
    assert plan["no_set_id"] == any(m["type"] == "bind" and "ro" not in m["options"] for m in plan["mounts"]), plan


def check_rest(plan, environment, facts, namespaces):
    seen = dict(line.split("=", 1) for line in environment if "=" in line)
    for variable in plan.get("env", []):
        name, _, value = variable.partition("=")
        assert seen[name] == value
    assert set(seen) - {v.split("=")[0] for v in plan.get("env", [])} <= {
        "HOME", "USER", "LOGNAME", "SHELL", "PATH", "PWD", "SHLVL", "_", "OLDPWD"}
    assert facts[0] == plan.get("workdir", facts[0])
    assert facts[1] == plan["hostname"]
    assert facts[2] == plan["umask"]
    assert facts[3] == "zero one  two"
    names = {"user": "user", "mount": "mnt", "pid": "pid", "net": "net", "uts": "uts", "ipc": "ipc",
             "cgroup": "cgroup"}
    inside = dict(line.split(":", 1) for line in namespaces)
    for name, short in names.items():
        own = inside[short] != os.readlink(f"/proc/self/ns/{short}").split(":", 1)[1]
        assert own == (name in plan["namespaces"]), name


CASES = {
    "plain": [],
    "all": ["-e", "A=b c", "-e", "B=$(x)\té", "-w", "/srv", "--hostname", "other", "--tmpfs", "/mnt/x:1M",
            "--tmpfs", "/tmp/y", "--name", "explained", "--timeout", "1h", "--cap-drop", "ALL",
            "--cap-add", "CHOWN", "--read-only"],
    "user": ["-u", "user", "--cap-drop", "KILL"],
    "ids": ["-u", "12:34"],
    "network": ["--network", "host", "--cap-add", "NET_ADMIN"],
    "binds": ["-v", "/etc:/mnt/etc:ro", "-v", ".:/work"],
    "here": ["--here"],
    "keep": ["--keep", "--name", "kept-explained"],
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_said_happens(instance, base, tmp_path, case):
    options = CASES[case] + ([] if "--name" in CASES[case] else ["--name", "watched"])
    command = ["sh", "-c", LOOK, "zero", "one", " two"]
    tmp_path.chmod(0o755)
    document = explain(instance, options, command, cwd=tmp_path)
    plan, spec = document["plan"], document["spec"]
    process = instance.popen(options, command, template=base, cwd=tmp_path, stdin=subprocess.PIPE)
    try:
        mountinfo, status, environment, facts, namespaces, _ = parts_of(process)
        item = json.loads(instance.ok("inspect", plan["name"]))
    finally:
        process.communicate("\n")
        if plan["keep"]:
            instance.ok("rm", plan["name"])
    assert process.returncode == 0
    check_mounts(plan, mountinfo)
    check_status(plan, status)
    check_rest(plan, environment, facts, namespaces)
    # and what isolated knows of it
    for key in ("template", "generation", "storage", "engine"):
        assert plan[key] == item[key], key
    assert item.get("limits") == plan.get("limits")
    assert plan["files"] == [file["path"] for file in item["provided"]]
    request = {key: value for key, value in item["request"].items() if key not in ("client", "control")}
    for bind in request.get("binds", []):
        del bind["fd"]
    assert request == spec


def test_nothing_is_made(instance, base, tmp_path):
    def everything():
        return instance.clones(), instance.records(), instance.leaves()
    before = everything()
    receipt = tmp_path / "receipt"
    options = ["--keep", "--name", "never", "-v", f"{tmp_path}:/mnt", "--receipt", str(receipt)]
    for _ in range(3):
        explain(instance, options, ["sh", "-c", f"touch {tmp_path}/ran"])
        assert everything() == before
    assert not list(tmp_path.iterdir())
    assert "never" not in instance.ok("ps", "-a")


def test_standard_input_is_left_alone(instance, base):
    script = f'"{instance.run_argv()[0]}" run --explain {base} cat >/dev/null && cat'
    assert instance.call(["sh", "-c", script], input="left\n").stdout == "left\n"


def test_command_of_any_bytes(instance, base):
    odd = os.fsdecode(b"\xff\xfe")
    document = explain(instance, ["-e", f"A={odd}"], ["sh", "-c", 'printf %s "$0"', odd])
    assert document["plan"]["argv_base64"] == document["spec"]["argv_base64"]
    assert "argv" not in document["plan"] and "env" not in document["plan"]
    done = instance.call([instance.run_argv()[0], "run", "--spec", "-"], input=json.dumps(document).encode(),
                         text=False)
    assert (done.returncode, done.stdout) == (0, b"\xff\xfe"), done


def test_for_a_person(instance, base, tmp_path):
    text = instance.ok("run", "--explain", *CASES["all"], "-v", f"{tmp_path}:/mnt/a:ro", base, "--", "echo",
                       "it's", "\x1b[31m")
    lines = dict(line.split(None, 1) for line in text.splitlines() if line[0] != " ")
    assert lines["template"] == "base" and lines["hostname"] == "other"
    assert lines["command"] == r"echo 'it'\''s' '\x1b[31m'"
    assert "\x1b" not in text and "A=b c" in text and f"{tmp_path}, read-only, ro, nosuid, nodev" in text
    assert instance.ok("run", "--explain", base).count("the user's shell") == 1


def test_of_shell(instance, base):
    document = json.loads(instance.ok("shell", "--explain", "--json", base, "true"))
    assert document["plan"]["argv"] == ["true"] and document["plan"]["tty"] is False


@pytest.mark.skipif(ENGINE != "native", reason="says which engine")
def test_engines(instance, base, small_root):
    bwrap = explain(instance, ["--engine", "bwrap"])["plan"]
    assert bwrap["engine_argv"][0].endswith("/bwrap") and bwrap["engine_argv"][-2:] == ["--inner", "--mask"]
    given = [bwrap["engine_argv"][i + 1] for i, word in enumerate(bwrap["engine_argv"]) if word == "--cap-add"]
    assert given == [*bwrap["capabilities"], "CAP_SYS_ADMIN"], "which the inner init drops"
    assert "engine_argv" not in explain(instance)["plan"]
    chroot = explain(instance, ["--engine", "chroot", "--storage", "dir"], template=str(small_root))["plan"]
    assert (chroot["ids"], chroot["filters"], chroot["no_new_privs"]) == (0, 0, False)
    status = dict(line.split(":\t", 1) for line in instance.output(
        ["--engine", "chroot", "--storage", "dir"], ["cat", "/proc/self/status"],
        template=str(small_root)).splitlines() if ":\t" in line)
    left_out = {"SYS_MODULE": 16, "SYS_RAWIO": 17, "SYS_PACCT": 20, "SYS_BOOT": 22, "SYS_TIME": 25,
                "WAKE_ALARM": 35, "BLOCK_SUSPEND": 36, "AUDIT_READ": 37}
    assert {f"CAP_{name}" for name in left_out}.isdisjoint(chroot["capabilities"])
    # a container may lack more
    ours = next(line for line in open("/proc/self/status", encoding="ascii") if line.startswith("CapBnd:"))
    assert int(status["CapEff"], 16) == int(ours.split()[1], 16) & ~sum(1 << bit for bit in left_out.values())
    assert chroot["namespaces"] == ["mount", "pid", "uts", "ipc", "cgroup"]
    assert (chroot["clone"], chroot["root"]) == ("none", str(small_root))
    assert "CAP_SYS_ADMIN" in chroot["capabilities"]


def test_networks_and_devices(instance, base):
    options = ["--network", "nat,host-loopback", "--publish", "8001-8003:81-83", "--publish", "[::1]:53:5353/udp",
               "--device", "/dev/full:/dev/mine"]
    done = instance.isolate("run", "--explain", "--json", *options, base, "true")
    if done.returncode != 0 and "passt" in done.stderr:
        refused(instance.isolate("run", *options, base, "true"), done.stderr)
        pytest.skip("pasta is not installed")
    document = json.loads(done.stdout)
    plan = document["plan"]
    assert plan["network"] == "nat,host-loopback"
    assert plan["publish"] == ["127.0.0.1:8001-8003:81-83", "[::1]:53:5353/udp"]
    assert plan["network_argv"][0].endswith("pasta") and "net" in plan["namespaces"]
    device = {"target": "/dev/mine", "type": "device", "source": "/dev/full", "options": ["nosuid", "noexec"]}
    assert device in plan["mounts"]
    assert "127.0.0.1:8001-8003:81-83" in instance.ok("run", "--explain", *options, base)
    again = json.loads(instance.ok("run", "--explain", "--json", "--spec", "-", input=json.dumps(document)))
    assert again == document
    seen = instance.output(["--device", "/dev/full:/dev/mine"], ["cat", "/proc/self/mountinfo"], template=base)
    line = [line for line in seen.splitlines() if line.split()[4] == "/dev/mine"][-1]
    if not ENGINE.startswith(OWN_KINDS):
        assert [o for o in OPTIONS if o in line.split()[5].split(",")] == device["options"]
    for bad in (["--publish", "1:1"], ["--device", "/etc/passwd"], ["--network", "bridge="]):
        run = instance.isolate("run", *bad, base, "true")
        refused(instance.isolate("run", "--explain", *bad, base, "true"), run.stderr)


@pytest.mark.skipif(ENGINE != "native", reason="names engines itself")
def test_configuration_of_foreign_engines(instance, base):
    """What is said is what each is given: argv of what is there, and files with this run's values."""
    usable = [e["name"] for e in json.loads(instance.ok("engines", "--json")) if not e["problem"]]
    for engine in set(usable) - {"native", "chroot"}:
        options = ["--engine", engine, "--hostname", "told", "--cap-drop", "CHOWN"]
        plan = explain(instance, options)["plan"]
        assert os.access(plan["engine_argv"][0], os.X_OK), plan["engine_argv"]
        for file in plan["engine_files"]:
            assert file["path"].startswith("/") and file["content"]
        text = instance.ok("run", "--explain", *options, base)
        assert all(line in text for file in plan["engine_files"] for line in file["content"].splitlines())
    if "oci" in usable:
        (file,) = explain(instance, ["--engine", "oci", "--cap-drop", "CHOWN"])["plan"]["engine_files"]
        bounding = json.loads(file["content"])["process"]["capabilities"]["bounding"]
        assert "CAP_KILL" in bounding and "CAP_CHOWN" not in bounding
    refused(instance.isolate("run", "--explain", "--engine", "oci:/no/such", base), "/no/such")


@pytest.mark.skipif(ENGINE != "native", reason="of bwrap")
def test_arguments_of_bwrap_are_the_ones_executed(instance, base):
    said = explain(instance, ["--engine", "bwrap"], ["cat"])["plan"]["engine_argv"]
    process = instance.popen(["--engine", "bwrap"], ["cat"], template=base, stdin=subprocess.PIPE)
    try:
        pid = wait_until(lambda: instance.member_named("bwrap"), what="bwrap")
        assert pathlib.Path(f"/proc/{pid}/cmdline").read_text().split("\0")[:-1] == said
    finally:
        process.communicate("")


# what would be refused


REFUSALS = [
    (["--engine", "nativ"], "base"), (["--engine", "lxc:x"], "base"), (["--storage", "overlai"], "base"),
    ([], "no-such"), ([], "base@20200101T000000Z"), ([], "/etc/passwd"), ([], "@hots"),
    (["--cap-add", "SYS_ADMIN"], "base"), (["--cap-drop", "CHOWNED"], "base"), (["--memory", "1K"], "base"),
    (["--tmpfs", "/proc/x"], "base"), (["-v", "/etc:/a", "-v", "/usr:/a"], "base"),
    (["-v", "/dev/null:/mnt/null"], "base"), (["-v", "/none:/mnt"], "base"), (["-v", "/proc:/mnt/p"], "base"),
    (["-w", "relative"], "base"), (["-w", "srv"], "base"), (["--hostname", "a b"], "base"),
    (["--name", "A B"], "base"), (["--owner", "no-such-user"], "base"), (["--network", "some"], "base"),
    (["--engine", "chroot"], "base"), (["-e", "NOT_SET_HERE"], "base"), (["--disk", "1G", "--storage", "dir"], "/"),
    (["--receipt", "/tmp/r", "-d"], "base"), (["-v", "/etc:/mnt/../x"], "base"), (["--unknown"], "base"),
]


@pytest.mark.parametrize("options, template", REFUSALS, ids=lambda v: " ".join(v) if isinstance(v, list) else v)
def test_what_is_refused_is_refused(instance, base, options, template):
    run = instance.isolate("run", *options, template, "true")
    assert run.returncode == 125
    # of an engine that does not isolate a run warns first
    refused(instance.isolate("run", "--explain", *options, template, "true"), run.stderr.splitlines()[-1])


@pytest.mark.parametrize("limit", [["--memory", "64M"], ["--cpus", "0.5"], ["--pids", "100"], ["--swap", "0"],
                                   ["--disk", "100M"], ["--cpuset", "0"], ["--cpuset", "0,8191"],
                                   ["--io-weight", "7"]], ids=lambda v: v[0])
def test_limits_are_said_or_refused_alike(instance, base, limit):
    """Which of them there are is the machine's: either way both say the same."""
    run = instance.isolate("run", *limit, base, "true")
    told = instance.isolate("run", "--explain", "--json", *limit, base, "true")
    if limit[0] != "--disk":  # quotas are only seen when the clone is there
        assert (told.returncode, told.stderr) == (run.returncode, run.stderr)
    if told.returncode == 0:
        (value,) = [v for k, v in json.loads(told.stdout)["plan"]["limits"].items() 
                    if k != "swap_bytes" or limit[0] == "--swap"]
        assert value == {"--memory": 64 << 20, "--cpus": 500, "--pids": 100, "--swap": 0, "--disk": 100 << 20,
                         "--cpuset": "0", "--io-weight": 7}[limit[0]]


def test_name_that_is_taken(instance, base):
    instance.ok("run", "--keep", "--name", "taken", base, "true")
    try:
        run = instance.isolate("run", "--name", "taken", base, "true")
        refused(instance.isolate("run", "--explain", "--name", "taken", base, "true"), "taken", run.stderr)
    finally:
        instance.ok("rm", "taken")


def test_json_without_explain(instance, base):
    refused(instance.isolate("run", "--json", base, "true"), "--json", "--explain")
    refused(instance.isolate("run", "--explain"), "too few arguments")


# through a daemon


def test_member(service):
    anne = Member(service, ANNE)
    document = explain(anne, ["-e", "A=b"], ["env"], template="t")
    assert document["plan"]["owner_uid"] == ANNE
    assert str(service.state) not in json.dumps(document)
    assert explain(Member(service, 0), ["-e", "A=b"], ["env"], template="t")["plan"] == {
        **document["plan"], "owner_uid": 0}
    assert "A=b\n" in anne.isolate("run", "--spec", "-", input=json.dumps(document)).stdout
    service.assert_clean()


MEMBERS_REFUSALS = [
    ["/"], ["@host"], ["--network", "host", "t"], ["--owner", "root", "t"], ["--cap-add", "NET_ADMIN", "t"],
    ["--engine", "chroot", "t"], ["--storage", "dir", "t"], ["--storage", "zfs:rpool/x", "t"], ["unknown"],
    ["-v", "/root:/mnt/root", "t"],
]


@pytest.mark.parametrize("arguments", MEMBERS_REFUSALS, ids=" ".join)
def test_member_is_refused_alike(service, arguments):
    anne = Member(service, ANNE)
    run = anne.isolate("run", *arguments, "ls", "/mnt/root")
    told = anne.isolate("run", "--explain", *arguments, "ls", "/mnt/root")
    if arguments[0] == "-v":  # a path can be named without the right to read it, and is not read
        assert run.returncode == 2 and told.returncode == 0, (run, told)
    else:
        refused(told, run.stderr)
    service.assert_clean()


@pytest.mark.settings({"Daemon.SandboxesPerUser": 1})
def test_member_with_a_full_quota(service):
    anne = Member(service, ANNE)
    sleeper = anne.sleeper()
    run = anne.run()
    refused(anne.isolate("run", "--explain", "t"), "Sandboxes=", run.stderr)
    assert explain(Member(service, 0), template="t")["plan"]["template"] == "t"
    finish(sleeper)


def pool(service):
    return json.loads(service.ok("pool", "--json"))


def parked_and_settled(service, n):
    wait_until(lambda: [s["ready"] for s in pool(service)] == [n] and len(service.parked()) == n, 60, "the pool")
    return service.parked()


@pytest.mark.settings({"Pool.Parked": 4})
@pytest.mark.skipif(ENGINE != "native", reason="the pool follows the engine")
def test_parked_one_is_said_and_stays(service):
    anne = Member(service, ANNE)
    service.ok("pool", "set", "t", "2")
    names = parked_and_settled(service, 2)
    before = pool(service)
    for _ in range(5):
        document = explain(anne, ["-v", "/usr:/mnt", "-e", "A=b"], template="t")
        assert document["plan"]["clone"] == "parked"
        assert explain(anne, ["--keep"], template="t")["plan"]["clone"] != "parked"
    assert (service.parked(), pool(service)) == (names, before)
    # and it is what such a run gets
    sleeper = anne.sleeper("-v", "/usr:/mnt", "-e", "A=b")
    assert service.ps()[0]["id"] in names
    finish(sleeper)
    new = explain(anne, ["--network", "none", "--engine", "bwrap"], template="t")["plan"]
    assert new["clone"] == "new"


@pytest.mark.settings({"Pool.Parked": 4})
@pytest.mark.skipif(ENGINE != "native", reason="the pool follows the engine")
def test_parked_one_of_an_old_generation_is_not_said(service):
    service.ok("pool", "set", "t", "1")
    parked_and_settled(service, 1)
    service.ok("template", "update", "--network", "none", "t", "--", "touch", "/new")
    current = json.loads(service.ok("template", "inspect", "--json", "t"))["generations"]
    (current,) = [g["id"] for g in current if g["current"]]
    assert explain(service, template="t")["plan"]["generation"] == current


@pytest.mark.settings({"Pool.Fresh": 2, "Pool.Parked": 0})
@pytest.mark.skipif(ENGINE != "native", reason="the pool follows the engine")
def test_fresh_clone_is_said(service):
    assert explain(service, template="t")["plan"]["clone"] == "new"
    service.ok("run", "t", "true")
    wait_until(lambda: sum(s["fresh"] for s in pool(service)) == 2, 60, "fresh clones")
    assert explain(service, template="t")["plan"]["clone"] == "fresh"
    assert explain(service, ["--keep"], template="t")["plan"]["clone"] == "new"


def test_detached(service):
    document = explain(service, ["-d", "-i", "--name", "d"], ["cat"], template="t")
    assert document["plan"]["detach"] and document["plan"]["stdin_open"]
    name = service.ok("run", "--spec", "-", input=json.dumps(document["spec"])).strip()
    assert service.ps()[0]["id"] == name and service.ps()[0]["name"] == "d"
    service.ok("stop", "d")


# saved


def save(path, document):
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return str(path)


@pytest.mark.parametrize("case", ["all", "user", "ids", "binds", "here", "network"])
def test_saved_is_the_same(instance, base, tmp_path, case):
    """Explained again it is the same, and it runs as the same."""
    command = ["sh", "-c", "id; env | sort; pwd; hostname; grep -c . /proc/self/mountinfo; echo \"$@\"", "x", "a  b"]
    document = explain(instance, CASES[case], command, cwd=tmp_path)
    saved = save(tmp_path / "saved.json", document)
    again = json.loads(instance.ok("run", "--explain", "--json", "--spec", saved, cwd="/"))
    assert again == document
    direct = instance.ok("run", *engine_options(), *CASES[case], base, *command, cwd=tmp_path)
    assert instance.ok("run", "--spec", saved, cwd="/") == direct
    assert instance.ok("run", "--spec", save(tmp_path / "spec.json", document["spec"]), cwd="/") == direct


def test_exit_status_and_receipt_of_a_saved_one(instance, base, tmp_path):
    saved = save(tmp_path / "s", explain(instance, [], ["sh", "-c", "exit 7"]))
    receipt = tmp_path / "receipt"
    done = instance.isolate("run", "--spec", saved, "--receipt", str(receipt), "-q")
    assert done.returncode == 7 and json.loads(receipt.read_text())["code"] == 7
    saved = save(tmp_path / "s", explain(instance, [], ["no-such-command"]))
    assert instance.isolate("run", "--spec", saved).returncode == 127


def test_options_that_count_more(instance, base, tmp_path):
    saved = save(tmp_path / "s", explain(instance, ["-e", "A=1", "-e", "B=2", "--timeout", "1h", "--name", "n"],
                                         ["sh", "-c", "echo $A $B $C"]))
    options = ["-e", "B=over", "-e", "C", "--name", "m", "--timeout", "5s"]
    plan = json.loads(instance.ok("run", "--explain", "--json", "--spec", saved, *options, env={"C": "from here"}))["plan"]
    assert plan["env"] == ["A=1", "B=2", "B=over", "C=from here"]
    assert (plan["name"], plan["timeout_ms"]) == ("m", 5000)
    assert instance.ok("run", *options, "--spec", saved, env={"C": "from here"}) == "1 over from here\n"


def test_variable_of_the_caller_is_saved_with_its_value(instance, base, tmp_path):
    document = explain(instance, ["-e", "C"], ["env"], env={"C": "then"})
    assert document["spec"]["env"] == ["C=then"]
    assert "C=then\n" in instance.ok("run", "--spec", save(tmp_path / "s", document), env={"C": "now"})


def test_directory_and_machine_as_templates(instance, tmp_path, small_root):
    document = explain(instance, [], ["cat", "/etc/issue"], template=os.path.relpath(small_root, tmp_path), cwd=tmp_path)
    assert document["spec"]["root"] == document["plan"]["root"] == str(small_root)
    assert instance.ok("run", "--spec", save(tmp_path / "s", document)) == "a small system\n"
    host = explain(instance, [], ["true"], template="@host")
    assert host["spec"]["host"] is True and host["plan"]["root"] == "/"
    assert instance.ok("run", "--spec", save(tmp_path / "s", host)) == ""


def test_path_that_json_cannot_hold(instance, base, tmp_path):
    odd = pathlib.Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff"))
    odd.mkdir()
    done = instance.isolate("run", "--explain", "--json", "-v", f"{odd}:/mnt", base, "true")
    assert done.returncode == 0 and "/mnt" in done.stderr and "not UTF-8" in done.stderr
    refused(instance.isolate("run", "--spec", save(tmp_path / "s", done.stdout)), '"binds"[0]', "absolute")
    odd.rmdir()


GOOD = {"template": "base", "argv": ["true"]}
BAD_SPECS = {
    "empty": ("", "is empty"),
    "no json": ("{", "line 1"),
    "two": ("{}{}", "line 1"),
    "list": ("[]", "object"),
    "text": ('"base"', "line 1"),
    "twice": ('{"template": "base", "template": "base"}', "duplicate"),
    "bytes": (b'{"template": "b\xff"}', "line 1"),
    "nul": ('{"template": "b\\u0000"}', "line 1"),
    "nothing": ({}, "exactly one of"),
    "both": ({**GOOD, "host": True}, "exactly one of"),
    "spelling": ({**GOOD, "temeout_ms": 1}, '"temeout_ms"', '"timeout_ms"'),
    "unknown": ({**GOOD, "xyzzyxyzzy": 1}, '"xyzzyxyzzy"'),
    "type": ({**GOOD, "keep": "yes"}, '"keep"', "true or false"),
    "number": ({**GOOD, "timeout_ms": -1}, '"timeout_ms"'),
    "range": ({**GOOD, "pids": 1}, '"pids"', "2"),
    "argv": ({**GOOD, "argv": "true"}, '"argv"'),
    "argv twice": ({**GOOD, "argv_base64": ["dHJ1ZQ=="]}, '"argv_base64"'),
    "base64": ({"template": "base", "argv_base64": ["*"]}, '"argv_base64"'),
    "env": ({**GOOD, "env": ["A"]}, '"A"', "NAME=VALUE"),
    "template": ({"template": "B S"}, '"B S"'),
    "network": ({**GOOD, "network": "some"}, '"some"'),
    "client": ({**GOOD, "client": "1"}, '"client"'),
    "control": ({**GOOD, "control": 0}, '"control"'),
    "kept": ({"kept": "x"}, '"kept"', "isolate start"),
    "sandbox": ({"sandbox": "x"}, '"sandbox"', "isolate exec"),
    "hold": ({**GOOD, "hold": True}, '"hold"', "template update"),
    "root": ({"root": "srv"}, '"root"', "absolute"),
    "root type": ({"root": 3}, '"root"'),
    "root_fd": ({"root": "/", "root_fd": 0}, '"root_fd"'),
    "root gone": ({"root": "/no/such"}, "/no/such"),
    "binds": ({**GOOD, "binds": {}}, '"binds"'),
    "bind type": ({**GOOD, "binds": ["/etc:/mnt"]}, '"binds"[0]'),
    "bind fd": ({**GOOD, "binds": [{"fd": 0, "source": "/etc", "target": "/mnt"}]}, '"binds"[0]', '"fd"'),
    "bind relative": ({**GOOD, "binds": [{"source": "etc", "target": "/mnt"}]}, '"binds"[0]', "absolute"),
    "bind target": ({**GOOD, "binds": [{"source": "/etc", "target": "mnt"}]}, '"mnt"', "absolute"),
    "bind no target": ({**GOOD, "binds": [{"source": "/etc"}]}, '"binds"[0]', '"target"'),
    "bind key": ({**GOOD, "binds": [{"source": "/etc", "target": "/mnt", "readonly": True}]}, "binds"),
    "bind gone": ({**GOOD, "binds": [{"source": "/no/such", "target": "/mnt"}]}, "/no/such"),
    "tmpfs": ({**GOOD, "tmpfs": [{"target": "/a", "size_bytes": "1M"}]}, "tmpfs"),
    "stdin_open": ({**GOOD, "stdin_open": True}, '"stdin_open"', '"detach"'),
    "version": ({"version": 2, "spec": GOOD}, '"version"'),
    "beside": ({"version": 1, "spec": GOOD, "name": "x"}, '"name"', '"spec"'),
    "inner": ({"version": 1, "spec": [GOOD]}, "object"),
    "deep": ("[" * 5000, "line 1"),
}


@pytest.mark.parametrize("case", BAD_SPECS)
def test_bad_spec(instance, base, tmp_path, case):
    content, *words = BAD_SPECS[case]
    path = tmp_path / "bad.json"
    path.write_bytes(content if isinstance(content, bytes) else
                     (content if isinstance(content, str) else json.dumps(content)).encode())
    refused(instance.isolate("run", "--spec", str(path)), f"--spec {path}: ", *words)
    refused(instance.isolate("run", "--explain", "--spec", str(path)), f"--spec {path}: ", *words)


def test_spec_file_that_cannot_be_read(instance, base, tmp_path):
    refused(instance.isolate("run", "--spec", f"{tmp_path}/none"), f"{tmp_path}/none", "No such file")
    refused(instance.isolate("run", "--spec", str(tmp_path)), str(tmp_path), "directory")
    refused(instance.isolate("run", "--spec", "/dev/zero"), "/dev/zero", "16 MiB")
    refused(instance.isolate("run", "--spec"), "--spec needs a value")
    refused(instance.isolate("run", "--spec", "-", input=""), "--spec -: is empty")


@pytest.mark.parametrize("more, words", [
    (["base"], ['"base"']), (["--", "true"], ['"true"']), (["-w", "/srv"], ["--workdir"]), (["-u", "1"], ["--user"]),
    (["-v", "/etc:/mnt"], ["--bind"]), (["--keep"], ["--keep"]), (["--engine", "native"], ["--engine"]),
    (["--memory", "64M"], ["--memory"]), (["--spec", "x"], ["one file"]), (["--json"], ["--explain"]),
], ids=lambda v: " ".join(v))
def test_beside_a_spec(instance, base, tmp_path, more, words):
    saved = save(tmp_path / "s", GOOD)
    refused(instance.isolate("run", "--spec", saved, *more), *words)


def test_options_are_only_looked_for_where_they_can_be(instance, base):
    """The command's own words, and values of options, are not isolate's."""
    assert instance.ok("run", base, "sh", "-c", 'echo "$@"', "sh", "--explain", "--spec", "x") == "--explain --spec x\n"
    assert "--explain=x\n" in instance.ok("run", "-e", "--explain=x", base, "env")


# the interface itself


def test_calls_that_a_client_does_not_make(service):
    for parameters, word in [({}, "request"), ({"request": []}, "request"),
                             ({"request": {"client": version(service), "template": "t", "hold": True}}, "hold"),
                             ({"request": {"client": "0", "template": "t"}}, "version"),
                             ({"request": {"client": version(service), "template": "t", "x": 1}}, '"x"'),
                             ({"request": {"client": version(service), "sandbox": "t"}}, "sandbox")]:
        answer = call(service, "io.isolate.Explain", parameters)
        assert answer["error"].startswith("io.isolate.") and word in answer["parameters"]["message"], answer
    answer = call(service, "io.isolate.Explain", {"request": {"client": version(service), "template": "t"}})
    assert answer["parameters"]["plan"]["template"] == "t"


def explained_by_call(service, **request):
    answer = call(service, "io.isolate.Explain", {"request": {"client": version(service), **request}})
    return answer["parameters"]


def test_kept_one(service):
    """`start` has no --explain; the interface has."""
    service.ok("run", "--keep", "--name", "k", "t", "true")
    try:
        generation = json.loads(service.ok("template", "inspect", "--json", "t"))["generations"][-1]["id"]
        plan = explained_by_call(service, kept="k")["plan"]
        assert (plan["clone"], plan["keep"], plan["template"], plan["generation"]) == ("kept", True, "t", generation)
        assert "no such kept sandbox" in explained_by_call(service, kept="none")["message"]
        # it was locked for the look alone
        service.ok("start", "k", "true")
    finally:
        service.ok("rm", "k")


def test_clone_in_stock(service):
    assert explained_by_call(service, template="t")["plan"]["clone"] == "new"
    for wanted, clone in ((1, "fresh"), (0, "new")):
        call(service, "io.isolate.PoolStock", {"template": "t", "wanted": wanted})
        for _ in range(2):
            assert explained_by_call(service, template="t")["plan"]["clone"] == clone
            assert len(list((service.runtime / "stock" / "t").iterdir())) == wanted
        assert explained_by_call(service, template="t", keep=True)["plan"]["clone"] == "new"


def test_directory_that_is_a_template(service, small_root):
    folder = service.base / "templates.d"
    folder.mkdir(exist_ok=True)
    (folder / "small.conf").write_text(f"[Template]\nRoot={small_root}\n")
    try:
        service.stop_resident()
        service.start_resident()
        for caller in (service, Member(service, ANNE)):
            plan = explain(caller, template="small")["plan"]
            assert (plan["template"], plan["root"], plan["clone"]) == ("small", str(small_root), "new")
            assert "generation" not in plan
            assert caller.isolate("run", "small", "cat", "/etc/issue").stdout == "a small system\n"
    finally:
        (folder / "small.conf").unlink()
        folder.rmdir()


def version(service):
    return service.ok("--version").split()[1]


def call(service, method, parameters):
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(service.env["ISOLATE_SOCKET"])
        connection.sendall(json.dumps({"method": method, "parameters": parameters}).encode() + b"\0")
        text = b""
        while not text.endswith(b"\0"):
            text += connection.recv(65536)
    return json.loads(text[:-1])
