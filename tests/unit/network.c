/* SPDX-License-Identifier: Apache-2.0 */
/* What --network and --publish may say, what pasta is told of it, and the sandbox's
 * resolv.conf. No privilege. */
#include "spec/network.h"

#include "base/text.h"
#include "daemon/pasta_argv.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void test_modes(void **state)
{
    static const struct {
        const char *text;
        enum network_mode mode;
        bool host_loopback;
    } good[] = {{"none", NETWORK_NONE, false},
                {"host", NETWORK_HOST, false},
                {"nat", NETWORK_NAT, false},
                {"nat,host-loopback", NETWORK_NAT, true}};
    static const char *const bad[] = {"", "Nat", "nat,", "nat,x", "host,host-loopback", "nat "};
    for (size_t i = 0; i < ELEMENTS(good); i++) {
        struct network network = {0};
        assert_int_equal(network_parse_mode(good[i].text, &network, NULL), 0);
        assert_int_equal(network.mode, good[i].mode);
        assert_int_equal(network.host_loopback, good[i].host_loopback);
    }
    for (size_t i = 0; i < ELEMENTS(bad); i++) {
        struct network network = {0};
        assert_int_equal(network_parse_mode(bad[i], &network, NULL), -EINVAL);
    }
}

static void test_bridges(void **state)
{
    static const struct {
        const char *text;
        const char *name;
        const char *address;
        uint32_t prefix;
        const char *gateway;
    } good[] = {
        {"bridge=br_vm", "br_vm", "", 0, ""},
        {"bridge=abcdefghijklmn0", "abcdefghijklmn0", "", 0, ""},
        {"bridge=br0,address=10.0.0.2/24", "br0", "10.0.0.2", 24, ""},
        {"bridge=br0,address=10.0.0.2/32,gateway=10.0.0.1", "br0", "10.0.0.2", 32, "10.0.0.1"},
        {"bridge=br.0,address=FD00:0::2/64,gateway=fd00::1", "br.0", "fd00::2", 64, "fd00::1"},
    };
    static const char *const bad[] = {
        "bridge",
        "bridge=",
        "bridge=.",
        "bridge=..",
        "bridge=a/b",
        "bridge=abcdefghijklmno0",
        "bridge=-x",
        "bridge=a b",
        "bridge=br0,",
        "bridge=br0,address=10.0.0.2",
        "bridge=br0,address=10.0.0.2/33",
        "bridge=br0,address=10.0.0.2/0",
        "bridge=br0,address=/24",
        "bridge=br0,address=10.0.0.2/24,",
        "bridge=br0,address=10.0.0.2/24,gateway=",
        "bridge=br0,address=10.0.0.2/24,gateway=fd00::1",
        "bridge=br0,address=fd00::2/129",
        "bridge=br0,gateway=10.0.0.1",
        "bridge=br0,address=10.0.0.2/24,gateway=10.0.0.1,x",
    };
    for (size_t i = 0; i < ELEMENTS(good); i++) {
        struct network network = {0};
        assert_int_equal(network_parse_mode(good[i].text, &network, NULL), 0);
        assert_int_equal(network.mode, NETWORK_BRIDGE);
        assert_string_equal(network.bridge, good[i].name);
        assert_string_equal(network.address, good[i].address);
        assert_int_equal(network.prefix, good[i].prefix);
        assert_string_equal(network.gateway, good[i].gateway);
    }
    for (size_t i = 0; i < ELEMENTS(bad); i++) {
        struct network network = {0};
        if (network_parse_mode(bad[i], &network, NULL) >= 0)
            fail_msg("accepted: %s", bad[i]);
    }
}

static void test_ports(void **state)
{
    static const struct {
        const char *text;
        struct network_port port;
    } good[] = {
        {"8080:80", {"127.0.0.1", 8080, 80, 1, false}},
        {"8080:80/tcp", {"127.0.0.1", 8080, 80, 1, false}},
        {"8053:53/udp", {"127.0.0.1", 8053, 53, 1, true}},
        {"0.0.0.0:1:65535", {"0.0.0.0", 1, 65535, 1, false}},
        {"[::]:8080:80", {"::", 8080, 80, 1, false}},
        {"[2001:DB8:0::1]:8000-8009:1-10", {"2001:db8::1", 8000, 1, 10, false}},
    };
    for (size_t i = 0; i < ELEMENTS(good); i++) {
        struct network network = {.mode = NETWORK_NAT};
        struct error err = {0};
        if (network_parse_port(good[i].text, &network, &err) < 0)
            fail_msg("%s: %s", good[i].text, err.text);
        const struct network_port *port = &network.ports[0];
        assert_string_equal(port->address, good[i].port.address);
        assert_int_equal(port->host_first, good[i].port.host_first);
        assert_int_equal(port->first, good[i].port.first);
        assert_int_equal(port->n, good[i].port.n);
        assert_int_equal(port->udp, good[i].port.udp);
        assert_int_equal(network_check(&network, NULL), 0);
    }
}

static void test_bad_ports(void **state)
{
    static const char *const bad[] = {
        "",
        "80",
        ":80",
        "80:",
        "0:80",
        "80:0",
        "80:65536",
        "99999999999:1",
        "08:80",
        "+8:80",
        "8080:80/",
        "8080:80/sctp",
        "8080:80/TCP",
        "8080:80 ",
        "8080-8081:80",
        "9-8:80-79",
        "8080:80-",
        "-8080:80",
        "1.2.3:8080:80",
        "localhost:8080:80",
        "::1:80:80",
        "[::1:80:80",
        "[]:80:80",
        "[::1]80:80",
        "[127.0.0.1]:80:80",
        "256.0.0.1:80:80",
        ":8080:80",
        "127.0.0.1::80",
        "127.0.0.1:8080:80:1",
        "127.0.0.1/8:8080:80",
        "[::1%eth0]:80:80",
        "1-65535:1-65535",
    };
    for (size_t i = 0; i < ELEMENTS(bad); i++) {
        struct network network = {.mode = NETWORK_NAT};
        struct error err = {0};
        if (network_parse_port(bad[i], &network, &err) >= 0)
            fail_msg("accepted: \"%s\"", bad[i]);
        assert_non_null(strstr(err.text, "publish"));
        assert_int_equal(network.n_ports, 0);
    }
}

static void test_ports_together(void **state)
{
    struct network network = {.mode = NETWORK_NAT};
    struct error err = {0};
    assert_int_equal(network_parse_port("8000-8009:80-89", &network, &err), 0);
    assert_int_equal(network_low_port(&network), 0);
    assert_int_equal(network_parse_port("8005:80/udp", &network, &err), 0);
    assert_int_equal(network_parse_port("0.0.0.0:8009:1", &network, &err), -EEXIST);
    assert_non_null(strstr(err.text, "8009"));
    assert_int_equal(network_parse_port("7999-8000:1-2", &network, &err), -EEXIST);
    assert_non_null(strstr(err.text, "8000"));
    assert_int_equal(network_parse_port("8010:1", &network, &err), 0);
    assert_int_equal(network_parse_port("1000-2011:1000-2011", &network, &err), 0);
    assert_int_equal(network_low_port(&network), 1000);
    assert_int_equal(network_parse_port("30000:1", &network, &err), -E2BIG);
    network.mode = NETWORK_HOST;
    assert_int_equal(network_check(&network, &err), -EINVAL);
}

static bool has_arguments(const struct buffer *arguments, const char *first, const char *second)
{
    const char *end = arguments->data + arguments->length;
    const char *at = arguments->data;
    for (const char *next = at; at < end; at = next) {
        next = at + strlen(at) + 1;
        if (streq(at, first) && next < end && streq(next, second))
            return true;
    }
    return false;
}

static void test_arguments(void **state)
{
    _cleanup_buffer_ struct buffer none = {0};
    _cleanup_buffer_ struct buffer some = {0};
    struct network network = {.mode = NETWORK_NAT};
    pasta_arguments(&network, false, &none);
    assert_string_equal(none.data, "pasta");
    static const char *const closed[] = {"-t", "-u", "-T", "-U", "--dns"};
    for (size_t i = 0; i < ELEMENTS(closed); i++)
        assert_true(has_arguments(&none, closed[i], "none"));
    assert_true(has_arguments(&none, "--no-map-gw", "--dns"));
    network.host_loopback = true;
    assert_int_equal(network_parse_port("[::1]:8000-8001:80-81", &network, NULL), 0);
    pasta_arguments(&network, true, &some);
    assert_true(has_arguments(&some, "-t", "::1/8000:80"));
    assert_true(has_arguments(&some, "-t", "::1/8001:81"));
    assert_false(has_arguments(&some, "-t", "none"));
    assert_true(has_arguments(&some, "-u", "none"));
    assert_true(has_arguments(&some, "--dns-forward", NAT_DNS4));
    assert_false(has_arguments(&some, "--no-map-gw", "--dns-forward"));
}

static void test_resolv_conf(void **state)
{
    static const struct {
        const char *of_machine;
        const char *of_sandbox;
        const char *resolver;
    } cases[] = {
        {"nameserver 192.0.2.1\n", "nameserver 192.0.2.1\n", ""},
        {"# stub\nnameserver 127.0.0.53\noptions edns0\nsearch a b",
         "# stub\nnameserver 192.0.0.3\noptions edns0\nsearch a b\n", "127.0.0.53"},
        {"nameserver 127.0.0.1\nnameserver 127.0.0.2\nnameserver\t2001:db8::1 \n",
         "nameserver 192.0.0.3\nnameserver\t2001:db8::1 \n", "127.0.0.1"},
        {"nameserver ::1\nnameserver fe80::1%eth0\nnameserver fe80::1\nnameserver x\n", "", ""},
        {"nameserver 0.0.0.0\n", "nameserver 192.0.0.3\n", "0.0.0.0"},
        {"nameservers 1\n", "nameservers 1\n", ""},
        {"", "", ""},
    };
    for (size_t i = 0; i < ELEMENTS(cases); i++) {
        _cleanup_buffer_ struct buffer text = {0};
        char resolver[NETWORK_ADDRESS_SIZE];
        resolv_conf_of(cases[i].of_machine, NAT_DNS4, &text, resolver);
        assert_string_equal(text.data ? text.data : "", cases[i].of_sandbox);
        assert_string_equal(resolver, cases[i].resolver);
        resolv_conf_of(cases[i].of_machine, NULL, NULL, resolver);
        assert_string_equal(resolver, cases[i].resolver);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_modes),          cmocka_unit_test(test_bridges),
        cmocka_unit_test(test_ports),          cmocka_unit_test(test_bad_ports),
        cmocka_unit_test(test_ports_together), cmocka_unit_test(test_arguments),
        cmocka_unit_test(test_resolv_conf),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
