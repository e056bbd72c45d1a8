/* SPDX-License-Identifier: Apache-2.0 */
/* From options to a request. Runs as the caller: paths are opened with the caller's rights, and
 * isolated gets only fds. */
#include "client/run.h"

#include "base/parse.h"
#include "base/text.h"
#include "client/display.h"
#include "paths.h"
#include "spec/base64.h"
#include "spec/limits.h"
#include "spec/names.h"
#include "spec/rlimits.h"
#include "sys/fd.h"

#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <string.h>

void run_draft_clear(struct run_draft *draft)
{
    for (size_t i = 0; i < draft->n_members; i++)
        buffer_clear(&draft->members[i].json);
    draft->n_members = 0;
    buffer_clear(&draft->binds);
    buffer_clear(&draft->tmpfs);
    buffer_clear(&draft->cap_add);
    buffer_clear(&draft->cap_drop);
    buffer_clear(&draft->publish);
    buffer_clear(&draft->ulimits);
    buffer_clear(&draft->env);
    fd_list_clear(&draft->fds);
    display_free(&draft->display);
    freep(&draft->receipt_path);
}

const char *run_draft_value(const struct run_draft *draft, const char *name)
{
    size_t i = 0;
    while (i < draft->n_members && !streq(draft->members[i].name, name))
        i++;
    return i < draft->n_members ? draft->members[i].json.data : NULL;
}

bool run_draft_has(const struct run_draft *draft, const char *name)
{
    return run_draft_value(draft, name);
}

struct buffer *run_draft_member(struct run_draft *draft, const char *name)
{
    size_t i = 0;
    while (i < draft->n_members && !streq(draft->members[i].name, name))
        i++;
    if (i == RUN_DRAFT_MEMBERS)
        i--; /* there are fewer names than places */
    if (i == draft->n_members)
        draft->n_members++;
    draft->members[i].name = name;
    buffer_clear(&draft->members[i].json);
    return &draft->members[i].json;
}

void run_draft_write(const struct run_draft *draft, struct buffer *out)
{
    const struct {
        const char *name;
        const struct buffer *list;
    } lists[] = {
        {"binds", &draft->binds},     {"tmpfs", &draft->tmpfs},
        {"cap_add", &draft->cap_add}, {"cap_drop", &draft->cap_drop},
        {"publish", &draft->publish}, {"ulimits", &draft->ulimits},
    };
    for (size_t i = 0; i < draft->n_members; i++) {
        const struct run_member *member = &draft->members[i];
        buffer_printf(out, "%s\"%s\":", i ? "," : "", member->name);
        buffer_append(out, member->json.data, member->json.length);
        out->failed = out->failed || member->json.failed;
    }
    for (size_t i = 0; i < ELEMENTS(lists); i++) {
        out->failed = out->failed || lists[i].list->failed;
        if (lists[i].list->length == 0)
            continue;
        buffer_printf(out, ",\"%s\":[", lists[i].name);
        buffer_append(out, lists[i].list->data, lists[i].list->length);
        buffer_append_char(out, ']');
    }
}

void run_draft_string(struct run_draft *draft, const char *name, const char *value)
{
    buffer_append_json_string(run_draft_member(draft, name), value);
}

void run_draft_true(struct run_draft *draft, const char *name)
{
    buffer_append_text(run_draft_member(draft, name), "true");
}

static void draft_number(struct run_draft *draft, const char *name, uint64_t value)
{
    buffer_printf(run_draft_member(draft, name), "%" PRIu64, value);
}

void run_draft_env_first(struct run_draft *draft, const struct buffer *variables)
{
    _cleanup_buffer_ struct buffer rest = draft->env;
    draft->env = (struct buffer){.failed = variables->failed || rest.failed};
    buffer_append(&draft->env, variables->data, variables->length);
    buffer_append(&draft->env, rest.data, rest.length);
}

void run_draft_list(struct run_draft *draft, const char *name, const char *base64_name,
                    char *const *items, size_t n)
{
    bool plain = true;
    for (size_t i = 0; i < n; i++)
        plain = plain && text_is_utf8(items[i], strlen(items[i]));
    struct buffer *out = run_draft_member(draft, plain ? name : base64_name);
    buffer_append_char(out, '[');
    for (size_t i = 0; i < n; i++) {
        if (i > 0)
            buffer_append_char(out, ',');
        if (plain) {
            buffer_append_json_string(out, items[i]);
        } else {
            buffer_append_char(out, '"');
            base64_encode(out, items[i], strlen(items[i]));
            buffer_append_char(out, '"');
        }
    }
    buffer_append_char(out, ']');
}

int draft_need_utf8(const char *what, const char *value, struct error *err)
{
    if (text_is_utf8(value, strlen(value)))
        return 0;
    return fail(err, ERROR_INVALID, EILSEQ, "%s \"%s\": is not valid UTF-8", what, value);
}

static int add_string(struct run_draft *draft, const char *name, const char *value,
                      struct error *err)
{
    int r = draft_need_utf8(name, value, err);
    if (r == 0)
        run_draft_string(draft, name, value);
    return r;
}

static void add_word(struct buffer *list, const char *word)
{
    if (list->length > 0)
        buffer_append_char(list, ',');
    buffer_append_json_string(list, word);
}

static int add_env(struct run_draft *draft, const char *text, const char *where,
                   struct error *err)
{
    size_t name = strcspn(text, "=");
    if (name == 0)
        return fail(err, ERROR_INVALID, EINVAL, "%s \"%s\": the variable has no name", where,
                    text);
    if (strspn(text, "0123456789") > 0 || memchr(text, ' ', name))
        return fail(err, ERROR_INVALID, EINVAL, "%s \"%s\": no shell could use that name",
                    where, text);
    if (text[name] == '=') {
        buffer_append(&draft->env, text, strlen(text) + 1);
        return 0;
    }
    const char *value = getenv(text);
    if (!value)
        return fail(err, ERROR_INVALID, EINVAL,
                    "%s %s: the variable is not set here; set it, or write %s=VALUE", where,
                    text, text);
    buffer_append_text(&draft->env, text);
    buffer_append_char(&draft->env, '=');
    buffer_append(&draft->env, value, strlen(value) + 1);
    return 0;
}

static int add_env_file(struct run_draft *draft, const char *path, struct error *err)
{
    _cleanup_buffer_ struct buffer text = {0};
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
    int r = fd < 0 ? -errno : fd_read_all(fd, 4U << 20, &text);
    if (r < 0)
        return fail(err, ERROR_SYSTEM, r, "--env-file %s: ", path);
    char *at = text.data;
    unsigned number = 0;
    for (char *line = strsep(&at, "\n"); line && r == 0; line = strsep(&at, "\n")) {
        char where[128];
        (void)snprintf(where, sizeof(where), "--env-file %.80s, line %u:", path, ++number);
        line += strspn(line, " \t");
        size_t n = strlen(line);
        if (n > 0 && line[n - 1] == '\r')
            line[n - 1] = '\0';
        if (*line && *line != '#')
            r = add_env(draft, line, where, err);
    }
    return r;
}

static int add_tmpfs(struct run_draft *draft, const char *value, struct error *err)
{
    char target[PATH_MAX];
    uint64_t size = 0;
    const char *colon = strrchr(value, ':');
    size_t n = colon ? (size_t)(colon - value) : strlen(value);
    int r = colon ? parse_size_bytes(colon + 1, &size, "--tmpfs", err) : 0;
    if (r == 0)
        r = draft_need_utf8("--tmpfs", value, err);
    if (r < 0)
        return r;
    if (n >= sizeof(target))
        return fail(err, ERROR_INVALID, ENAMETOOLONG, "--tmpfs: target too long");
    (void)snprintf(target, sizeof(target), "%.*s", (int)n, value);
    while (n > 1 && target[n - 1] == '/')
        target[--n] = '\0';
    buffer_printf(&draft->tmpfs,
                  "%s{\"size_bytes\":%" PRIu64 ",\"target\":", draft->tmpfs.length ? "," : "",
                  size);
    buffer_append_json_string(&draft->tmpfs, target);
    buffer_append_char(&draft->tmpfs, '}');
    return 0;
}

static int add_time(struct run_draft *draft, enum option_id id, const char *value,
                    struct error *err)
{
    uint64_t ms = 0;
    bool cpu = id == OPTION_CPU_TIME;
    int r = parse_duration_ms(value, &ms, cpu ? "--cpu-time" : "--timeout", err);
    if (r == 0)
        draft_number(draft, cpu ? "cpu_time_ms" : "timeout_ms", ms);
    return r;
}

static int add_cpuset(struct run_draft *draft, const char *value, struct error *err)
{
    struct cpu_list list;
    if (strlen(value) >= CPU_LIST_TEXT)
        return fail(err, ERROR_INVALID, E2BIG, "--cpuset: longer than %d bytes",
                    CPU_LIST_TEXT - 1);
    int r = cpu_list_parse(value, &list, "--cpuset", err);
    if (r == 0)
        run_draft_string(draft, "cpuset", value);
    return r;
}

static int add_ulimit(struct run_draft *draft, const char *value, struct error *err)
{
    struct rlimit_wish wish;
    int r = rlimit_parse(value, &wish, "--ulimit", err);
    if (r == 0)
        add_word(&draft->ulimits, value);
    return r;
}

static const struct limit {
    enum option_id id;
    enum { LIMIT_SIZE, LIMIT_MILLI, LIMIT_NUMBER } kind;
    const char *name; /* of the request's member */
    const char *option;
    uint64_t min, max;
} limits[] = {
    {OPTION_MEMORY, LIMIT_SIZE, "memory_bytes", "--memory", LIMIT_MEMORY_MIN, LIMIT_BYTES_MAX},
    {OPTION_SWAP, LIMIT_SIZE, "swap_bytes", "--swap", 0, LIMIT_BYTES_MAX},
    {OPTION_DISK, LIMIT_SIZE, "disk_bytes", "--disk", LIMIT_DISK_MIN, LIMIT_BYTES_MAX},
    {OPTION_CPUS, LIMIT_MILLI, "cpus_milli", "--cpus", LIMIT_CPUS_MIN, LIMIT_CPUS_MAX},
    {OPTION_PIDS, LIMIT_NUMBER, "pids", "--pids", LIMIT_PIDS_MIN, LIMIT_PIDS_MAX},
    {OPTION_IO_WEIGHT, LIMIT_NUMBER, "io_weight", "--io-weight", LIMIT_IO_WEIGHT_MIN,
     LIMIT_IO_WEIGHT_MAX},
};

static const struct limit *limit_of(enum option_id id)
{
    for (size_t i = 0; i < ELEMENTS(limits); i++)
        if (limits[i].id == id)
            return &limits[i];
    return NULL;
}

static int add_limit(struct run_draft *draft, const struct limit *limit, const char *value,
                     struct error *err)
{
    uint64_t number = 0;
    int (*parse)(const char *, uint64_t, uint64_t, uint64_t *, const char *, struct error *) =
        limit->kind == LIMIT_SIZE    ? parse_size_range
        : limit->kind == LIMIT_MILLI ? parse_milli
                                     : parse_u64;
    int r = parse(value, limit->min, limit->max, &number, limit->option, err);
    if (r == 0)
        draft_number(draft, limit->name, number);
    return r;
}

static int add_here(struct run_draft *draft, struct error *err)
{
    char directory[PATH_MAX];
    if (!getcwd(directory, sizeof(directory)))
        return fail(err, ERROR_SYSTEM, errno, "--here: the current directory: ");
    draft->here = true;
    run_draft_true(draft, "here");
    return run_draft_bind(draft, ".", directory, "", err);
}

/* Options whose value goes into the request as it is. */
static const char *plain_member(enum option_id id)
{
    static const struct {
        enum option_id id;
        const char *name;
    } members[] = {
        {OPTION_USER, "user"},
        {OPTION_OWNER, "owner"},
        {OPTION_HOSTNAME, "hostname"},
        {OPTION_NETWORK, "network"},
        {OPTION_NAME, "name"},
        {OPTION_ENGINE, "engine"},
        {OPTION_STORAGE, "storage"},
        {OPTION_WORKDIR, "workdir"},
        {OPTION_SECCOMP, "seccomp"},
        {OPTION_PERSONALITY, "personality"},
        {OPTION_ENTRYPOINT, "entrypoint"},
    };
    for (size_t i = 0; i < ELEMENTS(members); i++)
        if (members[i].id == id)
            return members[i].name;
    return NULL;
}

static int set_receipt(struct run_draft *draft, const char *value, struct error *err)
{
    freep(&draft->receipt_path);
    draft->receipt_path = strdup(value);
    run_draft_true(draft, "usage");
    return draft->receipt_path ? 0 : fail(err, ERROR_SYSTEM, ENOMEM, "--receipt: ");
}

static int add_first_id(struct run_draft *draft, const char *value, struct error *err)
{
    uint32_t first_id = 0;
    int r = parse_u32(value, FIRST_ID_MIN, FIRST_ID_MAX, &first_id, "--first-id", err);
    if (r == 0)
        draft_number(draft, "first_id", first_id);
    return r;
}

int run_draft_hook(struct run_draft *draft, bool before, const char *command, struct error *err)
{
    const char *option = before ? "--pre-hook" : "--post-hook";
    if (!*command)
        return fail(err, ERROR_INVALID, EINVAL, "%s: the command is empty", option);
    *(before ? &draft->pre_hook : &draft->post_hook) = command;
    run_draft_true(draft, before ? "pre_hook" : "post_hook");
    draft->wants_end = true;
    return 0;
}

/* Options without a value that need nothing else. */
static bool set_flag(struct run_draft *draft, enum option_id id)
{
    const struct {
        enum option_id id;
        bool *flag;
        const char *member;
    } flags[] = {
        {OPTION_INTERACTIVE, &draft->interactive, NULL},
        {OPTION_TTY, &draft->tty, NULL},
        {OPTION_BOOT, &draft->tty, "boot"}, /* its console */
        {OPTION_QUIET, &draft->quiet, NULL},
        {OPTION_DETACH, &draft->detach, "detach"},
        {OPTION_READ_ONLY, NULL, "read_only"},
        {OPTION_KEEP, NULL, "keep"},
    };
    for (size_t i = 0; i < ELEMENTS(flags); i++) {
        if (flags[i].id != id)
            continue;
        if (flags[i].flag)
            *flags[i].flag = true;
        if (flags[i].member)
            run_draft_true(draft, flags[i].member);
        return true;
    }
    return false;
}

int run_draft_option(void *data, enum option_id id, const char *value, struct error *err)
{
    struct run_draft *draft = data;
    draft->wants_end = draft->wants_end || id == OPTION_NAME || id == OPTION_KEEP ||
                       id == OPTION_RECEIPT || id == OPTION_BIND || id == OPTION_HERE ||
                       id == OPTION_PUBLISH || id == OPTION_DEVICE || id == OPTION_GPU ||
                       id == OPTION_FIRST_ID;
    draft->has_workdir = draft->has_workdir || id == OPTION_WORKDIR;
    draft->has_network = draft->has_network || id == OPTION_NETWORK;
    if (id == OPTION_ENGINE)
        draft->no_isolation = streq(value, "chroot");
    if (plain_member(id))
        return add_string(draft, plain_member(id), value, err);
    if (set_flag(draft, id))
        return 0;
    if (limit_of(id))
        return add_limit(draft, limit_of(id), value, err);
    switch ((int)id) {
    case OPTION_ENV:
        return add_env(draft, value, "--env", err);
    case OPTION_ENV_FILE:
        return add_env_file(draft, value, err);
    case OPTION_BIND:
        return draft_bind(draft, value, err);
    case OPTION_DEVICE:
        return draft_device(draft, value, err);
    case OPTION_GPU:
        return draft_gpu(draft, err);
    case OPTION_HERE:
        return draft->here ? 0 : add_here(draft, err);
    case OPTION_TMPFS:
        return add_tmpfs(draft, value, err);
    case OPTION_TIMEOUT:
    case OPTION_CPU_TIME:
        return add_time(draft, id, value, err);
    case OPTION_ULIMIT:
    case OPTION_CPUSET:
        return (id == OPTION_ULIMIT ? add_ulimit : add_cpuset)(draft, value, err);
    case OPTION_PUBLISH:
        add_word(&draft->publish, value);
        return draft_need_utf8("--publish", value, err);
    case OPTION_CAP_ADD:
        add_word(&draft->cap_add, value);
        return draft_need_utf8("--cap-add", value, err);
    case OPTION_CAP_DROP:
        add_word(&draft->cap_drop, value);
        return draft_need_utf8("--cap-drop", value, err);
    case OPTION_RECEIPT:
        return set_receipt(draft, value, err);
    case OPTION_FIRST_ID:
        return add_first_id(draft, value, err);
    case OPTION_PRE_HOOK:
    case OPTION_POST_HOOK:
        return run_draft_hook(draft, id == OPTION_PRE_HOOK, value, err);
    default:
        return run_draft_display_option(draft, id)
                   ? 0
                   : fail(err, ERROR_INVALID, EINVAL, "option %d is not handled", (int)id);
    }
}

static int add_root(struct run_draft *draft, const char *path, struct error *err)
{
    char resolved[PATH_MAX];
    int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return fail(err, ERROR_NOT_FOUND, errno, "template %s: ", path);
    int r = fd_list_add(&draft->fds, fd);
    if (r < 0 || !realpath(path, resolved))
        return fail(err, ERROR_SYSTEM, r < 0 ? r : errno, "template %s: ", path);
    r = add_string(draft, "root", resolved, err);
    draft_number(draft, "root_fd", draft->fds.n - 1);
    return r;
}

int run_draft_template(struct run_draft *draft, const char *operand, struct error *err)
{
    if (streq(operand, "@host")) {
        run_draft_true(draft, "host");
        int fd = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
        int r = fd < 0 ? -errno : fd_list_add(&draft->fds, fd);
        draft_number(draft, "root_fd", draft->fds.n - 1);
        return r < 0 ? fail(err, ERROR_SYSTEM, r, "template @host: ") : 0;
    }
    if (operand[0] == '@')
        return fail(err, ERROR_NOT_FOUND, ENOENT,
                    "template \"%s\": of this kind there is only @host", operand);
    if (name_is_path(operand))
        return add_root(draft, operand, err);
    char name[NAME_TEMPLATE_MAX + 2];
    const char *at = strchr(operand, '@');
    size_t n = at ? (size_t)(at - operand) : strlen(operand);
    (void)snprintf(name, sizeof(name), "%.*s",
                   n > NAME_TEMPLATE_MAX ? NAME_TEMPLATE_MAX + 1 : (int)n, operand);
    int r = name_check_template(name, err);
    if (r == 0)
        run_draft_string(draft, "template", name);
    return r == 0 && at ? add_string(draft, "generation", at + 1, err) : r;
}
