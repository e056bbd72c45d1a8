# SPDX-License-Identifier: Apache-2.0
"""--network and --publish: what a sandbox reaches, and what reaches it. All traffic stays on this
machine: servers of the test's own at its addresses."""

import contextlib
import functools
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess

import pytest

from sandboxes import PATIENCE, comm, process_state, wait_until
from services import Member
from traffic import (CLIENT, NAT, SERVER, ask, call, dns_answer, free_port, is_open, machine_address,
                     published, resolv_conf, server)

pytestmark = pytest.mark.skipif(not shutil.which("pasta"), reason="passt is not installed")

MEMBER = 4242


def refused(done, *words):
    assert done.returncode == 125, done
    for word in words:
        assert word in done.stderr, (word, done.stderr)


def test_none_reaches_nothing(instance):
    with server(machine_address()) as (port, heard):
        assert ask(instance, (), "tcp", machine_address(), port) == "ENETUNREACH"
        assert heard == []


def test_host_reaches_the_machine(instance):
    with server("127.0.0.1") as (port, _):
        assert ask(instance, ("--network", "host"), "tcp", "127.0.0.1", port) == "machine:hello"


@pytest.mark.parametrize("kind", ["tcp", "udp"])
def test_nat_reaches_the_machine(instance, kind):
    address = machine_address()
    type_ = socket.SOCK_DGRAM if kind == "udp" else socket.SOCK_STREAM
    with server(address, type_) as (port, _):
        assert ask(instance, NAT, kind, address, port) == "machine:hello"


def test_nat_reaches_the_machine_by_ipv6(instance):
    if not subprocess.run(["ip", "-6", "route", "show", "default"], capture_output=True, check=True).stdout:
        pytest.skip("this machine has no IPv6 route")
    address = machine_address(socket.AF_INET6)
    with server(address) as (port, _):
        assert ask(instance, NAT, "tcp", address, port) == "machine:hello"


def test_nat_keeps_its_own_loopback(instance):
    """What listens inside is reached inside, by the name localhost too."""
    done = instance.output(NAT, ("bash", "-c", "perl -e \"$1\" tcp 4321 > /dev/null < /dev/null & "
                                 "until exec 3<>/dev/tcp/localhost/4321; do sleep 0.05; done; "
                                 "echo -n hi >&3; head -c 6 <&3", "-", SERVER), stderr=subprocess.DEVNULL)
    assert done == "tcp:hi"


# every way from a sandbox to what listens on the machine's loopback. An interface is named to a
# socket by anybody; then routes do not matter, and the frame carries that address
LOOPBACKS = {
    "plain": ("tcp", "127.0.0.1"), "gateway": ("tcp", "192.0.0.1"), "by_interface": ("tcp", "127.0.0.1", "eth0"),
    "datagram": ("udp", "127.0.0.1", "eth0"), "other": ("tcp", "127.1.2.3", "eth0"),
    "ipv6": ("tcp", "::1", "eth0"),
}


def heard_on_loopback(box, options):
    """{way: what the sandbox was told} of the ways that lead to servers on the machine's loopback,
    all tried at once."""
    with contextlib.ExitStack() as stack:
        servers = {}
        script = "cd /tmp\n"
        for way, (kind, address, *interface) in LOOPBACKS.items():
            listen = address if address.startswith("127.") or ":" in address else "127.0.0.1"
            type_ = socket.SOCK_DGRAM if kind == "udp" else socket.SOCK_STREAM
            servers[way] = stack.enter_context(server(listen, type_))
            arguments = " ".join([kind, address, str(servers[way][0]), *interface])
            script += f'perl -e "$1" {arguments} > {way} &\n'
        script += "wait; for f in *; do echo $f $(cat $f); done"
        said = box.output(options, ("sh", "-c", script, "-", CLIENT))
        ways = dict(line.partition(" ")[::2] for line in said.splitlines())
        assert set(ways) == set(LOOPBACKS), ways
        return {way: ways[way] for way in LOOPBACKS if servers[way][1]}


def test_nat_does_not_reach_the_machines_loopback(instance):
    assert heard_on_loopback(instance, NAT) == {}


def test_host_loopback_reaches_it(instance):
    """The control of the test above: without the guard these ways lead there."""
    reached = heard_on_loopback(instance, ("--network", "nat,host-loopback"))
    assert {"gateway", "by_interface", "datagram", "other"} <= set(reached), reached
    assert reached["gateway"] == "machine:hello"


def test_published_port(instance):
    """At the machine's loopback only, unless told otherwise; free again when the run is over."""
    port = free_port()
    for _ in range(2):
        with published(instance, ("-p", f"{port}:80")):
            assert not is_open(machine_address(), port)
            assert call("127.0.0.1", port) == b"tcp:hello"
    assert not is_open("127.0.0.1", port)


def test_published_at_an_address(instance):
    port = free_port()
    with published(instance, ("-p", f"{machine_address()}:{port}:80")):
        assert not is_open("127.0.0.1", port)
        assert call(machine_address(), port) == b"tcp:hello"


def test_published_datagrams(instance):
    port = free_port(socket.SOCK_DGRAM)
    with published(instance, ("-p", f"{port}:{port}/udp"), "udp", port):
        assert not is_open("127.0.0.1", port)
        assert call("127.0.0.1", port, socket.SOCK_DGRAM) == b"udp:hello"


@pytest.mark.parametrize("network", ["nat", "nat,host-loopback"])
def test_nobody_shares_a_published_port(instance, network):
    """Whoever binds a UDP port last gets its datagrams, if all who have it allow that."""
    port = free_port(socket.SOCK_DGRAM)
    with published(instance, ("--network", network, "-p", f"{port}:{port}/udp"), "udp", port):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as thief:
            thief.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with pytest.raises(OSError, match="in use"):
                thief.bind(("127.0.0.1", port))
        assert call("127.0.0.1", port, socket.SOCK_DGRAM) == b"udp:hello"


def test_published_datagrams_under_another_number(instance):
    """Where pasta cannot do it, that is said before anything runs."""
    port = free_port(socket.SOCK_DGRAM)
    if b"map-host-loopback" not in pathlib.Path(shutil.which("pasta")).read_bytes():
        refused(instance.run((*NAT, "-p", f"{port}:53/udp")), "publish 53:53/udp")
        return
    with published(instance, ("-p", f"{port}:53/udp"), "udp", 53):
        assert call("127.0.0.1", port, socket.SOCK_DGRAM) == b"udp:hello"


# `datagram PORT TO`: to port TO of the machine's loopback, from PORT here
DATAGRAM = r"""
use Socket qw(:all);
socket(my $s, AF_INET, SOCK_DGRAM, 0) or die;
bind($s, pack_sockaddr_in($ARGV[0], INADDR_ANY)) or die "$!";
setsockopt($s, SOL_SOCKET, 25, "eth0\0") or die "SO_BINDTODEVICE: $!";
send($s, "evil", 0, pack_sockaddr_in($ARGV[1], inet_aton("127.0.0.1"))) or die "$!";
$SIG{ALRM} = sub { print "silence"; exit };
alarm 1;
sysread $s, my $answer, 100; print $answer;
"""


@pytest.mark.parametrize("network, arrives", [("nat", False), ("nat,host-loopback", True)])
def test_published_datagrams_only_answer(instance, network, arrives):
    """A published port is no door to the machine's loopback: only whom a datagram came from is
    answered. Without the guard one gets there."""
    with server("127.0.0.1", socket.SOCK_DGRAM) as (port, heard):
        here = free_port(socket.SOCK_DGRAM)
        instance.output(("--network", network, "-p", f"{here}:{here}/udp"),
                        ("perl", "-e", DATAGRAM, str(here), str(port)))
        assert bool(heard) == arrives


def test_published_range(instance):
    first = free_port()
    with published(instance, ("-p", f"{first}-{first + 2}:79-81")):
        assert call("127.0.0.1", first + 1) == b"tcp:hello"


def test_published_port_of_the_system(instance):
    port = next(p for p in range(1023, 600, -1) if not is_open("127.0.0.1", p))
    with published(instance, ("-p", f"{port}:80")):
        assert call("127.0.0.1", port) == b"tcp:hello"


@pytest.mark.parametrize("kind", ["tcp", "udp"])
def test_port_in_use(instance, kind):
    type_ = socket.SOCK_DGRAM if kind == "udp" else socket.SOCK_STREAM
    with server("127.0.0.1", type_) as (port, _):
        done = instance.run((*NAT, "-p", f"{port - 1}-{port}:{port - 1}-{port}/{kind}"))
        refused(done, f"port {port}/{kind} of 127.0.0.1 is in use")


@pytest.mark.parametrize("options, words", [
    (("-p", "8080:80"), ("publish", "--network nat")),
    (("--network", "host", "-p", "8080:80"), ("publish", "the machine's anyway")),
    ((*NAT, "-p", "80"), ("publish \"80\"", "missing")),
    ((*NAT, "-p", "8080:80", "-p", "8080:81"), ("8080", "twice")),
    ((*NAT, "-p", "8080:0"), ("sandbox's port",)),
    ((*NAT, "-p", "192.0.2.250:8080:80"), ("192.0.2.250", "no address of this machine")),
    (("--network", "bridge"), ("none, host, nat", "bridge=NAME")),
    (("--network", "nat,x"), ("none, host, nat",)),
    (("--network", "bridge=../x"), ("bridge=NAME",)),
    (("--network", "bridge=isolate-none"), ("no bridge isolate-none", "ip link add")),
    (("--network", "bridge=lo"), ("lo is no bridge",)),
    (("--network", "bridge=lo", "-p", "8080:80"), ("publish", "nat only")),
])
def test_refused(instance, options, words):
    if "192.0.2.250" in options[-1] and machine_address().startswith("192.0.2.250"):
        pytest.skip("it is one of this machine")
    refused(instance.run(options), *words)


def test_engine_without_a_network_of_its_own(instance, rootfs):
    refused(instance.isolate("run", "--engine", "chroot", "--storage", "dir", *NAT, str(rootfs), "--", "true"),
            "engine chroot", "network of its own")


@pytest.mark.parametrize("where", ["loopback", "elsewhere"])
def test_names_are_resolved(instance, tmp_path, where):
    """Also by a name server on the machine's loopback, as systemd-resolved is; of the machine's
    loopback nothing else is reached by that."""
    address = "127.0.0.153" if where == "loopback" else machine_address()
    text = f"search example.net\nnameserver {address}\n"
    with server(address, socket.SOCK_DGRAM, dns_answer, port=53) as (_, heard), resolv_conf(text, tmp_path):
        shown = instance.output(NAT, ("sh", "-c", "cat /etc/resolv.conf; getent ahostsv4 server.example.net"))
        assert "192.0.2.99" in shown and heard, shown
        assert "search example.net" in shown
    assert ("nameserver 192.0.0.3" in shown) == (where == "loopback"), shown


def test_nat_where_isolated_is_killed(instance):
    """The sandbox has its network until it ends, and then nothing of it is left."""
    if instance.resident:
        pytest.skip("of one-shots")
    process = instance.popen(NAT, ("sh", "-c", "echo up; read x; cat /proc/net/dev"), stdin=subprocess.PIPE)
    assert process.stdout.readline() == "up\n"
    daemon = next(pid for pid in instance.daemons() if comm(pid) == "isolated")
    os.kill(daemon, signal.SIGKILL)
    wait_until(lambda: process_state(daemon) in ("", "Z"), PATIENCE, "the end of isolated")
    assert "pasta" in parts(instance)
    assert "eth0" in process.communicate("\n")[0] and process.returncode == 0
    wait_until(lambda: "pasta" not in parts(instance), PATIENCE, "the end of pasta")
    instance.output()  # which clears up


def parts(box):
    """{name: host pid} of a sandbox and what makes its network; pasta is a link to passt, which
    executes what fits the processor."""
    return {comm(pid).replace("passt", "pasta").removesuffix(".avx2"): pid for pid in box.members()}


@pytest.mark.parametrize("which", ["isolate", "isolate-init", "isolate-network", "pasta"])
def test_nat_where_a_part_is_killed(instance, which):
    """Whatever of a run is killed takes everything along; without its network the sandbox goes
    on."""
    process = instance.popen(NAT, ("sleep", "1000"))
    try:
        wait_until(lambda: instance.member_named("sleep"), PATIENCE, "the command")
        names = set(parts(instance))
        assert {"isolate-init", "isolate-network", "sleep"} <= names and "pasta" in names, names
        os.kill(process.pid if which == "isolate" else parts(instance)[which], signal.SIGKILL)
        if which in ("isolate-network", "pasta"):
            wait_until(lambda: not set(parts(instance)) & {"isolate-network", "pasta"}, PATIENCE,
                       "the end of its network")
            assert process.poll() is None and instance.member_named("sleep")
            process.terminate()
        process.wait(PATIENCE)
    finally:
        process.kill()
        process.communicate()


def status_of(pid):
    return dict(line.split(":\t", 1) for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
                if ":\t" in line)


def test_rights_of_what_makes_it(instance):
    """Nobody of the machine's; rights in the sandbox's namespaces only; each in a pid namespace
    of its own, out of the sandbox's sight."""
    process = instance.popen(NAT, ("sleep", "1000"))
    try:
        wait_until(lambda: instance.member_named("sleep"), PATIENCE, "the command")
        pids = parts(instance)
        ours = os.readlink("/proc/self/ns/user")
        assert os.readlink(f"/proc/{pids['pasta']}/ns/user") == os.readlink(f"/proc/{pids['sleep']}/ns/user") != ours
        assert os.readlink(f"/proc/{pids['pasta']}/ns/pid") not in (
            os.readlink(f"/proc/{pids['sleep']}/ns/pid"), os.readlink("/proc/self/ns/pid"))
        status = status_of(pids["isolate-network"])
        assert [int(status[name], 16) for name in ("CapPrm", "CapEff", "CapBnd")] == [0, 0, 0]
        # its own list, behind the one that isolated has; pasta was started before it
        assert (status["NoNewPrivs"], status["Seccomp"], status["Seccomp_filters"]) == ("1", "2", "2")
        for name in ("pasta", "isolate-network"):
            uids = {int(uid) for uid in status_of(pids[name])["Uid"].split()}
            assert len(uids) == 1 and uids.pop() > 1000000, status_of(pids[name])
        roots = os.listdir(f"/proc/{pids['pasta']}/root")
        assert roots == [], roots
        assert "home" not in os.listdir(f"/proc/{pids['isolate-network']}/root")
    finally:
        process.terminate()
        process.communicate()


# --- bridges ---


@pytest.fixture
def bridge():
    """A bridge with addresses of this machine's that nothing else has."""
    name = f"it{os.getpid()}"
    ip = functools.partial(subprocess.run, check=True)
    ip(["ip", "link", "add", name, "type", "bridge"])
    try:
        ip(["ip", "addr", "add", f"{BRIDGE}.1/24", "dev", name])
        ip(["ip", "link", "set", name, "up"])
        yield name
    finally:
        ip(["ip", "link", "del", name])


BRIDGE = "10.231.77"


def ports_of(name):
    return os.listdir(f"/sys/class/net/{name}/brif")


def test_bridge(instance, bridge):
    """Both ways, and the machine's end goes with the sandbox."""
    network = f"bridge={bridge},address={BRIDGE}.2/24,gateway={BRIDGE}.1"
    with server(f"{BRIDGE}.1") as (port, heard):
        assert ask(instance, ("--network", network), "tcp", f"{BRIDGE}.1", port) == "machine:hello"
        assert heard[0][0] == f"{BRIDGE}.2"
        # by its gateway, another address of this machine
        with server(machine_address()) as (other, _):
            assert ask(instance, ("--network", network), "tcp", machine_address(), other) == "machine:hello"
    process = instance.popen(("--network", network), ("perl", "-e", SERVER, "tcp", "80"), stdin=subprocess.PIPE)
    try:
        assert process.stdout.readline() == "up\n"
        assert call(f"{BRIDGE}.2", 80) == b"tcp:hello"
        wait_until(lambda: len(ports_of(bridge)) == 1, PATIENCE, "one port of the bridge")
        assert "isolate-network" not in parts(instance), "nothing has to stay"
    finally:
        process.kill()
        process.communicate()
    wait_until(lambda: not ports_of(bridge), PATIENCE, "the end of the interface")


def test_bridge_without_an_address(instance, bridge):
    """Up, and no more: addresses are the sandbox's business."""
    # the kernel says so a moment later
    script = "cd /sys/class/net/eth0; for i in $(seq 100); do grep -qx up operstate && break; sleep 0.1; done; " \
             "cat operstate /proc/net/route"
    shown = instance.output(("--network", f"bridge={bridge}"), ("sh", "-c", script))
    assert shown.startswith("up\n") and "eth0" not in shown, shown


def test_bridge_that_fails_late(instance, bridge):
    """What was made goes with the sandbox that did not start."""
    refused(instance.run(("--network", f"bridge={bridge},address={BRIDGE}.2/24,gateway=192.0.2.1")),
            "gateway 192.0.2.1")
    wait_until(lambda: not ports_of(bridge), PATIENCE, "the end of the interface")


# --- members, and the pool ---


def test_members_may_not(service):
    member = Member(service, MEMBER)
    refused(member.run(NAT), "--network nat", "root only")
    refused(member.run(("--network", "host")), "--network host", "root only")


@pytest.mark.settings({"Network.Members": "none nat"})
def test_members_may_by_configuration(service):
    member = Member(service, MEMBER)
    assert member.run(NAT).returncode == 0
    assert member.run((*NAT, "-p", f"{free_port()}:80")).returncode == 0
    refused(member.run((*NAT, "-p", "80:80")), "--publish of a port below 1024", "root only")
    refused(member.run(("--network", "nat,host-loopback")), "host-loopback", "root only")
    refused(member.run(("--network", "host")), "--network host", "root only")


@pytest.mark.settings({"Network.Members": "bridge=isolate-none host"})
def test_members_and_bridges(service):
    """Those that are listed: this one is, and not there."""
    member = Member(service, MEMBER)
    refused(member.run(("--network", "bridge=isolate-none")), "no bridge isolate-none")
    refused(member.run(("--network", "bridge=isolate")), "--network bridge=isolate", "root only")
    refused(member.run(NAT), "--network nat", "root only")
    assert member.run(("--network", "host")).returncode == 0


@pytest.mark.settings({"Pool.Parked": 2})
def test_parked_sandboxes_get_a_network(service):
    """One that was parked for none is as good; no pasta before it is asked for."""
    service.output()

    def shape():
        (only,) = json.loads(service.ok("pool", "--json"))
        return only

    wait_until(lambda: shape()["ready"] > 0, PATIENCE, "a parked sandbox")
    assert "pasta" not in parts(service)
    claims = shape()["claims"]
    assert "eth0" in service.output(NAT, ("cat", "/proc/net/dev"))
    assert shape()["claims"] == claims + 1 and shape()["network"] == "none"


def test_daemon_killed_while_it_runs(service):
    """The next daemon takes the sandbox over, and its end is the network's."""
    port = free_port()
    process = service.popen((*NAT, "-p", f"{port}:80"), ("sleep", "1000"))
    try:
        wait_until(lambda: service.member_named("sleep"), PATIENCE, "the command")
        service.kill_resident()
        assert is_open("127.0.0.1", port)
        service.start_again()
        assert [item["state"] for item in service.ps()] == ["running"]
        assert is_open("127.0.0.1", port)
        service.ok("kill", "-s", "KILL", service.ps()[0]["id"])
        process.wait(PATIENCE)
        service.assert_clean()
        assert not is_open("127.0.0.1", port)
    finally:
        process.kill()
        process.communicate()


def test_pasta_that_cannot_start(service):
    """What it says is told, and nothing is left."""
    done = service.run((*NAT, "-p", "[2001:db8::77]:8080:80"))
    refused(done, "2001:db8::77")
    service.assert_clean()
    assert "isolate-network" not in [comm(pid) for pid in service.zombies()]
