/* SPDX-License-Identifier: Apache-2.0 */
/* The original's command line as a request of `run`. What this version has not is refused,
 * never ignored. Runs as the caller. */
#include "client/original.h"
#include "client/original_lxc.h"

#include "base/log.h"
#include "base/parse.h"
#include "base/text.h"
#include "client/run.h"
#include "spec/limits.h"

#include <limits.h>
#include <signal.h>
#include <string.h>

/* A draft that says with -x what `isolate run` would be called with. */
struct translation {
    const struct original *original;
    struct run_draft draft;
    struct buffer trace;
    bool trace_wanted;
};

static void say(const char *colour, const char *sign, const char *text)
{
    bool coloured = isatty(STDERR_FILENO) && !getenv("NO_COLOR");
    (void)fprintf(stderr, "%s[%s]%s %s\n", coloured ? colour : "", sign,
                  coloured ? "\033[0m" : "", text);
}

void original_say(const char *text)
{
    say("\033[32m", "+", text);
}

void original_warn(const char *text)
{
    say("\033[33m", "!", text);
}

static int option(struct translation *translation, enum option_id id, const char *name,
                  const char *value, struct error *err)
{
    _cleanup_buffer_ struct buffer word = {0};
    buffer_append_text(&word, "--");
    buffer_append_text(&word, name);
    if (value) {
        buffer_append_char(&word, '=');
        buffer_append_text(&word, value);
    }
    if (word.data)
        buffer_append_shell_word(&translation->trace, word.data);
    return run_draft_option(&translation->draft, id, value, err);
}

void original_warn_of_environment(void)
{
    if (getenv("DISABLE_SECCOMP_WRAPPER"))
        original_warn("DISABLE_SECCOMP_WRAPPER: the system call filter stays on");
}

void original_hostname(const struct original *original, char ret[static 64])
{
    const char *path = original->directory ? original->directory : original->dataset;
    char resolved[PATH_MAX];
    if (original->directory && realpath(path, resolved))
        path = resolved;
    const char *slash = strrchr(path, '/');
    size_t n = 0;
    for (const char *p = slash ? slash + 1 : path; *p && n < 63; p++) {
        bool plain =
            (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') || (*p >= '0' && *p <= '9');
        if (plain || n > 0)
            ret[n++] = (char)(plain ? *p : '-');
    }
    while (n > 0 && ret[n - 1] == '-')
        n--;
    ret[n] = '\0';
}

/* bwrap there: a read-only root, tmpfs on /tmp and /home, no capabilities. */
static int like_bwrap(struct translation *translation, struct error *err)
{
    int r = option(translation, OPTION_READ_ONLY, "read-only", NULL, err);
    if (r == 0)
        r = option(translation, OPTION_TMPFS, "tmpfs", "/home", err);
    if (r == 0)
        r = option(translation, OPTION_CAP_DROP, "cap-drop", "ALL", err);
    return r == 0 ? option(translation, OPTION_ENV, "env", "PATH=" ORIGINAL_PATH, err) : r;
}

/* lxc there: quotas, a bridge with -n, and /dev/net/tun where a variable says so. */
static int like_lxc(struct translation *translation, struct error *err)
{
    struct original_lxc lxc;
    char network[64];
    int r = original_lxc_read(&lxc, err);
    if (r < 0)
        return r;
    translation->trace_wanted = translation->trace_wanted || lxc.debug;
    (void)snprintf(network, sizeof(network), "bridge=%.48s", lxc.bridge);
    const struct {
        bool asked;
        enum option_id id;
        const char *name;
        const char *value;
    } options[] = {
        {*lxc.cpus != '\0', OPTION_CPUS, "cpus", lxc.cpus},
        {*lxc.memory != '\0', OPTION_MEMORY, "memory", lxc.memory},
        {translation->original->network, OPTION_NETWORK, "network", network},
        {lxc.tun, OPTION_DEVICE, "device", "/dev/net/tun"},
    };
    for (size_t i = 0; r == 0 && i < ELEMENTS(options); i++)
        if (options[i].asked)
            r = option(translation, options[i].id, options[i].name, options[i].value, err);
    return r;
}

static int translate_env(struct translation *translation, const char *pair, struct error *err)
{
    _cleanup_free_ char *text = strdup(pair);
    if (!text)
        return fail(err, ERROR_SYSTEM, ENOMEM, "-v: ");
    *strchr(text, ':') = '='; /* what follows another colon is part of the value */
    return option(translation, OPTION_ENV, "env", text, err);
}

void original_workdir(const struct original *original, char *ret)
{
    const char *workdir = original->workdir ? original->workdir : "/";
    (void)snprintf(ret, PATH_MAX, "%s%s", *workdir == '/' ? "" : "/", workdir);
}

static int translate_workdir(struct translation *translation, struct error *err)
{
    char path[PATH_MAX];
    original_workdir(translation->original, path);
    return option(translation, OPTION_WORKDIR, "workdir", path, err);
}

static int parse_base(const char *text, const char *what, uint32_t *ret, struct error *err)
{
    return text ? parse_u32(text, FIRST_ID_MIN, FIRST_ID_MAX, ret, what, err) : 0;
}

int original_id_bases(const struct original *original, uint32_t *ret_uid, uint32_t *ret_gid,
                      struct error *err)
{
    *ret_uid = *ret_gid = 0;
    int r = parse_base(original->uid_base, "-u", ret_uid, err);
    if (r == 0)
        r = parse_base(original->gid_base, "-g", ret_gid, err);
    if (*ret_gid == 0)
        *ret_gid = *ret_uid;
    if (*ret_uid == 0)
        *ret_uid = *ret_gid;
    return r;
}

static int translate_ids(struct translation *translation, struct error *err)
{
    uint32_t uid = 0;
    uint32_t gid = 0;
    char text[16];
    int r = original_id_bases(translation->original, &uid, &gid, err);
    if (r < 0 || uid == 0)
        return r;
    if (uid != gid)
        return fail(err, ERROR_UNSUPPORTED, EOPNOTSUPP,
                    "-u %u -g %u: the files of a sandbox are stored and mapped with one range "
                    "for both; give both the same number, or only one of them",
                    uid, gid);
    (void)snprintf(text, sizeof(text), "%u", uid);
    return option(translation, OPTION_FIRST_ID, "first-id", text, err);
}

/* A directory is run on as it is; of a dataset it is a clone. */
static int translate_root(struct translation *translation, struct error *err)
{
    char text[PATH_MAX];
    const struct original *original = translation->original;
    if (original->directory) {
        const char *slash = strchr(original->directory, '/');
        (void)snprintf(text, sizeof(text), "%s%s", slash ? "" : "./", original->directory);
        int r = option(translation, OPTION_STORAGE, "storage", "dir", err);
        buffer_append_shell_word(&translation->trace, text);
        return r < 0 ? r : run_draft_template(&translation->draft, text, err);
    }
    const char *name = strrchr(original->dataset, '/') + 1;
    (void)snprintf(text, sizeof(text), "zfs:%.*s", (int)(name - original->dataset - 1),
                   original->dataset);
    int r = option(translation, OPTION_STORAGE, "storage", text, err);
    if (r == 0) /* the command is what is given, whatever the template starts */
        r = option(translation, OPTION_ENTRYPOINT, "entrypoint", "", err);
    buffer_append_shell_word(&translation->trace, name);
    return r < 0 ? r : run_draft_template(&translation->draft, name, err);
}

const char *original_hook(bool before)
{
    const char *command = getenv(before ? "PRE_SPAWN_HOOK" : "POST_SPAWN_HOOK");
    return command && *command ? command : NULL;
}

static int translate_hooks(struct translation *translation, struct error *err)
{
    const char *before = original_hook(true);
    const char *after = original_hook(false);
    int r = before ? option(translation, OPTION_PRE_HOOK, "pre-hook", before, err) : 0;
    return r == 0 && after ? option(translation, OPTION_POST_HOOK, "post-hook", after, err) : r;
}

static int translate(struct translation *translation, struct error *err)
{
    char hostname[64];
    const struct original *original = translation->original;
    original_hostname(original, hostname);
    buffer_append_text(&translation->trace, "isolate run");
    translation->draft.tty = isatty(STDIN_FILENO);
    if (translation->draft.tty)
        buffer_append_shell_word(&translation->trace, "--tty");
    int r = option(translation, OPTION_ENGINE, "engine", original->engine, err);
    if (r == 0 && streq(original->engine, "bwrap"))
        r = like_bwrap(translation, err);
    bool is_lxc = streq(original->engine, "lxc");
    if (r == 0 && is_lxc)
        r = like_lxc(translation, err);
    if (r == 0 && *hostname)
        r = option(translation, OPTION_HOSTNAME, "hostname", hostname, err);
    if (r == 0 && original->network && !is_lxc)
        r = option(translation, OPTION_NETWORK, "network", "host", err);
    if (r == 0)
        r = translate_workdir(translation, err);
    if (r == 0 && original->x11)
        r = option(translation, OPTION_X11_TRUSTED, "x11-trusted", NULL, err);
    if (r == 0 && original->audio)
        r = option(translation, OPTION_AUDIO, "audio", NULL, err);
    for (int i = 0; r == 0 && i < original->n_binds; i++)
        r = option(translation, OPTION_BIND, "bind", original->binds[i], err);
    for (int i = 0; r == 0 && i < original->n_env; i++)
        r = translate_env(translation, original->env[i], err);
    if (r == 0)
        r = translate_ids(translation, err);
    if (r == 0)
        r = translate_hooks(translation, err);
    return r < 0 ? r : translate_root(translation, err);
}

void original_trace(struct buffer *line, char *const *command)
{
    for (; *command; command++)
        buffer_append_shell_word(line, *command);
    size_t size = line->failed ? 0 : 4 * line->length + 1;
    _cleanup_free_ char *escaped = size > 0 ? malloc(size) : NULL;
    if (!escaped)
        return;
    text_escape(escaped, size, line->data);
    (void)fprintf(stderr, "+ %s\n", escaped);
}

static void trace(struct translation *translation)
{
    if (!translation->trace_wanted)
        return;
    buffer_append_shell_word(&translation->trace, "--");
    original_trace(&translation->trace, translation->original->command);
}

void original_begin(const struct original *original)
{
    char text[PATH_MAX + 64];
    (void)snprintf(text, sizeof(text), "%s: %s%s", original->engine,
                   original->directory ? original->directory : "a clone of ",
                   original->directory ? "" : original->dataset);
    if (!original->quiet)
        original_say(text);
    if (streq(original->engine, "chroot"))
        original_warn("chroot does not isolate: the command is root of this machine");
    if (original->x11)
        original_warn("-1: the command can see and control everything on the X display");
    if (original->ignore_interrupts)
        (void)signal(SIGINT, SIG_IGN); /* nor is it forwarded */
}

int original_run(const struct original *original)
{
    int status = 125;
    struct error err = {0};
    struct translation translation = {.original = original, .trace_wanted = original->trace};
    original_warn_of_environment();
    int r = translate(&translation, &err);
    if (r == 0) {
        translation.draft.quiet = original->quiet;
        translation.draft.no_isolation = false; /* said in original_begin */
        trace(&translation);
        original_begin(original);
        status =
            run_draft_go(&translation.draft, original->command, (size_t)original->n_command);
    } else {
        log_error("%s", err.text);
    }
    buffer_clear(&translation.trace);
    run_draft_clear(&translation.draft);
    return status;
}
