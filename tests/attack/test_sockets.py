# SPDX-License-Identifier: Apache-2.0
"""Attack 16: dangerous families of sockets and protocols of netlink (CVE-2026-31431). Control: the
same program as root in throwaway namespaces, without the filter."""

import pytest

from attempts import both_variants, of

EXPECTED = """alg alg_high_bits vsock vsock_high_bits rxrpc packet packet_high_bits key tipc can
bluetooth xdp netlink_xfrm netlink_xfrm_high_bits netlink_netfilter netlink_audit netlink_uevent
netlink_crypto sctp sctp_by_type sctp_high_bits dccp smc l2tp udplite pair_vsock pair_netlink_xfrm""".split()
# Without CAP_NET_RAW only: with --cap-add NET_RAW these are what was asked for.
BY_CAPABILITY = ["raw_ipv4", "raw_ipv6"]
REFUSED = {"EPERM", "ENOSYS", "EAFNOSUPPORT", "EPROTONOSUPPORT", "ESOCKTNOSUPPORT"}


@pytest.fixture(scope="module")
def native(instance):
    return both_variants(instance, "sockets")


@pytest.fixture(scope="module")
def control(instance):
    return instance.control("sockets")


def test_all_are_judged(native, control):
    assert set(control) == set(native["default"]) == {*EXPECTED, *BY_CAPABILITY}


@pytest.mark.parametrize("what", EXPECTED)
def test_refused(judge, native, control, what):
    judge(16, what, of(native, what), control[what], REFUSED)


@pytest.mark.parametrize("what", BY_CAPABILITY)
def test_needs_capability(judge, native, control, what):
    judge(16, what, native["default"][what], control[what], REFUSED)
