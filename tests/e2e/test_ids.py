# SPDX-License-Identifier: Apache-2.0
"""-u and -g of the original, and --first-id: the ids that a sandbox has on the host."""

import os
import pathlib
import shutil
import subprocess

import pytest

from sandboxes import BUILD, MEMBERS, wait_until

BASE, LAST = 3000000000, 4294901758

needs_uidmap = pytest.mark.skipif(
    not all(pathlib.Path(path).exists() for path in ("/usr/bin/newuidmap", "/usr/bin/bwrap")),
    reason="uidmap or bubblewrap is not installed")


def uid_on_host(pid):
    return int(next(line for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
                    if line.startswith("Uid:")).split()[1])


def status(instance, engine, root, *options):
    """uid_map and gid_map of a command, and its uid on the host."""
    process = instance.popen_isolate(*engine, *options, "-t", str(root), "sh", "-c",
                                     "cat /proc/self/uid_map /proc/self/gid_map; echo up >&2; read x",
                                     stdin=subprocess.PIPE)
    while process.stderr.readline() != "up\n":
        pass
    pid = wait_until(lambda: instance.member_named("sh"))
    uid = uid_on_host(pid)
    out, _ = process.communicate("\n")
    assert process.returncode == 0
    return [line.split() for line in out.splitlines()], uid


@pytest.mark.parametrize("engine", ["native", "bwrap"])
@pytest.mark.parametrize("options", [["-u", str(BASE)], ["-g", str(BASE)], ["-u", str(BASE), "-g", str(BASE)]])
def test_root(instance, small_root, tmp_path, engine, options):
    """Not only the numbers inside: the processes are those ids'."""
    if engine == "bwrap" and not pathlib.Path("/usr/bin/bwrap").exists():
        pytest.skip("bubblewrap is not installed")
    root = tmp_path / "root"
    subprocess.run(["cp", "-a", small_root, root], check=True)
    maps, uid = status(instance, ["-e", engine], root, *options)
    assert uid == BASE
    assert maps == 2 * [["0", str(BASE), "65536"]]


@pytest.mark.parametrize("base", [LAST, 2200000000])
def test_any_free_range(instance, base):
    done = instance.run(["--first-id", str(base), "-v", "/proc/self:/mnt:ro"], ["cat", "/proc/self/uid_map"])
    assert done.returncode == 0 and done.stdout.split() == ["0", str(base), "65536"], done


def refused(done, *words):
    assert (done.returncode, done.stdout) == (125, ""), done
    for word in words:
        assert word in done.stderr, (word, done.stderr)


@pytest.mark.parametrize("options, words", [
    (["-u", "many"], '-u: not a number from 65536 to 4294901758: "many"'), (["-u", "-5"], '-u: not a number from 65536 to 4294901758: "-5"'), (["-u", ""], '-u: not a number from 65536 to 4294901758: ""'), (["-u", "0x10000"], '-u: not a number from 65536 to 4294901758: "0x10000"'),
    (["-u", "0"], "65536"), (["-u", "65535"], "65536"), (["-u", str(LAST + 1)], str(LAST)),
    (["-u", "4294901760"], str(LAST)), (["-u", "4294967295"], str(LAST)), (["-g", "18446744073709551616"], "-g"),
    (["-g", "1e6"], '-g: not a number from 65536 to 4294901758: "1e6"'), (["-g", "100"], "65536"), 
    (["-u", str(BASE), "-g", str(BASE + 1)], "give both the same number"),
    (["-e", "chroot", "-u", str(BASE)], "engine chroot cannot map ids"),
])
def test_bad_numbers(instance, small_root, options, words):
    engine = [] if options[0] == "-e" else ["-e", "native"]
    refused(instance.isolate(*engine, *options, "-t", small_root, "true"), words)


def test_bad_first_id(instance):
    refused(instance.run(["--first-id", "65535"]), "--first-id", "65536")
    refused(instance.isolate("start", "--first-id", str(BASE), "x"), "--first-id")


def test_ranges_of_isolate_s_own(instance):
    for base in (1879048192, 1879048192 - 65535, 2147352575):
        refused(instance.run(["--first-id", str(base)]), "isolate's own", "FirstId=")
    assert instance.run(["--first-id", str(1879048192 - 65536)]).returncode == 0


def test_range_in_use(instance):
    process = instance.popen(["--first-id", str(BASE)], ["sh", "-c", "echo up; read x"], stdin=subprocess.PIPE)
    assert process.stdout.readline() == "up\n"
    for base in (BASE, BASE + 1, BASE - 1, BASE + 65535, BASE - 65535):
        refused(instance.run(["--first-id", str(base)]), "are in use, by ")
    for base in (BASE + 65536, BASE - 65536):
        assert instance.run(["--first-id", str(base)]).returncode == 0
    process.communicate("\n")
    assert instance.run(["--first-id", str(BASE)]).returncode == 0


def test_kept_with_its_ids(instance):
    assert instance.run(["--keep", "--name", "k", "--first-id", str(BASE)], ["touch", "/srv/x"]).returncode == 0
    refused(instance.run(["--first-id", str(BASE + 1)]), "are in use")
    done = instance.isolate("start", "k", "--", "sh", "-c", "stat -c %u /srv/x; cat /proc/self/uid_map")
    assert done.stdout.split() == ["0", "0", str(BASE), "65536"], done
    instance.ok("rm", "k")


class Etc:
    """Commands with files of their own in the place of some in /etc, and nothing else changed."""

    def __init__(self, directory):
        self.directory = directory
        self.files = {}

    def write(self, name, text):
        (self.directory / name).write_text(text)
        self.files[name] = self.directory / name

    def argv(self, *command):
        mounts = "".join(f"mount --bind {path} /etc/{name} && " for name, path in self.files.items())
        return ["unshare", "--mount", "sh", "-c", f'{mounts}exec "$@"', "sh", *map(str, command)]


@pytest.fixture
def etc(tmp_path):
    return Etc(tmp_path)


@pytest.mark.parametrize("name, line", [
    ("subuid", "anne:100000:65536\n"), ("subgid", "anne:165535:1\n"), ("subuid", "anne:34465:65536\n"),
    ("passwd", "anne:x:100005:100::/:/bin/sh\n"), ("passwd", "anne:x:1000:165535::/:/bin/sh\n"),
    ("group", "annes:x:100000:\n"),
])
def test_ranges_of_others(instance, etc, name, line):
    """Only where the file says so: one id beside it is free."""
    etc.write(name, pathlib.Path(f"/etc/{name}").read_text() + line)
    run = [BUILD / "isolate", "run", "--first-id", "100000", instance.template, "--", "true"]
    plain = instance.call([*map(str, run)])
    refused(instance.call(etc.argv(*run)), "are not free", f"/etc/{name}", "anne")
    assert plain.returncode == 0 or "are not free" in plain.stderr


# those that isolated gives


def own_ranges(instance, tmp_path, n, first=None):
    """The environment of an isolate with n ranges."""
    config = tmp_path / "few.conf"
    config.write_text(instance.config.read_text() + f"[Sandboxes]\nFirstId={first or OWN}\nRanges={n}\n")
    return {"ISOLATE_CONFIG": str(config)}


OWN = 1879048192


@pytest.mark.parametrize("name, line", [
    ("subuid", f"anne:{OWN}:65536\n"), ("subgid", f"anne:{OWN + 65535}:1\n"),
    ("passwd", f"anne:x:{OWN + 7}:100::/:/bin/sh\n"), ("group", f"anne:x:{OWN}:\n"),
])
def test_own_ranges_that_are_somebody_s(instance, etc, tmp_path, name, line):
    """They are left out, whichever chance names first; where there is no other, the error says whose."""
    etc.write(name, pathlib.Path(f"/etc/{name}").read_text() + line)
    show = [BUILD / "isolate", "run", instance.template, "--", "cat", "/proc/self/uid_map"]
    two = own_ranges(instance, tmp_path, 2)
    bases = set()
    for _ in range(12):
        done = instance.call(etc.argv(*show), env=two)
        assert done.returncode == 0, done
        bases.add(int(done.stdout.split()[1]))
    assert bases == {OWN + 65536}
    one = own_ranges(instance, tmp_path, 1)
    refused(instance.call(etc.argv(*show), env=one), f"/etc/{name}", "anne", "FirstId=", "0 of 1 are in use")
    assert instance.call([*map(str, show)], env=one).returncode == 0


def test_own_ranges_that_are_systemd_s(instance, tmp_path):
    env = own_ranges(instance, tmp_path, 1, first=524288)
    refused(instance.run(env=env), "systemd gives 524288 to", "FirstId=")


def owned_by_range(first, *places):
    """What lies there and belongs to ids of the range."""
    find = ["find", *map(str, places), "-xdev", "(", "-uid", f"+{first - 1}", "-uid", f"-{first + 65536}",
            "-o", "-gid", f"+{first - 1}", "-gid", f"-{first + 65536}", ")"]
    return subprocess.run(find, text=True, capture_output=True, check=False).stdout.splitlines()


LEAVE = """cat /proc/self/uid_map
for f in /srv/x /tmp/x /dev/shm/x /run/x /mnt/x; do echo hi > $f; chown 7:9 $f 2>/dev/null; done; mkdir /srv/d
perl -e 'shmget(1234, 4096, 01600) // die; msgget(1234, 01600) // die'"""


@pytest.mark.parametrize("keep", [False, True])
def test_range_is_free_when_nothing_is_its_own(instance, tmp_path, keep):
    """Whatever its owner leaves: files of other ids, in tmpfs and in binds, and SysV IPC."""
    tmp_path.chmod(0o777)
    options = ["--name", "k", "--keep"] if keep else []
    done = instance.run([*options, "--bind", f"{tmp_path}:/mnt"], ["sh", "-c", LEAVE])
    assert done.returncode == 0, done
    first = int(done.stdout.split()[1])
    places = (instance.state, instance.runtime, tmp_path, "/dev/shm", "/tmp", "/dev/mqueue")
    mark = instance.runtime / "ids" / str(first)
    if keep:
        assert mark.read_text() and owned_by_range(first, instance.state), "its clone, which holds the range"
        instance.ok("rm", "k")
    wait_until(lambda: not mark.exists(), 20, "that the range is given back")
    assert owned_by_range(first, *places) == []
    assert (tmp_path / "x").stat().st_uid == 0, "the caller's"
    for kind in ("shm", "msg"):
        lines = pathlib.Path(f"/proc/sysvipc/{kind}").read_text().splitlines()[1:]
        assert not [line for line in lines if str(first) in line.split()]


def test_all_ranges_in_use(instance, tmp_path):
    env = own_ranges(instance, tmp_path, 2)
    names = ("k1", "k2")
    for name in names:
        assert instance.run(["--keep", "--name", name], env=env).returncode == 0
    refused(instance.run(env=env), "all 2 id ranges are in use", "isolate ps -a", "Ranges=")
    instance.ok("rm", "k1", env=env)
    assert instance.run(env=env).returncode == 0
    assert instance.run(env=env).returncode == 0, "a range is given back when its sandbox has ended"
    instance.ok("rm", "k2", env=env)


# who is not root

@pytest.fixture
def user(etc, small_root, session_directory):
    """`isolate` as uid 1234, who has 200000 to 299999 as subordinate ids."""
    place = session_directory / "mapped"
    place.mkdir(mode=0o755)
    for program in ("isolate", "isolate-ctl"):
        shutil.copy(BUILD / program, place / program)
    subprocess.run(["cp", "-a", small_root, place / "root"], check=True)
    for name in ("home", "tmp"):
        (place / "root" / name).mkdir(exist_ok=True)
    etc.write("passwd", pathlib.Path("/etc/passwd").read_text() + "mary:x:1234:1234::/:/bin/sh\n")
    for name in ("subuid", "subgid"):
        etc.write(name, "other:500000:65536\nmary:200000:100000\n")

    def call(*arguments, **kw):
        argv = etc.argv("setpriv", "--reuid", "1234", "--regid", "1234", "--groups", str(MEMBERS), "--",
                        place / "isolate", "-q", *arguments)
        environment = {"PATH": "/usr/bin:/bin", "ISOLATE_LIBEXEC_DIR": str(place), "ISOLATE_SOCKET": "",
                       **kw.pop("env", {})}
        return subprocess.run(argv, env=environment, text=True, capture_output=True, cwd="/", timeout=60,
                              check=False, **kw)

    call.root = place / "root"
    call.etc = etc
    yield call
    shutil.rmtree(place)


@needs_uidmap
def test_user_with_subordinate_ids(user, tmp_path):
    """The command is those ids on the host, in none of the user's groups; -u and -g may differ."""
    script = "id -u; id -G; cat /proc/self/uid_map /proc/self/gid_map; exit 5"
    done = user("-u", "200000", "-g", "210000", "-t", user.root, "sh", "-c", script)
    assert done.returncode == 5, done
    assert done.stdout.split() == ["0", "0", "0", "200000", "65536", "0", "210000", "65536"], done
    done = user("-g", "234464", "-t", user.root, "cat", "/proc/self/uid_map")
    assert done.stdout.split() == ["0", "234464", "65536"]
    out = tmp_path / "out"
    out.mkdir()
    out.chmod(0o777)
    for parent in [tmp_path, *tmp_path.parents[:-1]]:
        parent.chmod(parent.stat().st_mode | 0o011)
    (user.root / "srv").chmod(0o755)
    done = user("-u", "200000", "-d", f"{out}:/srv", "-t", user.root, "sh", "-c",
                "touch /srv/x; cat /proc/self/status; echo y >/etc/y")
    for line in ("Seccomp:\t2", "NoNewPrivs:\t1", "CapEff:\t0000000000000000"):
        assert line in done.stdout, done
    assert "Read-only file system" in done.stderr
    assert os.stat(out / "x").st_uid == 200000


@needs_uidmap
def test_user_s_hooks_and_ids(user):
    """Hooks are the user's own all the same, with rights that no_new_privs has not cut."""
    done = user("-u", "200000", "-t", user.root, "id", "-u", env={
        "PRE_SPAWN_HOOK": "id -u; grep NoNew /proc/self/status", "POST_SPAWN_HOOK": "id -u"})
    assert (done.returncode, done.stdout) == (0, "0\n"), done
    assert done.stderr.split() == ["1234", "NoNewPrivs:", "0", "1234"]


@needs_uidmap
@pytest.mark.parametrize("options, words", [
    (["-u", "234465"], "-u 234465: of subordinate ids /etc/subuid gives you 200000 to 299999"),
    (["-u", "199999"], "and 199999 to 265534 must all be yours"),
    (["-u", "500000"], "200000 to 299999"), (["-u", "1879048192"], "200000 to 299999"),
    (["-u", "200000", "-g", "500000"], "-g 500000: of subordinate ids /etc/subgid gives you"),
    (["-u", "200000", "-2"], "-1, -2: with -u and -g the command is somebody else here"),
    (["-u", "1000"], "65536"), (["-u", "x"], '-u: not a number from 65536 to 4294901758: "x"'), (["-g", "-1"], '-g: not a number from 65536 to 4294901758: "-1"'), (["-g", "4294967295"], str(LAST)),
])
def test_user_with_other_ids(user, options, words):
    refused(user(*options, "-t", user.root, "true"), words)


@needs_uidmap
def test_user_without_subordinate_ids(user):
    for name in ("subuid", "subgid"):
        user.etc.write(name, "other:500000:65536\n")
    refused(user("-u", "200000", "-t", user.root, "true"), "gives you no subordinate ids",
            "usermod --add-subuids 200000-265535 mary")


@needs_uidmap
def test_user_without_uidmap(user):
    user.etc.files["../usr/bin/newuidmap"] = pathlib.Path("/dev/null")
    refused(user("-u", "200000", "-t", user.root, "true"), "newuidmap is not installed; apt install uidmap")


@needs_uidmap
@pytest.mark.parametrize("what", ["root", "bind"])
def test_user_s_own_that_is_closed_to_others(user, tmp_path, what):
    private = user.root if what == "root" else user.root.parent / "private"
    private.mkdir(exist_ok=True)
    private.chmod(0o700)
    os.chown(private, 1234, 1234)
    bind = ["-d", f"{private}/x:/srv"] if what == "bind" else []
    (private / "x").mkdir()
    refused(user("-u", "200000", *bind, "-t", user.root, "ls"), str(private), "chmod o+rx")


def test_explained(instance):
    explain = ["run", "--explain", "--json", "--first-id"]
    assert instance.isolate(*explain, str(BASE), instance.template, "--", "true").returncode == 0
    refused(instance.isolate(*explain, "1879048192", instance.template, "--", "true"), "isolate's own")
