/* SPDX-License-Identifier: Apache-2.0 */
/* base/text.c, buffer.c, parse.c; sys/program.c's complaints; spec/names.c and base64.c: texts
 * that somebody chose. */
#include "target.h"

#include "base/buffer.h"
#include "base/parse.h"
#include "base/text.h"
#include "spec/base64.h"
#include "spec/names.h"
#include "sys/program.h"

#include <inttypes.h>
#include <jansson.h>
#include <string.h>

const bool target_needs_walls = false;

/* No byte of a text that was escaped drives a terminal. */
static void check_escaped(const char *text)
{
    char out[256];
    char tiny[3];
    text_escape(out, sizeof(out), text);
    text_escape(tiny, sizeof(tiny), text);
    MUST(text_is_utf8(out, strlen(out)));
    for (const unsigned char *p = (const unsigned char *)out; *p; p++)
        MUST(*p >= 0x20 && *p != 0x7F && !(p[0] == 0xC2 && p[1] < 0xA0));
    program_complaint(text, out, sizeof(out));
    program_complaint(text, tiny, sizeof(tiny));
}

/* What goes into JSON comes out of it. */
static void check_json(const char *text)
{
    _cleanup_buffer_ struct buffer json = {0};
    if (!text_is_utf8(text, strlen(text)))
        return;
    buffer_append_json_string(&json, text);
    json_t *value = json_loads(json.data, JSON_DECODE_ANY, NULL);
    MUST(value && streq(json_string_value(value), text));
    json_decref(value);
}

static void check_base64(const char *text)
{
    _cleanup_buffer_ struct buffer encoded = {0};
    free(base64_decode_text(text));
    base64_encode(&encoded, text, strlen(text));
    _cleanup_free_ char *again = base64_decode_text(encoded.data ? encoded.data : "");
    MUST(again && streq(again, text));
}

static void check_names(const char *text)
{
    const char *const words[] = {"memory", "network", text, "workdir"};
    struct error err;
    bool is_template = name_check_template(text, &err) == 0;
    bool is_sandbox = name_check_sandbox(text, &err) == 0;
    MUST(!is_template || (strlen(text) <= NAME_TEMPLATE_MAX && !strpbrk(text, "/\n ")));
    MUST(!is_template || (!name_is_clone(text) && !name_is_path(text) && *text != '.'));
    MUST(!is_sandbox || (!strpbrk(text, "/\n ") && *text != '.'));
    MUST(!name_is_clone(text) || strlen(text) < CLONE_NAME_SIZE);
    MUST(!name_is_generation(text) || strlen(text) < 64);
    MUST(name_check_hostname(text, &err) < 0 || strlen(text) <= 64);
    MUST(target_check(text, "target", &err) < 0 || (*text == '/' && !strstr(text, "/../")));
    (void)text_nearest(text, words, ELEMENTS(words));
    (void)text_has_word(text, "memory");
}

static void check_numbers(const char *text)
{
    struct error err;
    char again[32];
    uint64_t value = 0;
    uint64_t size = 0;
    uint32_t small = 0;
    if (parse_u64(text, 5, UINT64_MAX - 5, &value, "x", &err) == 0) {
        (void)snprintf(again, sizeof(again), "%" PRIu64, value);
        MUST(value >= 5 && value <= UINT64_MAX - 5);
        MUST(streq(again, text + strspn(text, "0")));
    }
    MUST(parse_u32(text, 1, 65535, &small, "x", &err) < 0 || (small >= 1 && small <= 65535));
    MUST(parse_size_bytes(text, &size, "x", &err) < 0 || size <= INT64_MAX);
    MUST(parse_size_range(text, 4096, 1U << 30, &size, "x", &err) < 0 ||
         (size >= 4096 && size <= 1U << 30));
    MUST(parse_milli(text, 10, 8192000, &value, "x", &err) < 0 ||
         (value >= 10 && value <= 8192000));
    MUST(parse_duration_ms(text, &value, "x", &err) < 0 ||
         (value > 0 && value <= 10ULL * 366 * 86400 * 1000));
}

void target_run(const uint8_t *data, size_t size)
{
    struct input input = {data, size};
    _cleanup_free_ char *text = input_rest(&input);
    check_escaped(text);
    check_json(text);
    check_base64(text);
    check_names(text);
    check_numbers(text);
}
