# SPDX-License-Identifier: Apache-2.0
"""Whatever is wrong: a message that names it, exit status 125 (126, 127 where a command is what is
wrong), and nothing left."""

import array
import contextlib
import ctypes
import errno
import json
import os
import pathlib
import platform
import shutil
import socket
import struct
import subprocess
import time

import pytest

from sandboxes import BUILD, ENGINE, Instance, PATIENCE, cgroup2_mount, wait_until
from terminal import Terminal


def refused(done, *words, status=125):
    """It failed as it should: with that status, and every word in what it said."""
    assert done.returncode == status, done
    assert done.stderr.startswith("isolate: "), done
    assert done.stderr.endswith("\n") and done.stderr.count("\n") == 1, done
    for word in words:
        assert word in done.stderr, (word, done.stderr)
    assert done.stdout in ("", None)


# where it prints to


@pytest.mark.parametrize("words", [
    ["engines"], ["engines", "--json"], ["doctor", "--json"], ["help"], ["completion", "bash"], ["version"],
    ["run", "--explain", "@host"], ["run", "--explain", "--json", "@host"]], ids=" ".join)
def test_full_standard_output(instance, words):
    """What could not be written is not taken for written."""
    with open("/dev/full", "w", encoding="utf-8") as full:
        refused(instance.isolate(*words, stdout=full), "standard output: No space left on device")


def test_socket_where_nobody_answers(instance, tmp_path):
    """Who names a daemon does not get another one without being told."""
    env = {"ISOLATE_SOCKET": str(tmp_path / "io.isolate")}
    for words in (["ps"], ["run", instance.template, "--", "true"]):
        refused(instance.isolate(*words, env=env), f"no isolated is running at ISOLATE_SOCKET={tmp_path}/io.isolate")
    checks = json.loads(instance.isolate("doctor", "--json", env=env).stdout)["checks"]
    (check,) = [one for one in checks if one["name"] == "daemon"]
    assert (check["result"], "isolated.socket" in check["remedy"]) == ("optional", True), check


# unknown names


def test_unknown_template(instance):
    refused(instance.run([], ["true"], template="no-such-template"), '"no-such-template"', "template ls")


def test_unknown_directory_as_template(instance, tmp_path):
    refused(instance.run([], ["true"], template=f"{tmp_path}/none"), f"{tmp_path}/none", "No such file")
    refused(instance.run([], ["true"], template="./none", cwd=tmp_path), "./none")


def test_file_as_template(instance):
    refused(instance.run([], ["true"], template="/etc/passwd"), "/etc/passwd", "Not a directory")


def test_unknown_at_word(instance):
    refused(instance.run([], ["true"], template="@hots"), "@hots", "@host")


def test_unknown_generation(instance):
    refused(instance.run([], ["true"], template="no-such-template@20200101T000000Z"), "no-such-template")


def test_unknown_engine(instance):
    refused(instance.run(["--engine", "nativ"]), '"nativ"', "native")


def test_unknown_storage(instance):
    refused(instance.run(["--storage", "overlai"]), '"overlai"', "overlay")


def test_storage_that_keeps_no_templates(instance):
    refused(instance.run(["--storage", "dir"], template="no-such-template"), "dir")


@pytest.mark.parametrize("user", ["no-such-user", "no-such-user:games", "games:no-such-group", "70000",
                                  "4294967295", "-1", "", ":", "0:70000", "root:", ":5"])
def test_unknown_user(instance, user):
    # the part that is wrong is named, whichever it is
    done = instance.run(["-u", user])
    refused(done)
    assert any(part in done.stderr for part in (f'"{user}"', *(f'"{p}"' for p in user.split(":"))))


@pytest.mark.parametrize("option, nearest", [
    ("--timeuot=1s", "--timeout"), ("--hostnmae", "--hostname"), ("--read-onyl", "--read-only"),
    ("--bnd", "--bind"), ("--netwrok", "--network"),
])
def test_unknown_option_names_the_nearest(instance, option, nearest):
    refused(instance.run([option]), option.split("=")[0], nearest)


@pytest.mark.parametrize("words, here", [
    (["run", "--rm", "t", "true"], "--keep"), (["run", "--volume=/a:/b", "t"], "-v SOURCE:TARGET"),
    (["run", "--ro-bind", "/a", "/b", "t"], ":ro"), (["logs", "--tail=5", "x"], "| tail"), (["kill", "-9", "x"], "-s 9"),
])
def test_options_known_elsewhere(instance, words, here):
    refused(instance.isolate(*words), words[1].split("=")[0][:6], here)


def test_unknown_letter(instance):
    refused(instance.run(["-Z"]), "-Z", "help")


def test_unknown_verb_names_the_nearest(instance):
    refused(instance.isolate("rnu"), '"rnu"', '"run"')
    refused(instance.isolate("template", "updaet", "x"), "updaet")
    refused(instance.isolate("templaet", "ls"), "templaet")


def test_missing_value_and_missing_template(instance):
    refused(instance.isolate("run", "--bind"), "--bind")
    refused(instance.isolate("run"), "TEMPLATE")
    refused(instance.isolate("run", "--read-only=yes", "x"), "--read-only")


def test_no_verb(instance):
    done = instance.isolate()
    assert done.returncode == 125
    assert "run" in done.stdout + done.stderr


# template names


BAD_NAMES = ["a/b", "/", "..", ".", "a\nb", "", "x" * 300, "A", "-a", ".a", "a b", "ä",
             "x_1234567890123456789"]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_bad_template_name_to_create(instance, small_root, name):
    refused(instance.isolate("template", "create", "--from", f"dir:{small_root}", "--", name))


@pytest.mark.parametrize("name", [n for n in BAD_NAMES if n not in ("/", "..", ".")])
def test_bad_template_name_to_run(instance, name):
    refused(instance.isolate("run", "--", name, "true"))


@pytest.mark.parametrize("verb", [["template", "inspect"], ["template", "rm"], ["template", "snapshot"],
                                  ["template", "update"]])
@pytest.mark.parametrize("name", ["a/b", "../../x", "a\nb", "", "x" * 300, "no-such-template"])
def test_bad_template_name_to_other_verbs(instance, verb, name):
    refused(instance.isolate(*verb, "--", name))


def test_control_characters_are_escaped(instance):
    done = instance.run([], ["true"], template="a\x1b[31mb\n")
    refused(done)
    assert "\x1b" not in done.stderr


# binds


def test_bind_source_missing(instance, tmp_path):
    refused(instance.run(["-v", f"{tmp_path}/none:/mnt"]), f"{tmp_path}/none", "No such file")


@pytest.fixture(scope="session")
def for_everybody(session_directory, rootfs):
    """An ordinary user may come as far as the binaries."""
    open_directory = pathlib.Path("/tmp") / f"isolate-e2e-bin-{os.getpid()}"
    open_directory.mkdir(mode=0o755)
    for name in ("isolate", "isolated", "isolate-init"):
        shutil.copy2(BUILD / name, open_directory / name)
    yield open_directory
    shutil.rmtree(open_directory)


def test_bind_source_unreadable(instance, tmp_path):
    """What the caller may not reach is refused by the kernel: the client opens it as the caller."""
    hidden = tmp_path / "hidden"
    (hidden / "sub").mkdir(parents=True)
    hidden.chmod(0)
    # root without the capabilities that pass over modes
    argv = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search", "--inh-caps",
            "-dac_override,-dac_read_search", *instance.run_argv(["-v", f"{hidden}/sub:/mnt"])]
    refused(instance.call(argv), f"{hidden}/sub", "Permission denied")


def test_bind_file_on_a_directory(instance, tmp_path):
    (tmp_path / "f").write_text("")
    refused(instance.run(["-v", f"{tmp_path}/f:/usr/lib"]), "/usr/lib", "directory")


def test_bind_directory_on_a_file(instance, tmp_path):
    refused(instance.run(["-v", f"{tmp_path}:/etc/passwd"]), "/etc/passwd", "not a directory")
    refused(instance.run(["-v", f"{tmp_path}:/etc/passwd/deeper"]), "/etc/passwd", "not a directory")


@pytest.mark.parametrize("target", ["/mnt/..", "/mnt/../x", "/..", "/mnt/./x", "/mnt//x"])
def test_bind_target_with_dots(instance, tmp_path, target):
    refused(instance.run(["-v", f"{tmp_path}:{target}"]), target)


@pytest.mark.parametrize("target", ["/", "//", "relative", "", "./x"])
def test_bind_target_bad(instance, tmp_path, target):
    refused(instance.run(["-v", f"{tmp_path}:{target}"]), "bind")


@pytest.mark.parametrize("target", ["/proc", "/proc/sys", "/sys/fs", "/dev/pts", "/proc/1/root/x"])
def test_bind_target_in_own_file_systems(instance, tmp_path, target):
    refused(instance.run(["-v", f"{tmp_path}:{target}"]), target)


def test_bind_target_too_long(instance, tmp_path):
    refused(instance.run(["-v", f"{tmp_path}:/{'x' * 300}"]), "bind")
    refused(instance.run(["-v", f"{tmp_path}:/{'x/' * 2100}"]), "bind")


def test_bind_same_target_twice(instance, tmp_path):
    refused(instance.run(["-v", f"{tmp_path}:/mnt", "-v", "/usr:/mnt"]), "/mnt")


def test_bind_options_unknown(instance, tmp_path):
    refused(instance.run(["-v", f"{tmp_path}:/mnt:readonly"]), "readonly", "ro")


@pytest.mark.parametrize("options", ["ro,rw", "rw:ro", "rbind,rw,ro"])
def test_bind_options_that_exclude_each_other(instance, tmp_path, options):
    refused(instance.run(["-v", f"{tmp_path}:/mnt:{options}"]), "ro and rw", options)


def test_bind_without_a_target(instance, tmp_path):
    refused(instance.run(["-v", str(tmp_path)]), "SRC:DST")


@pytest.mark.parametrize("source", ["/dev/null", "/dev/zero"])
def test_bind_of_a_device(instance, source):
    refused(instance.run(["-v", f"{source}:/mnt/x"]), source, "device")


def test_too_many_binds(instance, tmp_path):
    options = [word for i in range(300) for word in ("-v", f"{tmp_path}:/mnt/{i}")]
    refused(instance.run(options), "bind")


# the command


def test_workdir_missing(instance):
    refused(instance.run(["-w", "/no/such/directory"]), "/no/such/directory", "No such file")
    refused(instance.run(["-w", "/etc/passwd"]), "/etc/passwd", "Not a directory")
    refused(instance.run(["-w", "relative"]), "relative", "absolute")


def test_workdir_closed_to_the_user(instance):
    refused(instance.run(["-u", "games", "-w", "/root"]), "/root", "Permission denied")


def test_command_missing(instance):
    refused(instance.run([], ["no-such-command"]), "no-such-command", status=127)
    refused(instance.run([], ["/usr/bin/no-such"]), "/usr/bin/no-such", status=127)


def test_command_not_executable(instance):
    refused(instance.run([], ["/etc/passwd"]), "/etc/passwd", status=126)
    refused(instance.run([], ["/usr"]), "/usr", status=126)


def test_template_without_a_shell(instance, tmp_path):
    (tmp_path / "empty").mkdir()
    done = instance.run([], ["sh"], template=str(tmp_path / "empty"))
    # systemd-nspawn starts nothing without a /usr
    word, status = ("/usr", 125) if ENGINE == "nspawn" else ("sh", 127)
    refused(done, word, status=status)
    assert os.listdir(tmp_path / "empty") == []


def test_command_without_its_interpreter(instance, small_root, tmp_path):
    root = tmp_path / "root"
    shutil.copytree(small_root, root, symlinks=True)
    script = root / "usr/bin/script"
    script.write_text("#! /no/such/python -u\n")
    script.chmod(0o755)
    for command in ("/usr/bin/script", "script"):
        refused(instance.run([], [command], template=str(root)), "/usr/bin/script: cannot be executed",
                "its interpreter /no/such/python is not in the sandbox", status=126)
    linker = next((root / "usr/lib64").glob("ld-linux*"))
    linker.unlink()
    refused(instance.run([], ["true"], template=str(root)), f"its interpreter /lib64/{linker.name} is not", status=126)


def of_another_machine(program):
    """The same program, said to be for one that this one is not."""
    content = bytearray(program.read_bytes())
    struct.pack_into("<H", content, 18, 243 if platform.machine() != "riscv64" else 183)
    program.write_bytes(content)


def test_template_of_another_architecture(instance, small_root, tmp_path):
    root = tmp_path / "root"
    shutil.copytree(small_root, root, symlinks=True)
    of_another_machine(root / "usr/bin/sh" if not (root / "usr/bin/sh").is_symlink() else
                       root / "usr/bin" / os.readlink(root / "usr/bin/sh"))
    for command in ("/bin/sh", "sh"):
        refused(instance.run([], [command], template=str(root)), "bin/sh: cannot be executed: a program for ",
                f"this machine is {platform.machine()}", "qemu-user-static", status=126)


def test_command_that_is_no_program(instance, small_root, tmp_path):
    root = tmp_path / "root"
    shutil.copytree(small_root, root, symlinks=True)
    for name, content, words in (("text", b"true\n", "neither a program nor a script"),
                                 ("empty", b"", "neither a program nor a script"),
                                 ("damaged", (root / "usr/bin/true").read_bytes()[:64], "damaged")):
        (root / "usr/bin" / name).write_bytes(content)
        (root / "usr/bin" / name).chmod(0o755)
        refused(instance.run([], [name], template=str(root)), f"/usr/bin/{name}: cannot be executed", words, status=126)


ODD = {
    "no_etc": ("etc",),
    "no_mount_points": ("proc", "sys", "dev", "tmp", "run"),
    "nothing_but_programs": ("etc", "proc", "sys", "dev", "tmp", "run", "root", "var", "srv"),
}


def replace(root, names, make):
    for name in names:
        if (root / name).exists():
            shutil.rmtree(root / name)
        make(root / name)


@pytest.mark.parametrize("kind", [*ODD, "links", "hostile_links", "files", "fifos"])
def test_template_with_odd_directories(instance, small_root, tmp_path, kind):
    """What is missing is made in the clone, what stands in the way is replaced there: the template stays."""
    root = tmp_path / "root"
    shutil.copytree(small_root, root, symlinks=True)
    points = ("proc", "sys", "dev", "tmp", "run")
    replace(root, ODD.get(kind, points), {
        "links": lambda path: path.symlink_to("srv"), "hostile_links": lambda path: path.symlink_to("../../../../etc"),
        "files": lambda path: path.write_text("in the way\n"), "fifos": os.mkfifo}.get(kind, lambda path: None))
    before = sorted(os.listdir(root)), sorted(os.listdir("/etc"))
    script = "[ -r /proc/self/status ] && [ -c /dev/null ] && [ -d /tmp ] && [ -d /run ] && [ ! -L /dev ] && echo ok"
    done = instance.run([], ["sh", "-c", script], template=str(root))
    assert (done.returncode, done.stdout, done.stderr) == (0, "ok\n", ""), done
    assert (sorted(os.listdir(root)), sorted(os.listdir("/etc"))) == before


def test_argument_list_too_long(instance):
    done = instance.run(["-e", "BIG=" + "x" * 130000], [*["x" * 100000] * 5])
    assert done.returncode in (125, 126, 127)
    assert done.stderr


# rights and the kernel


def test_not_root(instance, for_everybody, rootfs):
    argv = [for_everybody / "isolate", "run", "/usr", "--", "true"]
    env = {"ISOLATE_LIBEXEC_DIR": str(for_everybody)}
    refused(instance.call(argv, env=env, user=65534, group=65534, extra_groups=[]), "root")


def test_not_root_for_the_other_verbs(instance, for_everybody):
    if not (BUILD / "isolate-ctl").exists():
        pytest.skip("isolate-ctl is not built")
    shutil.copy2(BUILD / "isolate-ctl", for_everybody / "isolate-ctl")
    env = {"ISOLATE_LIBEXEC_DIR": str(for_everybody)}
    for verb in (["ps", "-a"], ["template", "ls"], ["template", "rm", "x"], ["prune"], ["rm", "x"]):
        argv = [for_everybody / "isolate", *verb]
        refused(instance.call(argv, env=env, user=65534, group=65534, extra_groups=[]), "root")


def test_without_cgroup2(instance):
    script = 'umount -l "$0" && exec "$@"'
    argv = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script,
            cgroup2_mount(), *instance.run_argv()]
    refused(instance.call(argv), "cgroup v2")


def test_with_a_read_only_cgroup2(instance):
    script = 'mount -o remount,bind,ro "$0" && exec "$@"'
    argv = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script,
            cgroup2_mount(), *instance.run_argv()]
    refused(instance.call(argv), "cgroup", "Read-only")


# struct sock_filter programs: a kernel that lacks a system call says ENOSYS
SYSTEM_CALLS = {"open_tree": 428, "move_mount": 429, "fsopen": 430, "fsconfig": 431, "fsmount": 432, "clone3": 435,
                "openat2": 437, "mount_setattr": 442,
                **{"x86_64": {"execveat": 322, "statx": 332},
                   "aarch64": {"execveat": 281, "statx": 291}}.get(platform.machine(), {})}
# what is done without where it is missing
SPARED_CALLS = {"fspick": 433, "pidfd_open": 434, "pidfd_send_signal": 424, "pidfd_getfd": 438, "faccessat2": 439,
                "landlock_create_ruleset": 444}
if ENGINE != "native":  # whose inner init names its children by it
    SYSTEM_CALLS["pidfd_open"] = SPARED_CALLS.pop("pidfd_open")


def without(number, answer=errno.ENOSYS):
    def install():
        code = b"".join((
            struct.pack("HBBI", 0x20, 0, 0, 0),                      # A = nr
            struct.pack("HBBI", 0x15, 0, 1, number),                 # A == number?
            struct.pack("HBBI", 0x06, 0, 0, 0x00050000 | answer),    # ERRNO
            struct.pack("HBBI", 0x06, 0, 0, 0x7FFF0000),             # ALLOW
        ))
        program = ctypes.create_string_buffer(code, len(code))
        header = struct.pack("HxxxxxxP", 4, ctypes.addressof(program))
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(22, 2, header, 0, 0) != 0:  # PR_SET_SECCOMP, SECCOMP_MODE_FILTER
            raise OSError(ctypes.get_errno(), "seccomp")

    return install


@pytest.mark.parametrize("name", sorted(SYSTEM_CALLS))
@pytest.mark.skipif(struct.calcsize("P") != 8, reason="numbers and layout of 64-bit machines")
def test_kernel_without_a_system_call(instance, name):
    done = instance.call(instance.run_argv(), preexec_fn=without(SYSTEM_CALLS[name]))
    refused(done, f"lacks {name}:", "doctor")
    checked = instance.isolate("doctor", preexec_fn=without(SYSTEM_CALLS[name]))
    assert checked.returncode == 1 and f"lacks {name}:" in checked.stdout, checked


@pytest.mark.parametrize("name", sorted(SPARED_CALLS))
@pytest.mark.skipif(struct.calcsize("P") != 8, reason="numbers and layout of 64-bit machines")
def test_kernel_without_a_call_that_is_spared(instance, name):
    done = instance.call(instance.run_argv((), ("sh", "-c", "exit 7")), preexec_fn=without(SPARED_CALLS[name]))
    assert (done.returncode, done.stdout, done.stderr) == (7, "", ""), done


@pytest.mark.skipif(struct.calcsize("P") != 8, reason="numbers and layout of 64-bit machines")
@pytest.mark.parametrize("name", ["close_range", "memfd_create"])
def test_kernel_without_what_isolated_begins_with(instance, name):
    number = {"close_range": 436, "memfd_create": {"x86_64": 319, "aarch64": 279}.get(platform.machine())}[name]
    if not number:
        pytest.skip(f"the number of {name} is not known here")
    done = instance.call(instance.run_argv(), preexec_fn=without(number))
    assert done.returncode == 125 and name in done.stderr, done


@pytest.mark.parametrize("answer", [errno.ENOSPC, errno.EPERM, errno.EINVAL])
@pytest.mark.skipif(struct.calcsize("P") != 8, reason="numbers and layout of 64-bit machines")
def test_without_user_namespaces(instance, answer):
    """As clone3 answers where user.max_user_namespaces is 0, or where they are switched off."""
    done = instance.call(instance.run_argv(), preexec_fn=without(SYSTEM_CALLS["clone3"], answer))
    refused(done, "namespace", "doctor")


def test_kernel_without_seccomp_inside(instance):
    number = {"x86_64": 317, "aarch64": 277}.get(platform.machine())
    if not number:
        pytest.skip("the number of seccomp is not known here")
    refused(instance.call(instance.run_argv(), preexec_fn=without(number)), "filter")


def test_incomplete_installation(instance, tmp_path):
    (tmp_path / "libexec").mkdir()
    env = {"ISOLATE_LIBEXEC_DIR": str(tmp_path / "libexec")}
    refused(instance.run(env=env), str(tmp_path / "libexec"), "isolated", "installed")
    shutil.copy2(BUILD / "isolated", tmp_path / "libexec")
    refused(instance.run(env=env), "isolate-init", "installed")
    refused(instance.isolate("ps", env=env), "isolate-ctl", "installed")


@pytest.mark.parametrize("text, word", [
    ("[Paths]\nStateDirectory=relative\n", "StateDirectory"),
    ("[Sandboxes]\nCgroup=a/../b\n", "Cgroup"),
    ("[Sandboxes]\nCgroup=/a\n", "Cgroup"),
    ("[Sandboxes]\nCgroup=a/\n", "Cgroup"),
    ("[Sandboxes]\nFirstId=0\n", "FirstId"),
    ("[Sandboxes]\nNoSuchKey=1\n", "NoSuchKey"),
    ("[Limits]\nUlimits=nofile=1 nofiles=2\n", '"nofile"'),
    ("[Limits]\nUlimits=core\n", "Ulimits="),
    ("nonsense\n", "1"),
    # the reader's lines end at 198 bytes: the rest would be a line of its own, here one that says something
    ("[Sandboxes]\nCgroup=" + "a" * 192 + "\nRanges=1\n", ":2: longer than 198 bytes"),
    ("[Templates]\nStorage=" + "a" * 191 + "Storage=dir\n", ":2: longer than 198 bytes"),
    ("# " + "x" * 400 + "\n[Sandboxes]\nNoSuchKey=1\n", ":3: unknown key"),
])
def test_bad_configuration(instance, tmp_path, text, word):
    path = tmp_path / "conf"
    path.write_text(text)
    refused(instance.run(env={"ISOLATE_CONFIG": str(path)}), str(path), word)


def test_missing_configuration(instance, tmp_path):
    refused(instance.run(env={"ISOLATE_CONFIG": str(tmp_path / "none")}), str(tmp_path / "none"))


def test_state_directory_open_to_others(instance, tmp_path):
    state = tmp_path / "state"
    state.mkdir(mode=0o755)
    path = tmp_path / "conf"
    path.write_text(f"[Paths]\nStateDirectory={state}\nRuntimeDirectory={instance.runtime}\n")
    refused(instance.run(env={"ISOLATE_CONFIG": str(path)}), str(state), "0700")


# disk full


@contextlib.contextmanager
def small_disk(path, megabytes):
    """A file system of its own in a file."""
    image = path / "disk.img"
    mounted = path / "disk"
    mounted.mkdir()
    with open(image, "wb") as file:
        file.truncate(megabytes << 20)
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-m", "0", image], check=True)
    subprocess.run(["mount", "-o", "loop", image, mounted], check=True)
    try:
        yield mounted
    finally:
        subprocess.run(["umount", mounted], check=True)
        image.unlink()


def free_bytes(path):
    st = os.statvfs(path)
    return st.f_bavail * st.f_frsize


def fill(path):
    """Takes the last block and the last inode."""
    filler = path / "filler"
    filler.mkdir()
    fd = os.open(filler / "big", os.O_WRONLY | os.O_CREAT)
    for size in (1 << 20, 4096, 1):
        with contextlib.suppress(OSError):
            while os.write(fd, b"x" * size):
                pass
    os.close(fd)
    with contextlib.suppress(OSError):
        for i in range(1 << 20):
            (filler / str(i)).touch()
    return filler


@pytest.fixture
def full_disk(tmp_path, small_root):
    """An installation whose state lies on a small disk of 40 MB."""
    base = tmp_path / "small"
    base.mkdir(mode=0o700)
    with small_disk(base, 40) as mounted:
        with Instance(mounted / "instance", f"isolate-test-{os.getpid()}-full",
                      template=str(small_root)) as made:
            made.output([], ["true"])
            wait_until(lambda: not [n for n in made.clones() if "/clones/" in n], 20, "its removal")
            yield made, mounted


def test_disk_full_while_creating_a_template(full_disk, root_tar):
    made, mounted = full_disk
    before = made.clones(), made.records()
    room = free_bytes(mounted)
    done = made.isolate("template", "create", "big", "--from", f"tar:{root_tar}")
    assert done.returncode == 125, done
    assert "the disk is full at" in done.stderr or "No space left" in done.stderr
    assert "; free space in storage overlay (" in done.stderr
    assert '"big"' in done.stderr
    wait_until(lambda: free_bytes(mounted) >= room - (64 << 10), 20, "the return of the space")
    wait_until(lambda: (made.clones(), made.records()) == before, 20, "that nothing is left")
    assert json.loads(made.ok("template", "ls", "--json")) == []


def test_disk_full_before_creating_a_template(full_disk, small_root):
    made, mounted = full_disk
    fill(mounted)
    before = made.clones(), made.records()
    done = made.isolate("template", "create", "small", "--from", f"dir:{small_root}")
    assert done.returncode == 125, done
    assert "No space left" in done.stderr
    assert (made.clones(), made.records()) == before


def test_disk_full_while_running(full_disk):
    made, mounted = full_disk
    room = free_bytes(mounted)
    done = made.run([], ["dd", "if=/dev/zero", "of=/big", "bs=1M", "count=100"])
    assert done.returncode == 1, done
    assert "No space left" in done.stderr
    wait_until(lambda: free_bytes(mounted) >= room - (64 << 10), 20, "the return of the space")


def test_disk_full_before_running(full_disk):
    made, mounted = full_disk
    filler = fill(mounted)
    before = made.clones(), made.records()
    done = made.run([], ["true"])
    if done.returncode != 0:  # a clone of nothing may still find its place
        refused(done, "No space left")
    assert (made.clones(), made.records()) == before
    shutil.rmtree(filler)
    assert made.run([], ["true"]).returncode == 0


def test_disk_full_while_diffing(full_disk, small_root):
    made, mounted = full_disk
    made.ok("template", "create", "small", "--from", f"dir:{small_root}")
    script = "for i in 1 2 3 4 5 6 7 8 9; do touch /srv/$i; done"
    made.output(["--keep", "--name", "k"], ["sh", "-c", script], template="small")
    filler = fill(mounted)
    before = made.clones(), made.records()
    done = made.isolate("diff", "k")
    if done.returncode == 0:  # it need not write
        assert done.stdout.splitlines() == [f"A /srv/{i}" for i in range(1, 10)]
    else:
        refused(done, "No space left")
    assert (made.clones(), made.records()) == before
    done = made.isolate("commit", "k", "new")
    if done.returncode != 0:
        refused(done, "No space left")
        assert (made.clones(), made.records()) == before
    else:
        made.ok("template", "rm", "new")
    shutil.rmtree(filler)
    assert made.ok("diff", "k").splitlines() == [f"A /srv/{i}" for i in range(1, 10)]
    made.ok("rm", "k")


def test_disk_full_while_updating(full_disk, small_root):
    made, _ = full_disk
    made.ok("template", "create", "small", "--from", f"dir:{small_root}")
    generations = made.ok("template", "inspect", "--json", "small")
    before = made.clones(), made.records()
    done = made.isolate("template", "update", "small", "--network", "none", "--",
                        "dd", "if=/dev/zero", "of=/big", "bs=1M", "count=100")
    assert done.returncode != 0
    assert (made.clones(), made.records()) == before
    assert made.ok("template", "inspect", "--json", "small") == generations


# at once


def test_two_creations_of_one_name(instance, small_root):
    for _ in range(3):
        runs = [
            instance.popen_isolate("template", "create", "twice", "--from", f"dir:{small_root}")
            for _ in range(2)
        ]
        results = [(run.wait(PATIENCE), run.communicate()[1]) for run in runs]
        assert sorted(status for status, _ in results) == [0, 125], results
        (said,) = [err for status, err in results if status == 125]
        assert '"twice"' in said
        names = [t["name"] for t in json.loads(instance.ok("template", "ls", "--json"))]
        assert names == ["twice"]
        assert instance.run([], ["cat", "/etc/issue"], template="twice").stdout == "a small system\n"
        instance.ok("template", "rm", "twice")


def test_interrupt_from_the_keyboard_at_any_moment(instance):
    for step in range(40):
        with Terminal(instance.run_argv([], ["sleep", "600"]), instance.env) as terminal:
            time.sleep(step * 0.001)
            terminal.write("\x03")
            assert terminal.wait() == 130, (step, terminal.seen)
        wait_until(lambda: not instance.leaves() and not instance.daemons(), 20,
                   f"the end of everything after {step} ms")


def test_interrupt_of_a_creation_at_any_moment(instance, small_root):
    for step in range(20):
        argv = [str(BUILD / "isolate"), "template", "create", "cut", "--from", f"dir:{small_root}"]
        with Terminal(argv, instance.env) as terminal:
            time.sleep(step * 0.003)
            terminal.write("\x03")
            status = terminal.wait()
        wait_until(lambda: not instance.leaves() and not instance.daemons(), 20,
                   f"the end of everything after {3 * step} ms")
        names = [t["name"] for t in json.loads(instance.ok("template", "ls", "--json"))]
        # there and whole, or not there: the client may be gone between the two
        assert names == ["cut"] or (names == [] and status != 0), (step, status)
        if names:
            assert instance.output([], ["cat", "/etc/issue"], template="cut") == "a small system\n"
            instance.ok("template", "rm", "cut")


# the protocol


def call_oneshot(instance, text, fds=(), program="isolated"):
    """One raw call to `isolated --oneshot`: its answers."""
    ours, theirs = socket.socketpair()
    process = subprocess.Popen(
        [BUILD / program, "--oneshot", str(theirs.fileno())],
        env=instance.env, pass_fds=(theirs.fileno(),), stdin=subprocess.DEVNULL,
    )
    theirs.close()
    ours.settimeout(PATIENCE)
    data = text if isinstance(text, bytes) else json.dumps(text).encode()
    ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
    ours.sendmsg([data + b"\0"], ancillary)
    got = b""
    with contextlib.suppress(ConnectionResetError):
        while b"\0" not in got:
            piece = ours.recv(65536)
            if not piece:
                break
            got += piece
    ours.close()
    process.wait(PATIENCE)
    return [json.loads(part) for part in got.split(b"\0") if part]


def run_call(instance, control_fd, **changes):
    parameters = {"client": "0", "root": instance.template, "root_fd": 1, "control": 0,
                  "argv": ["true"], **changes}
    root = os.open(instance.template, os.O_PATH)
    try:
        return call_oneshot(
            instance,
            {"method": "io.isolate.Run", "more": True,
             "parameters": {k: v for k, v in parameters.items() if v is not None}},
            [control_fd, root],
        )
    finally:
        os.close(root)


@pytest.fixture
def control():
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    yield theirs.fileno()
    ours.close()
    theirs.close()


@pytest.mark.parametrize("version", ["0.0.1", "99.0", "", None])
def test_client_of_another_version(instance, control, version):
    (answer,) = run_call(instance, control, client=version)
    assert answer["error"] == "io.isolate.Protocol"
    message = answer["parameters"]["message"]
    assert "version" in message and (version or "unknown" if version is None else version) in message
    installed = instance.ok("--version").split()[1]
    assert installed in message


def test_request_with_an_unknown_member(instance, control):
    installed = instance.ok("--version").split()[1]
    (answer,) = run_call(instance, control, client=installed, surprise=True)
    assert answer["error"].startswith("io.isolate.") and "surprise" in answer["parameters"]["message"]


@pytest.mark.parametrize("changes", [
    {"control": 7}, {"root_fd": 9}, {"root_fd": -1}, {"argv": "true"}, {"argv": [1]}, {"argv": ["a\0b"]},
    {"env": ["NOEQUALS"]}, {"timeout_ms": -1}, {"cpu_time_ms": -1}, {"cpu_time_ms": "1s"}, {"memory_bytes": 4096}, {"swap_bytes": -1}, {"cpus_milli": 0},
    {"cpuset": 0}, {"cpuset": "0\0"}, {"cpuset": "x"}, {"cpuset": "0," * 200 + "0"}, {"io_weight": 0},
    {"ulimits": "nofile=5"}, {"ulimits": [5]}, {"ulimits": ["nofile"]}, {"ulimits": ["nofile=5\0"]},
    {"ulimits": ["nofile=5"] * 65}, {"usage": "yes"},
    {"disk_bytes": 1}, {"disk_bytes": "1G"}, {"disk_bytes": -1},
    {"pids": 1}, {"pids": "9"}, {"binds": [{"fd": 5, "target": "/x", "source": "x"}]},
    {"binds": [{"fd": 1, "target": "/../x", "source": "x"}]}, {"tmpfs": [{"target": "x"}]},
    {"template": "x"}, {"host": "yes"}, {"name": "../x"}, {"user": 5}, {"root": None, "root_fd": None},
    {"kept": "../../etc"}, {"control": None},
])
def test_malformed_request(instance, control, changes):
    installed = instance.ok("--version").split()[1]
    (answer,) = run_call(instance, control, client=installed, **changes)
    assert answer["error"].startswith("io.isolate.")
    assert answer["parameters"]["message"]


@pytest.mark.parametrize("method, parameters", [
    ("List", {"all": 1}), ("List", {"stats": "yes"}), ("Policy", {"user": 7}), ("Policy", {"template": []}),
    ("PoolDrain", {"template": 7}), ("PoolRefresh", {"template": True}), ("PoolStock", {"template": "t", "used": 1}),
    ("Prune", {"kept": "yes"}), ("TemplateCreate", {"name": "t", "source": "dir:", "storage": 7}),
    ("TemplateHash", {"name": "kept", "generation": 7}), ("TemplateInspect", {"name": "kept", "generation": {}}),
    ("TemplateRemove", {"name": "kept", "generation": 7})])
def test_optional_of_a_wrong_type_is_not_left_out(instance, small_root, method, parameters):
    instance.ok("template", "create", "kept", "--from", f"dir:{small_root}")
    try:
        (answer,) = call_oneshot(instance, {"method": f"io.isolate.{method}", "parameters": parameters})
        assert answer["error"] == "io.isolate.Invalid", answer
        assert "is no " in answer["parameters"]["message"], answer
    finally:
        instance.ok("template", "rm", "kept")


@pytest.mark.parametrize("text", [b"", b"x", b"[]", b"{}", b'{"method":5}', b'{"method":"io.isolate.None"}',
                                  b"{" * 10000, b'{"method":"io.isolate.List","method":"x"}', b"\xff\xfe"])
def test_what_is_no_call(instance, text):
    for answer in call_oneshot(instance, text):
        assert answer["error"]


def test_oneshot_without_a_socket(instance):
    for arguments in (["--no-such"], ["--oneshot"], ["--oneshot", "x"], ["--oneshot", "2"], ["--oneshot", "77"],
                      ["--oneshot", "99999999999"]):
        done = instance.call([BUILD / "isolated", *arguments])
        assert done.returncode == 125
        assert done.stderr


def test_client_whose_isolated_dies_at_once(instance, tmp_path):
    libexec = tmp_path / "libexec"
    libexec.mkdir()
    (libexec / "isolated").write_text("#!/bin/sh\nexit 0\n")
    (libexec / "isolated").chmod(0o755)
    done = instance.run(env={"ISOLATE_LIBEXEC_DIR": str(libexec)})
    refused(done, "nothing ran")
