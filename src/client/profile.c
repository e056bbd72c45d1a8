/* SPDX-License-Identifier: Apache-2.0 */
/* See profile.h. Runs as the caller; the file may be anybody's. Rules mean what they mean to
 * runc: two conditions on one argument are two rules, and what the library or the kernel does
 * not know is left out where that refuses it. */
#include "client/profile.h"

#include "base/text.h"
#include "sys/filter.h"
#include "sys/filter_export.h"

#include <seccomp.h>
#include <string.h>

#define PROFILE_ARGUMENTS 6

struct compiler {
    const struct profile_machine *machine;
    scmp_filter_ctx filter;
    uint32_t default_action;
    bool starts; /* execve may pass */
    struct error *err;
};

static void filter_releasep(scmp_filter_ctx *filter)
{
    if (*filter)
        seccomp_release(*filter);
}

static int take_operator(const json_t *value, enum scmp_compare *ret, struct error *err)
{
    static const struct {
        const char *name;
        enum scmp_compare compare;
    } known[] = {
        {"SCMP_CMP_NE", SCMP_CMP_NE},
        {"SCMP_CMP_LT", SCMP_CMP_LT},
        {"SCMP_CMP_LE", SCMP_CMP_LE},
        {"SCMP_CMP_EQ", SCMP_CMP_EQ},
        {"SCMP_CMP_GE", SCMP_CMP_GE},
        {"SCMP_CMP_GT", SCMP_CMP_GT},
        {"SCMP_CMP_MASKED_EQ", SCMP_CMP_MASKED_EQ},
    };
    const char *name = json_string_value(value);
    for (size_t i = 0; name && i < ELEMENTS(known); i++)
        if (streq(known[i].name, name)) {
            *ret = known[i].compare;
            return 0;
        }
    return fail(err, ERROR_INVALID, EINVAL, "unknown operator \"%.60s\"", name ? name : "");
}

static int take_argument(const json_t *item, struct scmp_arg_cmp *ret, struct error *err)
{
    static const char *const keys[] = {"index", "value", "valueTwo", "op", NULL};
    const json_t *index = json_object_get(item, "index");
    const json_t *value = json_object_get(item, "value");
    const json_t *second = json_object_get(item, "valueTwo");
    enum scmp_compare compare = SCMP_CMP_EQ;
    int r = profile_check_keys(item, keys, "args", err);
    if (r == 0)
        r = take_operator(json_object_get(item, "op"), &compare, err);
    if (r < 0)
        return r;
    if (!json_is_integer(index) || json_integer_value(index) < 0 ||
        json_integer_value(index) >= PROFILE_ARGUMENTS || !json_is_integer(value) ||
        (second && !json_is_integer(second)))
        return fail(err, ERROR_INVALID, EINVAL,
                    "args must have an index from 0 to 5 and whole numbers as values");
    *ret = (struct scmp_arg_cmp){
        .arg = (unsigned)json_integer_value(index),
        .op = compare,
        .datum_a = (scmp_datum_t)json_integer_value(value),
        .datum_b = (scmp_datum_t)json_integer_value(second),
    };
    return 0;
}

static int add_rule(const struct compiler *compiler, uint32_t action, int call, size_t n,
                    const struct scmp_arg_cmp *arguments)
{
    return seccomp_rule_add_array(compiler->filter, action, call, (unsigned)n, arguments);
}

/* Conditions that must all hold are one rule, unless two are of the same argument. */
static int add_call(const struct compiler *compiler, uint32_t action, int call,
                    const json_t *conditions)
{
    struct scmp_arg_cmp arguments[PROFILE_ARGUMENTS];
    size_t n = json_array_size(conditions);
    unsigned seen = 0;
    bool twice = n > PROFILE_ARGUMENTS;
    for (size_t i = 0; i < n && !twice; i++) {
        int r = take_argument(json_array_get(conditions, i), &arguments[i], compiler->err);
        if (r < 0)
            return r;
        twice = seen & (1U << arguments[i].arg);
        seen |= 1U << arguments[i].arg;
    }
    int r = twice ? 0 : add_rule(compiler, action, call, n, arguments);
    for (size_t i = 0; i < n && twice && r == 0; i++) {
        r = take_argument(json_array_get(conditions, i), &arguments[0], compiler->err);
        if (r == 0)
            r = add_rule(compiler, action, call, 1, arguments);
    }
    return r;
}

/* By libseccomp, or the table of the default filter, which knows newer ones. */
static int resolve(const char *name)
{
    int number = seccomp_syscall_resolve_name(name);
    for (const struct filter_call *call = filter_calls; number < 0 && call->name; call++)
        if (streq(call->name, name) && call->number > 0)
            number = call->number;
    return number;
}

static int take_name(struct compiler *compiler, const json_t *entry, const char *name,
                     uint32_t action)
{
    bool passes = profile_lets_pass(action);
    int call = name ? resolve(name) : __NR_SCMP_ERROR;
    if (!name)
        return fail(compiler->err, ERROR_INVALID, EINVAL, "names must be strings");
    compiler->starts = compiler->starts || (passes && streq(name, "execve"));
    if (action == compiler->default_action)
        return 0;
    if (call == __NR_SCMP_ERROR && !passes && profile_lets_pass(compiler->default_action))
        return fail(compiler->err, ERROR_UNSUPPORTED, EOPNOTSUPP,
                    "system call \"%.60s\": not known here, so that it could not be refused",
                    name);
    if (call == __NR_SCMP_ERROR)
        return 0;
    int r = add_call(compiler, action, call, json_object_get(entry, "args"));
    return r == 0 || (compiler->err && compiler->err->code != ERROR_NONE)
               ? r
               : fail(compiler->err, ERROR_INVALID, r, "system call \"%.60s\": ", name);
}

static int take_entry(struct compiler *compiler, const json_t *entry)
{
    static const char *const keys[] = {"names", "name",    "action",   "errnoRet", "errno",
                                       "args",  "comment", "includes", "excludes", NULL};
    static const char *const errno_keys[] = {"errnoRet", "errno"};
    uint32_t action = 0;
    size_t index = 0;
    const json_t *name = NULL;
    bool applies = false;
    int r = profile_check_keys(entry, keys, "syscalls", compiler->err);
    if (r == 0)
        r = profile_applies(entry, compiler->machine, &applies, compiler->err);
    if (r == 0)
        r = profile_action(entry, "action", errno_keys, &action, compiler->err);
    if (r < 0 || !applies)
        return r;
    if (json_object_get(entry, "name"))
        return take_name(compiler, entry, json_string_value(json_object_get(entry, "name")),
                         action);
    json_array_foreach(json_object_get(entry, "names"), index, name)
    {
        r = take_name(compiler, entry, json_string_value(name), action);
        if (r < 0)
            return r;
    }
    return 0;
}

/* Whether an architecture is one of those that the profile names. None named: the machine's. */
static bool names_architecture(const json_t *profile, const char *name)
{
    size_t index = 0;
    const json_t *item = NULL;
    const json_t *list = json_object_get(profile, "architectures");
    const json_t *map = json_object_get(profile, "archMap");
    json_array_foreach((json_t *)list, index, item)
    {
        if (json_string_value(item) && streq(json_string_value(item), name))
            return true;
    }
    json_array_foreach((json_t *)map, index, item)
    {
        const char *main_name = json_string_value(json_object_get(item, "architecture"));
        const json_t *others = json_object_get(item, "subArchitectures");
        if (main_name && streq(main_name, name))
            return true;
        for (size_t i = 0; i < json_array_size(others); i++)
            if (streq(json_string_value(json_array_get(others, i)) ?: "", name))
                return true;
    }
    return false;
}

static int choose_architectures(const struct compiler *compiler, const json_t *profile)
{
#if defined(__x86_64__)
    const char *native = "SCMP_ARCH_X86_64";
#elif defined(__aarch64__)
    const char *native = "SCMP_ARCH_AARCH64";
#else
    const char *native = "SCMP_ARCH_NATIVE";
#endif
    bool named = json_array_size(json_object_get(profile, "architectures")) > 0 ||
                 json_array_size(json_object_get(profile, "archMap")) > 0;
    if (named && !names_architecture(profile, native))
        return fail(compiler->err, ERROR_INVALID, EINVAL,
                    "it is for other architectures than %s: no command could start", native);
    if (!compiler->machine->abi_32bit)
        return 0;
    if (!names_architecture(profile, "SCMP_ARCH_X86"))
        return fail(compiler->err, ERROR_INVALID, EINVAL,
                    "it does not name SCMP_ARCH_X86, which --personality 32bit needs");
    return seccomp_arch_add(compiler->filter, SCMP_ARCH_X86);
}

static int take_all(struct compiler *compiler, const json_t *profile)
{
    const json_t *entry = NULL;
    size_t index = 0;
    int r = seccomp_attr_set(compiler->filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
    if (r == 0)
        r = seccomp_attr_set(compiler->filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
    if (r == 0)
        r = choose_architectures(compiler, profile);
    if (r < 0)
        return r;
    compiler->starts = profile_lets_pass(compiler->default_action);
    json_array_foreach(json_object_get(profile, "syscalls"), index, entry)
    {
        r = take_entry(compiler, entry);
        if (r < 0)
            return r;
    }
    return compiler->starts ? 0
                            : fail(compiler->err, ERROR_INVALID, EINVAL,
                                   "it does not allow execve: no command could start");
}

/* Flags of a listener, of logging: none that would be kept. */
static int check_flags(const json_t *profile, struct error *err)
{
    const json_t *flags = json_object_get(profile, "flags");
    const char *first = json_string_value(json_array_get(flags, 0));
    return json_array_size(flags) == 0
               ? 0
               : fail(err, ERROR_UNSUPPORTED, EOPNOTSUPP, "flags: %.60s is not supported",
                      first ? first : "what is there");
}

int profile_compile(const json_t *profile, const struct profile_machine *machine,
                    struct buffer *ret, struct error *err)
{
    static const char *const keys[] = {
        "defaultAction", "defaultErrnoRet", "defaultErrno", "architectures",
        "archMap",       "syscalls",        "flags",        NULL};
    static const char *const errno_keys[] = {"defaultErrnoRet", "defaultErrno"};
    struct error own = {0};
    struct compiler compiler = {.machine = machine, .err = &own};
    int r = profile_check_keys(profile, keys, "the profile", &own);
    if (r == 0)
        r = check_flags(profile, &own);
    if (r == 0)
        r = profile_action(profile, "defaultAction", errno_keys, &compiler.default_action,
                           &own);
    _cleanup_(filter_releasep) scmp_filter_ctx filter =
        r == 0 ? seccomp_init(compiler.default_action) : NULL;
    compiler.filter = filter;
    if (r == 0)
        r = filter ? take_all(&compiler, profile) : -ENOMEM;
    if (r == 0)
        r = filter_export(filter, ret);
    if (r < 0 && own.code == ERROR_NONE)
        (void)fail(&own, ERROR_SYSTEM, r, "compile it: ");
    if (r < 0 && err)
        *err = own;
    return r;
}
