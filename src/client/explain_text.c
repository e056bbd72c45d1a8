/* SPDX-License-Identifier: Apache-2.0 */
/* See explain_text.h. Runs as the caller; values may be hostile names, and are escaped. */
#include "client/explain_text.h"

#include "base/buffer.h"
#include "base/text.h"
#include "client/ctl.h"
#include "spec/base64.h"
#include "spec/cpu_list.h"

#include <inttypes.h>
#include <string.h>

#define KEY_WIDTH  15
#define LINE_WIDTH 78

/* Empty: what stands behind it belongs to the line before. */
static void print_line(const char *key, const char *value)
{
    size_t size = 4 * strlen(value) + 1;
    char *escaped = malloc(size);
    if (!escaped)
        return;
    text_escape(escaped, size, value);
    (void)printf("%-*s%s\n", KEY_WIDTH, key, escaped);
    free(escaped);
}

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

static void print_text(const json_t *plan, const char *key, const char *label)
{
    if (json_object_get(plan, key))
        print_line(label, text_of(plan, key));
}

static bool is_true(const json_t *plan, const char *key)
{
    return json_is_true(json_object_get(plan, key));
}

static void flush(struct buffer *line, const char **label)
{
    print_line(*label, line->data ? line->data : "");
    buffer_clear(line);
    *label = "";
}

/* A list in as many lines as it takes; of an engine's arguments each option begins one. */
static void print_words(const char *label, const json_t *list, bool by_option)
{
    _cleanup_buffer_ struct buffer line = {0};
    size_t index = 0;
    const json_t *item = NULL;
    bool options = by_option;
    json_array_foreach((json_t *)list, index, item)
    {
        const char *word = json_string_value(item) ? json_string_value(item) : "";
        bool full = line.length + strlen(word) + KEY_WIDTH >= LINE_WIDTH;
        if (line.length > 0 && (options ? text_after(word, "--") != NULL : full))
            flush(&line, &label);
        options = options && !streq(word, "--");
        buffer_append_shell_word(&line, word);
    }
    if (line.length > 0 || !*label)
        flush(&line, &label);
    else
        print_line(label, "none");
}

/* A list of the caller's own, which is in base64 where it is no UTF-8. */
static json_t *decoded(const json_t *plan, const char *key, const char *base64_key)
{
    size_t index = 0;
    const json_t *item = NULL;
    const json_t *base64 = json_object_get(plan, base64_key);
    json_t *list = json_array();
    if (!base64)
        (void)json_array_extend(list, json_object_get(plan, key));
    json_array_foreach((json_t *)base64, index, item)
    {
        char *text = base64_decode_text(json_string_value(item));
        (void)json_array_append_new(list, json_string_nocheck(text ? text : ""));
        free(text);
    }
    return list;
}

static void print_source(const json_t *plan)
{
    static const struct {
        const char *clone;
        const char *says;
    } clones[] = {
        {"parked", "of a sandbox that is parked, ready to be taken"},
        {"fresh", "one that is made already, in a sandbox that is built for it"},
        {"new", "made on the spot, in a sandbox that is built for it"},
        {"kept", "that of the kept sandbox"},
        {"none", "none: it runs on the directory itself, and changes persist"},
    };
    print_text(plan, "template", "template");
    print_text(plan, "generation", "generation");
    print_text(plan, "root", "root");
    print_text(plan, "storage", "storage");
    for (size_t i = 0; i < ELEMENTS(clones); i++)
        if (streq(clones[i].clone, text_of(plan, "clone")))
            print_line("clone", clones[i].says);
    print_line("after", is_true(plan, "keep")                   ? "the clone is kept"
                        : streq(text_of(plan, "clone"), "none") ? "nothing is undone"
                                                                : "the clone is destroyed");
}

/* Its configuration, a line a line. */
static void print_engine_files(const json_t *files)
{
    size_t index = 0;
    const json_t *file = NULL;
    json_array_foreach((json_t *)files, index, file)
    {
        char *content = strdup(text_of(file, "content"));
        char *at = content;
        print_line("engine file", text_of(file, "path"));
        for (char *line = strsep(&at, "\n"); line; line = strsep(&at, "\n"))
            if (*line)
                print_line("", line);
        free(content);
    }
}

static void print_engine(const json_t *plan)
{
    const json_t *argv = json_object_get(plan, "engine_argv");
    bool isolates = json_integer_value(json_object_get(plan, "ids")) > 0;
    char text[64];
    (void)snprintf(text, sizeof(text), "%.30s%s", text_of(plan, "engine"),
                   isolates ? "" : " (does not isolate)");
    print_line("engine", text);
    if (!argv)
        return;
    print_words("engine argv", argv, true);
    if (json_array_size(json_object_get(plan, "engine_env")) > 0)
        print_words("engine env", json_object_get(plan, "engine_env"), false);
    print_engine_files(json_object_get(plan, "engine_files"));
}

static void print_user(const json_t *plan)
{
    char text[512];
    const json_t *uid = json_object_get(plan, "uid");
    json_int_t ids = json_integer_value(json_object_get(plan, "ids"));
    if (ids == 0)
        print_line("ids", "the machine's own: root in there is root");
    else if (is_true(plan, "ids_shared"))
        print_line("ids", "65536, shared by all sandboxes of the template");
    else
        print_line("ids", "65536 of its own; which, is known when it has them");
    if (uid)
        (void)snprintf(text, sizeof(text), "%" PRId64 ":%" PRId64 "%s%s%s",
                       (int64_t)json_integer_value(uid),
                       (int64_t)json_integer_value(json_object_get(plan, "gid")),
                       json_object_get(plan, "passwd_entry") ? " (passwd entry " : "",
                       text_of(plan, "passwd_entry"),
                       json_object_get(plan, "passwd_entry") ? " where there is none)" : "");
    else
        (void)snprintf(text, sizeof(text),
                       "%.200s, as the sandbox's own passwd and group files say",
                       text_of(plan, "user"));
    print_line("user", text);
}

static void print_rights(const json_t *plan)
{
    bool for_root = !json_object_get(plan, "uid");
    print_words("capabilities", json_object_get(plan, "capabilities"), false);
    if (for_root)
        print_line("", "(if that is uid 0; none as anybody else)");
    json_int_t filters = json_integer_value(json_object_get(plan, "filters"));
    char text[128] = "not filtered, but for modules, kexec, swap, clocks, reboot";
    if (filters > 0)
        (void)snprintf(
            text, sizeof(text), "filter %s%s%s; no_new_privs", text_of(plan, "seccomp"),
            streq(text_of(plan, "personality"), "native") ? "" : ", 32-bit programs, too",
            is_true(plan, "no_set_id") ? ", without set-id bits (root's files are bound)" : "");
    print_line("system calls", text);
    print_words("namespaces", json_object_get(plan, "namespaces"), false);
    print_line("network", streq(text_of(plan, "network"), "none") ? "none: loopback only"
                                                                  : text_of(plan, "network"));
    print_words("published", json_object_get(plan, "publish"), false);
    if (json_array_size(json_object_get(plan, "network_argv")) > 0)
        print_words("network argv", json_object_get(plan, "network_argv"), true);
}

static bool has_option(const json_t *mount, const char *name)
{
    size_t i = 0;
    const json_t *option = NULL;
    json_array_foreach(json_object_get(mount, "options"), i, option)
    {
        if (streq(json_string_value(option), name))
            return true;
    }
    return false;
}

/* "/tmp tmpfs, nosuid, nodev". */
static void print_mounts(const json_t *mounts)
{
    size_t index = 0;
    const json_t *mount = NULL;
    json_array_foreach((json_t *)mounts, index, mount)
    {
        _cleanup_buffer_ struct buffer line = {0};
        size_t i = 0;
        const json_t *option = NULL;
        const json_t *source = json_object_get(mount, "source");
        const json_t *bytes = json_object_get(mount, "size_bytes");
        buffer_append_text(&line, text_of(mount, "target"));
        buffer_append_text(&line, source ? " is the machine's " : " ");
        buffer_append_text(&line, text_of(mount, source ? "source" : "type"));
        if (source)
            buffer_append_text(&line, has_option(mount, "ro") ? ", read-only" : ", writable");
        json_array_foreach(json_object_get(mount, "options"), i, option)
        {
            buffer_append_text(&line, ", ");
            buffer_append_text(&line, json_string_value(option));
        }
        if (bytes)
            buffer_printf(&line, ", %" PRId64 " bytes", (int64_t)json_integer_value(bytes));
        print_line(index == 0 ? "mounts" : "", line.data ? line.data : "");
    }
}

/* Whose files those of binds are for the machine. */
static void print_owner(const json_t *plan)
{
    char text[64];
    size_t index = 0;
    const json_t *mount = NULL;
    bool any = false;
    json_array_foreach(json_object_get(plan, "mounts"), index, mount)
    {
        any = any || json_object_get(mount, "source");
    }
    if (!any)
        return;
    (void)snprintf(text, sizeof(text), "uid %" PRId64 " of the machine",
                   (int64_t)json_integer_value(json_object_get(plan, "owner_uid")));
    print_line("binds are of", text);
}

static void print_command(const json_t *plan)
{
    json_t *argv = decoded(plan, "argv", "argv_base64");
    json_t *env = decoded(plan, "env", "env_base64");
    size_t index = 0;
    const json_t *item = NULL;
    if (is_true(plan, "boot"))
        print_line("command", "the template's own init");
    else if (json_array_size(argv) > 0)
        print_words("command", argv, false);
    else
        print_line("command", "the user's shell, as a login shell");
    json_array_foreach(env, index, item)
    {
        print_line(index == 0 ? "environment" : "", json_string_value(item));
    }
    print_line(json_array_size(env) == 0 ? "environment" : "",
               "(PATH, HOME, SHELL, USER, LOGNAME where not set here)");
    json_decref(argv);
    json_decref(env);
    print_line("workdir", json_object_get(plan, "workdir") ? text_of(plan, "workdir")
                                                           : "the user's home, else /");
    print_text(plan, "hostname", "hostname");
    print_text(plan, "name", "name");
    print_line("terminal", is_true(plan, "tty") ? "one of the sandbox's own"
                                                : "none: standard input and output are yours");
    if (is_true(plan, "detach"))
        print_line("detached", is_true(plan, "stdin_open")
                                   ? "output goes into a log, input waits for `isolate attach`"
                                   : "output goes into a log, there is no input");
}

/* Of what was not asked for. */
static void print_imposed(const json_t *plan)
{
    size_t index = 0;
    const json_t *item = NULL;
    json_array_foreach(json_object_get(plan, "imposed"), index, item)
    {
        char text[640];
        (void)snprintf(text, sizeof(text), "%.40s by %.512s", text_of(item, "what"),
                       text_of(item, "from"));
        print_line(index == 0 ? "set by policy" : "", text);
    }
}

static void print_time(const json_t *plan, const char *label, const char *key)
{
    char text[64];
    const json_t *ms = json_object_get(plan, key);
    if (!ms)
        return;
    (void)snprintf(text, sizeof(text), "%" PRId64 " ms, then TERM, and KILL 10 s later",
                   (int64_t)json_integer_value(ms));
    print_line(label, text);
}

static void print_limits(const json_t *plan)
{
    static const struct {
        const char *key;
        const char *unit;
    } known[] = {
        {"memory_bytes", "bytes of memory"},
        {"swap_bytes", "bytes of swap"},
        {"cpus_milli", "thousandths of a processor"},
        {"pids", "processes and threads"},
        {"disk_bytes", "bytes on disk"},
        {"io_weight", "as its share of disks that are busy"},
    };
    const char *label = "limits";
    const json_t *limits = json_object_get(plan, "limits");
    for (size_t i = 0; i < ELEMENTS(known); i++) {
        char text[64];
        const json_t *value = json_object_get(limits, known[i].key);
        if (!value)
            continue;
        (void)snprintf(text, sizeof(text), "%" PRId64 " %s", (int64_t)json_integer_value(value),
                       known[i].unit);
        print_line(label, text);
        label = "";
    }
    if (json_object_get(limits, "cpuset")) {
        char text[CPU_LIST_TEXT + 16];
        (void)snprintf(text, sizeof(text), "processors %s", text_of(limits, "cpuset"));
        print_line(label, text);
        label = "";
    }
    if (*label)
        print_line(label, "none");
    print_words("ulimits", json_object_get(plan, "ulimits"), false);
    print_time(plan, "timeout", "timeout_ms");
    print_time(plan, "CPU time", "cpu_time_ms");
}

void explain_print(const json_t *plan)
{
    print_source(plan);
    print_engine(plan);
    print_command(plan);
    print_user(plan);
    print_rights(plan);
    print_mounts(json_object_get(plan, "mounts"));
    if (json_object_get(plan, "engine_argv"))
        print_line("", "(given to the engine, which does with them what it is told above)");
    print_owner(plan);
    print_words("files", json_object_get(plan, "files"), false);
    print_words("hidden", json_object_get(plan, "hidden"), false);
    print_words("unwritable", json_object_get(plan, "read_only_paths"), false);
    print_words("hooks of yours", json_object_get(plan, "hooks"), false);
    print_limits(plan);
    print_imposed(plan);
}
