# SPDX-License-Identifier: Apache-2.0
"""--ulimit: what setrlimit(2) limits, of each command of a sandbox, and who may ask for how much."""

import json
import resource

import pytest

from sandboxes import PATIENCE, wait_until
from services import Member

ANNE = 61301
NAMES = {"as": "Max address space", "core": "Max core file size", "cpu": "Max cpu time",
         "data": "Max data size", "fsize": "Max file size", "locks": "Max file locks",
         "memlock": "Max locked memory", "msgqueue": "Max msgqueue size", "nice": "Max nice priority",
         "nofile": "Max open files", "nproc": "Max processes", "rss": "Max resident set",
         "rtprio": "Max realtime priority", "rttime": "Max realtime timeout",
         "sigpending": "Max pending signals", "stack": "Max stack size"}
NOFILE = resource.getrlimit(resource.RLIMIT_NOFILE)[1]


def limits_in(text):
    """{NAME: (soft, hard)} of /proc/PID/limits."""
    found = {}
    for name, title in NAMES.items():
        (line,) = [line for line in text.splitlines() if line.startswith(title)]
        found[name] = tuple(line[len(title):].split()[:2])
    return found


def asked(*values):
    return [word for value in values for word in ("--ulimit", value)]


def refused(done, *words):
    assert done.returncode == 125 and done.stderr.count("\n") == 1, done
    assert all(word in done.stderr for word in words), done


def test_each_of_them(instance):
    """All that are asked for, and no other, differ from what is there without."""
    values = {"as": "8589934592", "core": "4096", "cpu": "100", "data": "4294967296", "fsize": "1048576",
              "locks": "5", "memlock": "65536", "msgqueue": "4096", "nofile": "50", "nproc": "77",
              "rss": "12345", "rttime": "500000", "sigpending": "99", "stack": "1048576", "nice": "0",
              "rtprio": "0"}
    assert set(values) == set(NAMES)
    got = limits_in(instance.output(asked(*(f"{k}={v}" for k, v in values.items())), ["cat", "/proc/self/limits"]))
    assert got == {k: (v, v) for k, v in values.items()}
    plain = limits_in(instance.output([], ["cat", "/proc/self/limits"]))
    one = limits_in(instance.output(asked("nofile=20:30"), ["cat", "/proc/self/limits"]))
    assert one == {**plain, "nofile": ("20", "30")}


@pytest.mark.parametrize("value, soft, hard", [
    ("fsize=64K", "65536", "65536"), ("cpu=2m", "120", "120"), ("core=0:unlimited", "0", "unlimited"),
    ("as=unlimited", "unlimited", "unlimited"), ("rttime=20ms:1s", "20000", "1000000"),
])
def test_units(instance, value, soft, hard):
    got = limits_in(instance.output(asked(value), ["cat", "/proc/self/limits"]))
    assert got[value.split("=")[0]] == (soft, hard)


def test_the_last_counts(instance):
    got = limits_in(instance.output(asked("nofile=20", "core=0", "nofile=30:40"), ["cat", "/proc/self/limits"]))
    assert (got["nofile"], got["core"]) == (("30", "40"), ("0", "0"))


def test_few_files(instance):
    """What isolate itself needs until the command's first instruction does not count."""
    assert instance.output([*asked("nofile=4"), "-u", "1234"], ["sh", "-c", "echo ran"]) == "ran\n"
    done = instance.run([*asked("nofile=0"), "-u", "1234"], ["sh", "-c", "echo ran"])
    assert not done.stderr.startswith("isolate:") and "loading shared libraries" in done.stderr, done


def test_it_holds(instance):
    done = instance.run(asked("fsize=4k"), ["sh", "-c", "head -c 5000 /dev/zero >/tmp/x"])
    assert done.returncode in (1, 153), done  # head's way to say it, or XFSZ
    assert instance.run(asked("cpu=1"), ["sh", "-c", "while :; do :; done"]).returncode in (137, 152)
    assert instance.run(asked("nofile=64"), ["sh", "-c", "ulimit -Hn 65"]).returncode != 0
    assert instance.output(asked("nofile=64:65"), ["sh", "-c", "ulimit -Sn 65; ulimit -n"]) == "65\n"


def test_an_address_space_too_small_to_start_in(instance):
    done = instance.run(asked("as=64k"), ["true"])
    assert done.returncode in (126, 127, 137, 139), done


@pytest.mark.parametrize("value, word", [
    ("", "NAME=SOFT"), ("nofile", "NAME=SOFT"), ("nofile=", "no value of nofile"), ("nofile=x", "number"),
    ("nofile=5:4", "above the hard"), ("nofil=5", '"nofile"'), ("cpu=10ms", "time"), ("as=1y", "size"),
    ("nofile=1:2:3", "number"), ("nofile=-5", "number"), ("nofile=1 core=0", "number"),
])
def test_bad(instance, value, word):
    refused(instance.run(asked(value)), "--ulimit", word)


def test_explain(instance):
    told = json.loads(instance.output(["--explain", "--json", *asked("cpu=90s:3m", "core=0")]))
    assert told["plan"]["ulimits"] == ["cpu=90:180", "core=0:0"]
    assert told["spec"]["ulimits"] == ["cpu=90s:3m", "core=0"]
    assert "ulimits        cpu=90:180 core=0:0" in instance.output(["--explain", *asked("cpu=90s:3m", "core=0")])


def test_spec(instance, tmp_path):
    saved = tmp_path / "spec"
    saved.write_text(instance.output(["--explain", "--json", *asked("nofile=20:30")], ["cat", "/proc/self/limits"]))
    assert limits_in(instance.ok("run", "--spec", saved))["nofile"] == ("20", "30")


def test_kept(instance):
    """A start has what the run had, but for what it is given itself."""
    instance.output(["--keep", "--name", "k", *asked("nofile=20:30", "core=7")])
    try:
        again = limits_in(instance.ok("start", "k", "--", "cat", "/proc/self/limits"))
        assert (again["nofile"], again["core"]) == (("20", "30"), ("7", "7"))
        other = limits_in(instance.ok("start", "--ulimit", "nofile=25", "k", "--", "cat", "/proc/self/limits"))
        assert (other["nofile"], other["core"]) == (("25", "25"), ("7", "7"))
    finally:
        instance.ok("rm", "k")


def test_above_what_isolate_may_give(instance):
    """Raising a hard limit is for who has CAP_SYS_RESOURCE: it is given, or refused before anything runs."""
    value = f"nofile=100:{NOFILE + 1}"
    done = instance.run(asked(value), ["cat", "/proc/self/limits"])
    with open("/proc/self/status", encoding="ascii") as status:
        (caps,) = [int(line.split()[1], 16) for line in status if line.startswith("CapEff")]
    if caps & 1 << 24:
        assert limits_in(done.stdout)["nofile"] == ("100", str(NOFILE + 1))
        return
    refused(done, value, "CAP_SYS_RESOURCE")
    told = instance.run(["--explain", *asked(value)])
    assert (told.returncode, told.stderr) == (done.returncode, done.stderr)


@pytest.fixture
def anne(service):
    return Member(service, ANNE)


def test_exec_has_them(service, anne):
    anne.run(["-d", "--name", "x", *asked("nofile=60:61")], ["sleep", "600"])
    got = limits_in(anne.isolate("exec", "x", "--", "cat", "/proc/self/limits").stdout)
    assert got["nofile"] == ("60", "61")
    refused(anne.isolate("exec", "--ulimit", "nofile=5", "x", "--", "true"), "--ulimit")
    assert anne.isolate("kill", "-s", "KILL", "x").returncode == 0
    wait_until(lambda: not service.leaves(), PATIENCE, "the end of x")


@pytest.mark.settings({"Limits.Ulimits": "nofile=500:600 core=0"})
def test_configuration(service, anne):
    command = ["cat", "/proc/self/limits"]
    got = limits_in(anne.run([], command).stdout)
    assert (got["nofile"], got["core"]) == (("500", "600"), ("0", "0"))
    got = limits_in(anne.run(asked("nofile=550"), command).stdout)
    assert (got["nofile"], got["core"]) == (("550", "550"), ("0", "0"))
    for value in ("nofile=550:601", "core=1", "nofile=unlimited"):
        refused(anne.run(asked(value), command), value.split("=")[0], "root only", "Ulimits=")
        refused(anne.run(["--explain", *asked(value)], command), value.split("=")[0], "root only", "Ulimits=")
    got = limits_in(service.output(asked("nofile=700:800", "core=5"), command))
    assert (got["nofile"], got["core"]) == (("700", "800"), ("5", "5"))


def test_members_only_lower(service, anne):
    """Without any configuration the daemon's own are the most."""
    refused(anne.run(asked(f"nofile={NOFILE + 1}")), "--ulimit", "root only", str(NOFILE))
    assert limits_in(anne.run(asked(f"nofile={NOFILE}"), ["cat", "/proc/self/limits"]).stdout)["nofile"] == (str(NOFILE),) * 2
