# SPDX-License-Identifier: Apache-2.0
"""Cells 45 to 50: what it reaches. All traffic stays on this machine."""

import os
import pathlib
import shutil
import socket

import pytest

NAT = ("--network", "nat")


@pytest.fixture
def traffic(instance):
    """Servers and clients that the tests of nat have."""
    done = instance.run(NAT)
    if done.returncode == 125 and 'there are "none" and "host"' in done.stderr:
        pytest.skip("--network nat is not in this version")
    if not shutil.which("pasta"):
        pytest.skip("passt is not installed")
    import test_network
    return test_network


def devices(text):
    return {line.split(":")[0].strip() for line in text.splitlines() if ":" in line}


def connect(port):
    """A command that says whether something listens there on its loopback."""
    script = f'use IO::Socket::INET; print IO::Socket::INET->new("127.0.0.1:{port}") ? "yes" : "no"'
    return ["perl", "-e", script]


def test_45_network_none(box):
    with socket.create_server(("127.0.0.1", 0)) as server:
        for options in (["--network", "none"], *([[]] if box.can("isolates") else [])):
            done = box.run(options, ["cat", "/proc/net/dev"])
            if box.refused(done, "isolates"):
                return
            assert devices(done.stdout) == {"lo"}
            assert box.output(options, connect(server.getsockname()[1])) == "no"


def test_46_network_host(box):
    options = ["--network", "host"]
    assert box.output(options, ["readlink", "/proc/self/ns/net"]).strip() == os.readlink("/proc/self/ns/net")
    assert box.output(options, ["cat", "/etc/resolv.conf"]) == pathlib.Path("/etc/resolv.conf").read_text()
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert box.output(options, connect(server.getsockname()[1])) == "yes"
    done = box.shell("echo 1 >/proc/sys/net/ipv4/ip_forward", options)
    assert not box.can("isolates") or done.returncode != 0, done


def test_47_nat_reaches_a_server_on_the_host(box, traffic):
    address = traffic.machine_address()
    with traffic.server(address) as (port, _):
        done = box.run(NAT, ["perl", "-e", traffic.CLIENT, "tcp", address, str(port)])
        if not box.refused(done, "isolates"):
            assert (done.returncode, done.stdout) == (0, "machine:hello"), done
    if box.can("isolates"):
        with traffic.server("127.0.0.1") as (port, heard):
            assert "machine" not in traffic.ask(box, NAT, "tcp", "127.0.0.1", port) and heard == []


def test_48_published_port(box, traffic):
    port = traffic.free_port()
    if not box.can("isolates"):
        box.refused(box.run([*NAT, "-p", f"{port}:80"]), "isolates")
        return
    with traffic.published(box, ("-p", f"{port}:80")):
        assert traffic.call("127.0.0.1", port) == b"tcp:hello"
    assert not traffic.is_open("127.0.0.1", port)


def test_49_DNS(box, traffic, tmp_path):
    """By a name server on the machine's loopback, as systemd-resolved is."""
    command = ["getent", "ahostsv4", "server.example.net"]
    server = traffic.server("127.0.0.153", socket.SOCK_DGRAM, traffic.dns_answer, port=53)
    with server, traffic.resolv_conf("nameserver 127.0.0.153\n", tmp_path):
        done = box.run(NAT, command)
        if not box.refused(done, "isolates"):
            assert done.returncode == 0 and "192.0.2.99" in done.stdout, done


def test_50_loopback_works(box):
    """By its address and, where isolate provides hosts (changes to it would persist), by its name; a
    network of its own has all ports."""
    names = ["127.0.0.1", *(["localhost"] if box.can("clones") else [])]
    assert box.output([], ["perl", "-e", """
        use IO::Socket::INET;
        my $s = IO::Socket::INET->new(Listen => 1, LocalAddr => "127.0.0.1", LocalPort => shift) or die $@;
        for (@ARGV) { IO::Socket::INET->new(PeerAddr => $_, PeerPort => $s->sockport) or die "$_: $@" }
        print "connected";""", "80" if box.can("isolates") else "0", *names]) == "connected"
