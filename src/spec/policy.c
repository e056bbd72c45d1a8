/* SPDX-License-Identifier: Apache-2.0 */
/* What the keys of a section [Policy] mean. Pure; the texts are root's. */
#include "spec/policy.h"

#include "base/parse.h"
#include "base/text.h"
#include "spec/limits.h"
#include "spec/names.h"
#include "spec/network.h"
#include "sys/caps.h"

#include <inttypes.h>
#include <string.h>

#define WORDS_MAX      1024
#define SPACE          " \t"
#define SANDBOXES_MAX  100000
#define SANDBOXES_LESS "256" /* where nothing is said */

const struct policy_key_info policy_keys[_POLICY_KEYS] = {
    [POLICY_ENGINES] = {"Engines", "engine", "--engine"},
    [POLICY_NETWORKS] = {"Networks", "network", "--network"},
    [POLICY_DEVICES] = {"Devices", "device", "--device"},
    [POLICY_SECCOMP] = {"Seccomp", "seccomp", "--seccomp"},
    [POLICY_CAPABILITIES] = {"Capabilities", "capability", "--cap-add"},
    [POLICY_MEMORY] = {"Memory", "memory_bytes", "--memory"},
    [POLICY_SWAP] = {"Swap", "swap_bytes", "--swap"},
    [POLICY_CPUS] = {"CPUs", "cpus_milli", "--cpus"},
    [POLICY_PIDS] = {"Pids", "pids", "--pids"},
    [POLICY_DISK] = {"Disk", "disk_bytes", "--disk"},
    [POLICY_TIME] = {"Time", "timeout_ms", "--timeout"},
    [POLICY_SANDBOXES] = {"Sandboxes", "sandboxes", NULL},
};

int policy_key_named(const char *name, enum policy_key *ret)
{
    for (size_t i = 0; i < ELEMENTS(policy_keys); i++)
        if (streq(policy_keys[i].name, name)) {
            *ret = (enum policy_key)i;
            return 0;
        }
    return -ENOENT;
}

static void clear_words(struct policy_value *value)
{
    for (size_t i = 0; i < value->n_words; i++) {
        free(value->words[i].text);
        free(value->words[i].from);
    }
    free(value->words);
    value->words = NULL;
    value->n_words = 0;
}

void policy_value_clear(struct policy_value *value)
{
    clear_words(value);
    freep(&value->from);
    *value = (struct policy_value){0};
}

void policy_clear(struct policy *policy)
{
    for (size_t i = 0; i < ELEMENTS(policy->values); i++)
        policy_value_clear(&policy->values[i]);
}

static bool has_word(const struct policy_value *value, const char *text)
{
    for (size_t i = 0; i < value->n_words; i++)
        if (streq(value->words[i].text, text))
            return true;
    return false;
}

int policy_add_word(struct policy_value *value, const char *text, size_t length,
                    const char *from, struct error *err)
{
    if (value->n_words >= WORDS_MAX)
        return fail(err, ERROR_INVALID, E2BIG, "more than %d words", WORDS_MAX);
    struct policy_word word = {strndup(text, length), strdup(from)};
    if (word.text && has_word(value, word.text)) { /* the place that says it first counts */
        free(word.text);
        free(word.from);
        return 0;
    }
    struct policy_word *words =
        reallocarray(value->words, value->n_words + 1, sizeof(*value->words));
    if (words)
        value->words = words;
    if (!words || !word.text || !word.from) {
        free(word.text);
        free(word.from);
        return fail(err, ERROR_SYSTEM, ENOMEM, "policy: ");
    }
    words[value->n_words++] = word;
    return 0;
}

/* chroot isolates nothing: who may use it is root of the machine. */
static int add_engine(struct policy_value *value, const char *word, const char *from,
                      struct error *err)
{
    if (streq(word, "chroot"))
        return fail(err, ERROR_INVALID, EINVAL,
                    "chroot isolates nothing, and is for root only; leave it out");
    return name_is_engine(word)
               ? policy_add_word(value, word, strlen(word), from, err)
               : fail(err, ERROR_INVALID, EINVAL,
                      "\"%.60s\": no such engine; see `isolate engines`, and write oci:/PATH "
                      "for a runtime beside runc and crun",
                      word);
}

static int add_network(struct policy_value *value, const char *word, const char *from,
                       struct error *err)
{
    struct network network = {0};
    if (network_parse_mode(word, &network, NULL) < 0 || strchr(word, ','))
        return fail(err, ERROR_INVALID, EINVAL,
                    "\"%.60s\": there are none, nat, host and bridge=NAME", word);
    return policy_add_word(value, word, strlen(word), from, err);
}

static int add_device(struct policy_value *value, const char *word, const char *from,
                      struct error *err)
{
    if (!text_after(word, "/dev/") || strlen(word) > 200)
        return fail(err, ERROR_INVALID, EINVAL, "\"%.60s\": devices are written /dev/NAME",
                    word);
    return policy_add_word(value, word, strlen(word), from, err);
}

static int add_seccomp(struct policy_value *value, const char *word, const char *from,
                       struct error *err)
{
    int r = name_check_filter_right(word, err);
    return r < 0 ? r : policy_add_word(value, word, strlen(word), from, err);
}

static int add_capability(struct policy_value *value, const char *word, const char *from,
                          struct error *err)
{
    uint64_t mask = streq(word, "default") ? caps_default() : caps_from_name(word);
    if (mask == 0)
        return fail(err, ERROR_INVALID, EINVAL,
                    "\"%.40s\": no such capability; see capabilities(7). \"default\" stands "
                    "for those that sandboxes have without --cap-add",
                    word);
    int r = 0;
    for (unsigned i = 0; r == 0 && caps_name(i); i++)
        if (mask & CAP_BIT(i))
            r = policy_add_word(value, caps_name(i), strlen(caps_name(i)), from, err);
    return r;
}

static int set_list(struct policy_value *value, enum policy_key key, const char *text,
                    const char *from, struct error *err)
{
    static int (*const add[_POLICY_LISTS])(struct policy_value * value, const char *word,
                                           const char *from, struct error *err) = {
        [POLICY_ENGINES] = add_engine,          [POLICY_NETWORKS] = add_network,
        [POLICY_DEVICES] = add_device,          [POLICY_SECCOMP] = add_seccomp,
        [POLICY_CAPABILITIES] = add_capability,
    };
    const char *at = text + strspn(text, SPACE);
    int r = 0;
    if (!*at)
        clear_words(value);
    while (r == 0 && *at) {
        char word[256];
        size_t n = strcspn(at, SPACE);
        (void)snprintf(word, sizeof(word), "%.*s", (int)n, at);
        r = n < sizeof(word) ? add[key](value, word, from, err)
                             : fail(err, ERROR_INVALID, EINVAL, "a word is too long");
        at += n + strspn(at + n, SPACE);
    }
    return r < 0 ? error_prefix(err, r, "%s=: ", policy_keys[key].name) : 0;
}

static int parse_ceiling(enum policy_key key, const char *text, uint64_t *ret,
                         struct error *err)
{
    char what[32];
    (void)snprintf(what, sizeof(what), "%s=", policy_keys[key].name);
    if (streq(text, "infinity")) {
        *ret = POLICY_NO_CEILING;
        return 0;
    }
    switch ((int)key) {
    case POLICY_MEMORY:
        return parse_size_range(text, LIMIT_MEMORY_MIN, LIMIT_BYTES_MAX, ret, what, err);
    case POLICY_SWAP:
        return parse_size_range(text, 0, LIMIT_BYTES_MAX, ret, what, err);
    case POLICY_DISK:
        return parse_size_range(text, LIMIT_DISK_MIN, LIMIT_BYTES_MAX, ret, what, err);
    case POLICY_CPUS:
        return parse_milli(text, LIMIT_CPUS_MIN, LIMIT_CPUS_MAX, ret, what, err);
    case POLICY_PIDS:
        return parse_u64(text, LIMIT_PIDS_MIN, LIMIT_PIDS_MAX, ret, what, err);
    case POLICY_TIME:
        return parse_duration_ms(text, ret, what, err);
    case POLICY_SANDBOXES:
        return parse_u64(text, 1, SANDBOXES_MAX, ret, what, err);
    default:
        return fail(err, ERROR_INVALID, EINVAL, "%s is no ceiling", what);
    }
}

int policy_set(struct policy *policy, enum policy_key key, const char *text, const char *from,
               struct error *err)
{
    struct policy_value *value = &policy->values[key];
    int r = key < _POLICY_LISTS ? set_list(value, key, text, from, err)
                                : parse_ceiling(key, text, &value->ceiling, err);
    char *copy = r < 0 ? NULL : strdup(from);
    if (r == 0 && !copy)
        r = fail(err, ERROR_SYSTEM, ENOMEM, "policy: ");
    if (r < 0)
        return r;
    free(value->from);
    value->from = copy;
    value->said = true;
    return 0;
}

static bool has_all_words(const struct policy_value *a, const struct policy_value *b)
{
    for (size_t i = 0; i < b->n_words; i++)
        if (!has_word(a, b->words[i].text))
            return false;
    return true;
}

bool policy_value_equal(const struct policy_value *a, const struct policy_value *b)
{
    return a->said == b->said && a->ceiling == b->ceiling && has_all_words(a, b) &&
           has_all_words(b, a);
}

int policy_set_defaults(struct policy *policy, struct error *err)
{
    static const struct {
        enum policy_key key;
        const char *text;
    } defaults[] = {
        {POLICY_ENGINES, "native bwrap lxc nspawn oci"},
        {POLICY_NETWORKS, "none"},
        {POLICY_DEVICES, ""},
        {POLICY_SECCOMP, "default strict"},
        {POLICY_CAPABILITIES, "default"},
        {POLICY_SANDBOXES, SANDBOXES_LESS},
    };
    int r = 0;
    for (size_t i = 0; r == 0 && i < ELEMENTS(defaults); i++)
        if (!policy->values[defaults[i].key].said)
            r = policy_set(policy, defaults[i].key, defaults[i].text, "default", err);
    for (size_t i = _POLICY_LISTS; i < _POLICY_KEYS; i++)
        if (!policy->values[i].said)
            policy->values[i].ceiling = POLICY_NO_CEILING;
    /* it is what is there when there is nothing */
    return r < 0 ? r
                 : policy_add_word(&policy->values[POLICY_NETWORKS], "none", 4, "default", err);
}

static void print_unit(uint64_t value, const char *const *units, size_t n, uint64_t step,
                       char *out, size_t size)
{
    size_t unit = 0;
    for (; unit + 1 < n && value > 0 && value % step == 0; unit++)
        value /= step;
    (void)snprintf(out, size, "%" PRIu64 "%s", value, units[unit]);
}

void policy_print_ceiling(enum policy_key key, uint64_t value, char *out, size_t size)
{
    static const char *const bytes[] = {"", "K", "M", "G", "T"};
    if (value == POLICY_NO_CEILING)
        (void)snprintf(out, size, "infinity");
    else if (key == POLICY_MEMORY || key == POLICY_SWAP || key == POLICY_DISK)
        print_unit(value, bytes, ELEMENTS(bytes), 1024, out, size);
    else if (key == POLICY_TIME)
        (void)snprintf(out, size, "%" PRIu64 "%s", value % 1000 ? value : value / 1000,
                       value % 1000 ? "ms" : "s");
    else if (key == POLICY_CPUS)
        (void)snprintf(out, size, "%" PRIu64 ".%03" PRIu64, value / 1000, value % 1000);
    else
        (void)snprintf(out, size, "%" PRIu64, value);
}
