/* SPDX-License-Identifier: Apache-2.0 */
/* What a SOURCE means, and which of the machine's package sources serve it. Pure: no privilege.
 */
#include "image/apt_sources.h"
#include "image/beneath.h"
#include "image/image.h"
#include "sys/program.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

static const char debian12[] = "PRETTY_NAME=\"x\"\nVERSION_CODENAME=bookworm\nID=debian\n";
static const char ubuntu22[] = "ID=\"ubuntu\"\nID_LIKE=debian\nVERSION_CODENAME='jammy'\n";

static void expect_suite(const char *text, const char *os_release, enum image_source_kind kind,
                         const char *suite)
{
    struct image_source source = {.kind = IMAGE_SOURCE_TAR};
    struct error err = {0};
    assert_int_equal(image_source_parse(text, os_release, &source, &err), 0);
    assert_int_equal(source.kind, kind);
    assert_string_equal(source.suite, suite);
}

static void test_default_suites(void **state)
{
    expect_suite("debian", debian12, IMAGE_SOURCE_DEBIAN, "bookworm");
    expect_suite("debian", ubuntu22, IMAGE_SOURCE_DEBIAN, "stable");
    expect_suite("debian", "", IMAGE_SOURCE_DEBIAN, "stable");
    expect_suite("ubuntu", debian12, IMAGE_SOURCE_UBUNTU, "noble");
    expect_suite("ubuntu", ubuntu22, IMAGE_SOURCE_UBUNTU, "jammy");
    /* sid has no VERSION_CODENAME of its own, and ID_LIKE is not ID */
    expect_suite("debian", "ID=debian\n", IMAGE_SOURCE_DEBIAN, "stable");
    expect_suite("debian", "ID_LIKE=debian\nVERSION_CODENAME=x\n", IMAGE_SOURCE_DEBIAN,
                 "stable");
    expect_suite("debian", "ID=debian\nVERSION_CODENAME=\"a b\"\n", IMAGE_SOURCE_DEBIAN,
                 "stable");
}

static void test_given_suites(void **state)
{
    expect_suite("debian:trixie", debian12, IMAGE_SOURCE_DEBIAN, "trixie");
    expect_suite("ubuntu:24.04-x", debian12, IMAGE_SOURCE_UBUNTU, "24.04-x");
}

static void test_paths(void **state)
{
    struct image_source source;
    struct error err = {0};
    assert_int_equal(image_source_parse("dir:/srv/a:b c", "", &source, &err), 0);
    assert_int_equal(source.kind, IMAGE_SOURCE_DIR);
    assert_string_equal(source.path, "/srv/a:b c");
    assert_int_equal(image_source_parse("tar:x.tar.zst", "", &source, &err), 0);
    assert_int_equal(source.kind, IMAGE_SOURCE_TAR);
    assert_string_equal(source.path, "x.tar.zst");
    assert_int_equal(image_source_parse("oci:/srv/x", "", &source, &err), 0);
    assert_int_equal(source.kind, IMAGE_SOURCE_OCI);
    assert_string_equal(source.path, "/srv/x");
    assert_string_equal(source.tag, "");
    assert_int_equal(image_source_parse("oci:x:host:5000/a/b:1", "", &source, &err), 0);
    assert_string_equal(source.path, "x");
    assert_string_equal(source.tag, "host:5000/a/b:1");
    assert_int_equal(image_source_parse("docker-archive:x.tar:a", "", &source, &err), 0);
    assert_int_equal(source.kind, IMAGE_SOURCE_DOCKER_ARCHIVE);
    assert_string_equal(source.tag, "a");
}

static void test_malformed(void **state)
{
    static const char *const texts[] = {
        "",           ":",
        "debian:",    "debian:-x",
        "debian:.x",  "debian:a b",
        "debian:A",   "debian:a/b",
        "debian:a\n", "debian:abcdefghijklmnopqrstuvwxyzabcdefghijklmnop",
        "debianx",    "Debian",
        "dir",        "dir:",
        "tar",        "tar:",
        "http://x",   "oci",
        "oci:",       "oci::x",
        "oci:x:",     "docker-archive",
        "docker:x",   "/srv",
    };
    for (size_t i = 0; i < ELEMENTS(texts); i++) {
        struct image_source source = {.kind = IMAGE_SOURCE_DEBIAN};
        struct error err = {0};
        assert_int_equal(image_source_parse(texts[i], debian12, &source, &err), -EINVAL);
        assert_int_equal(err.code, ERROR_INVALID);
        assert_true(err.text[0] != '\0');
    }
    expect_suite("debian:abcdefghijklmnopqrstuvwxyzabcdefghijklmno", "", IMAGE_SOURCE_DEBIAN,
                 "abcdefghijklmnopqrstuvwxyzabcdefghijklmno");
}

#define TABLE                                                                                  \
    "Translations|http://m.test/debian/|bookworm|main|Debian|/s:1\n"                           \
    "Packages|http://m.test/debian/|bookworm|main|Debian|/s:1\n"                               \
    "Packages|http://m.test/debian/|bookworm|contrib|Debian|/s:1\n"                            \
    "Packages|http://m.test/debian/|bookworm|main|Debian|/s:1\n"                               \
    "Packages|http://m.test/debian/|bookworm-updates|main|Debian|/s:1\n"                       \
    "Packages|http://m.test/debian/|bookworm-backports|main|Debian Backports|/s:1\n"           \
    "Packages|http://m.test/debian-security/|bookworm-security|main|Debian|/s:5\n"             \
    "Packages|https://other.test/debian/|bookworm|main|Other Vendor|/o:1\n"                    \
    "Packages|https://dl.test/|stable|main|Vendor|/v:1\n"

/* What is selected, one "URI SUITE" a line. */
static void expect_sources(const char *table, const char *distribution, const char *suite,
                           const char *expected)
{
    _cleanup_apt_sources_ struct apt_sources sources = {.n = 0};
    _cleanup_buffer_ struct buffer lines = {0};
    assert_int_equal(apt_sources_parse(table, &sources), 0);
    assert_int_equal(apt_sources_select(&sources, distribution, suite), 0);
    buffer_append_text(&lines, "");
    for (size_t i = 0; i < sources.n; i++)
        buffer_printf(&lines, "%s %s\n", sources.items[i].uri, sources.items[i].suite);
    assert_string_equal(lines.data, expected);
}

static void test_select_own_suite(void **state)
{
    expect_sources(TABLE, "debian", "bookworm",
                   "http://m.test/debian/ bookworm\n"
                   "http://m.test/debian/ bookworm-updates\n"
                   "http://m.test/debian-security/ bookworm-security\n");
}

static void test_select_other_suite(void **state)
{
    expect_sources(TABLE, "debian", "trixie", "http://m.test/debian/ trixie\n");
    /* a name that only begins like the machine's */
    expect_sources(TABLE, "debian", "book", "http://m.test/debian/ book\n");
}

static void test_select_foreign_distribution(void **state)
{
    expect_sources(TABLE, "ubuntu", "noble", "");
    expect_sources("", "debian", "bookworm", "");
}

static void test_select_without_lists(void **state)
{
    static const char table[] =
        "Packages|http://a.test/x/debian/|trixie|main|$(ORIGIN)|/s:1\n"
        "Packages|http://a.test/x/debian-security/|trixie-security|main|$(ORIGIN)|/s:1\n"
        "Packages|http://a.test/debian-tools/|trixie|main|$(ORIGIN)|/s:1\n"
        "Packages|http://a.test/ubuntu-ports/|noble|main|$(ORIGIN)|/s:1\n";
    expect_sources(table, "debian", "trixie",
                   "http://a.test/x/debian/ trixie\n"
                   "http://a.test/x/debian-security/ trixie-security\n");
    expect_sources(table, "ubuntu", "noble", "http://a.test/ubuntu-ports/ noble\n");
    /* the security archive alone is no mirror */
    expect_sources("Packages|http://a.test/debian-security/|x-security|main|Debian|/s:1\n",
                   "debian", "y", "");
}

static void test_hostile_table(void **state)
{
    expect_sources("Packages|http://a.test/debian/ [trusted=yes]|b|main|Debian|/s\n"
                   "Packages|http://a.test/debian/|b c|main|Debian|/s\n"
                   "Packages|http://a.test/debian/|b|main\n"
                   "Packages|[trusted=yes]|b|main|Debian|/s\n"
                   "Packages||b|main|Debian|/s\n"
                   "|||||||\n",
                   "debian", "b", "");
}

static void test_source_line(void **state)
{
    char uri[] = "https://user:p@ss@m.test/debian/";
    char suite[] = "trixie";
    char keyring[] = "/usr/share/keyrings/k.gpg";
    struct apt_source source = {.uri = uri, .suite = suite};
    _cleanup_buffer_ struct buffer with = {0};
    _cleanup_buffer_ struct buffer without = {0};
    apt_source_line(&source, true, &with);
    assert_string_equal(with.data, "deb https://user:p@ss@m.test/debian/ trixie main");
    source.signed_by = keyring;
    apt_source_line(&source, false, &without);
    assert_string_equal(without.data, "deb [signed-by=/usr/share/keyrings/k.gpg] "
                                      "https://m.test/debian/ trixie main");
}

static void expect_keyring(const char *text, const char *uri, const char *expected)
{
    char keyring[128] = "";
    bool found = apt_signed_by(text, uri, keyring, sizeof(keyring));
    assert_int_equal(found, expected != NULL);
    if (expected)
        assert_string_equal(keyring, expected);
}

static void test_signed_by(void **state)
{
    static const char deb822[] = "Types: deb\nURIs: http://a.test/x http://b.test/debian\n"
                                 "Suites: s\nSigned-By: /k/one.gpg\n\n"
                                 "Types: deb\nURIs: http://c.test/debian/\n"
                                 "Signed-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n";
    static const char list[] =
        "# deb [signed-by=/k/no.gpg] http://d.test/debian s main\n"
        "deb [arch=amd64 signed-by=/k/two.gpg] http://d.test/debian s main\n"
        "deb http://e.test/debian s main\n";
    expect_keyring(deb822, "http://b.test/debian/", "/k/one.gpg");
    expect_keyring(deb822, "http://c.test/debian/", NULL);
    expect_keyring(deb822, "http://b.test/", NULL);
    expect_keyring(list, "http://d.test/debian/", "/k/two.gpg");
    expect_keyring(list, "http://e.test/debian/", NULL);
    expect_keyring("", "http://e.test/", NULL);
}

static void test_mirror_list(void **state)
{
    char uri[64];
    assert_true(apt_mirror_first("# http://no.test/\nhttp://a.test/debian\tpriority:1\n", uri,
                                 sizeof(uri)));
    assert_string_equal(uri, "http://a.test/debian/");
    assert_false(apt_mirror_first("nothing here\n", uri, sizeof(uri)));
}

static void test_proxies(void **state)
{
    static const char dump[] = "Acquire \"\";\n"
                               "Acquire::http \"\";\n"
                               "Acquire::http::Proxy \"http://p.test:3128\";\n"
                               "Acquire::http::Proxy::m.test \"DIRECT\";\n"
                               "Acquire::https::Proxy \"\";\n"
                               "Acquire::http::Timeout \"5\";\n"
                               "Acquire::ftp::Proxy \"http://q.test\";\n";
    static const char expected[] = "Acquire::http::Proxy \"http://p.test:3128\";\0"
                                   "Acquire::http::Proxy::m.test \"DIRECT\";";
    _cleanup_buffer_ struct buffer options = {0};
    apt_proxy_options(dump, &options);
    assert_int_equal(options.length, sizeof(expected));
    assert_memory_equal(options.data, expected, sizeof(expected));
}

static void test_complaint(void **state)
{
    char out[200];
    char small[8];
    program_complaint("I: running\nErr:1 http://m.test x\n  404\nE: first\nE: last\nI: bye\n",
                      out, sizeof(out));
    assert_string_equal(out, "Err:1 http://m.test x; first; last");
    program_complaint("I: one\nsomething odd\n\n", out, sizeof(out));
    assert_string_equal(out, "something odd");
    program_complaint("", out, sizeof(out));
    assert_string_equal(out, "no reason given");
    program_complaint("E: a long complaint\nE: b\n", small, sizeof(small));
    assert_int_equal(strlen(small), 7);
}

static void test_normalize(void **state)
{
    static const char *const good[][2] = {
        {"a", "a"}, {"./a//b/", "a/b"}, {"./", ""},
        {"", ""},   {"a/./b", "a/b"},   {"..a/b..", "..a/b.."},
    };
    static const char *const bad[] = {"/a", "..", "../a", "a/..", "a/../b", "./../a", "//"};
    char out[64];
    struct error err = {0};
    for (size_t i = 0; i < ELEMENTS(good); i++) {
        assert_int_equal(beneath_normalize(good[i][0], out, &err), 0);
        assert_string_equal(out, good[i][1]);
    }
    for (size_t i = 0; i < ELEMENTS(bad); i++) {
        assert_int_equal(beneath_normalize(bad[i], out, &err), -EPERM);
        assert_int_equal(err.code, ERROR_DENIED);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_default_suites),
        cmocka_unit_test(test_given_suites),
        cmocka_unit_test(test_paths),
        cmocka_unit_test(test_malformed),
        cmocka_unit_test(test_select_own_suite),
        cmocka_unit_test(test_select_other_suite),
        cmocka_unit_test(test_select_foreign_distribution),
        cmocka_unit_test(test_select_without_lists),
        cmocka_unit_test(test_hostile_table),
        cmocka_unit_test(test_source_line),
        cmocka_unit_test(test_signed_by),
        cmocka_unit_test(test_mirror_list),
        cmocka_unit_test(test_proxies),
        cmocka_unit_test(test_complaint),
        cmocka_unit_test(test_normalize),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
