/* SPDX-License-Identifier: Apache-2.0 */
/* Verbs on sandboxes that run: kill, stop, wait, logs, stats. Run as the caller. */
#include "base/log.h"
#include "base/parse.h"
#include "base/text.h"
#include "client/connect.h"
#include "client/ctl.h"
#include "spec/log_ring.h"
#include "spec/message.h"
#include "sys/fd.h"
#include "sys/process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <strings.h>

#define LOOK_MS 100 /* between two looks at a log that is followed */

int ctl_signal_number(const char *text, struct error *err)
{
    static const struct {
        const char *name;
        int number;
    } names[] = {
        {"HUP", SIGHUP},   {"INT", SIGINT},     {"QUIT", SIGQUIT}, {"KILL", SIGKILL},
        {"USR1", SIGUSR1}, {"USR2", SIGUSR2},   {"TERM", SIGTERM}, {"CONT", SIGCONT},
        {"STOP", SIGSTOP}, {"TSTP", SIGTSTP},   {"ABRT", SIGABRT}, {"ALRM", SIGALRM},
        {"PIPE", SIGPIPE}, {"WINCH", SIGWINCH},
    };
    const char *name = strncasecmp(text, "SIG", 3) == 0 ? text + 3 : text;
    uint32_t number = 0;
    for (size_t i = 0; i < ELEMENTS(names); i++)
        if (strcasecmp(name, names[i].name) == 0)
            return names[i].number;
    if (parse_u32(text, 1, 64, &number, "--signal", NULL) == 0)
        return (int)number;
    return fail(
        err, ERROR_INVALID, EINVAL,
        "--signal \"%.40s\": not a signal; a name such as TERM, or a number from 1 to 64",
        text);
}

int ctl_kill(int argc, char **argv)
{
    struct error err = {0};
    _cleanup_ctl_verb_ struct ctl_verb verb = {0};
    if (!ctl_verb_begin(&verb, "kill", argc, argv))
        return verb.status;
    int number = verb.options.signal ? ctl_signal_number(verb.options.signal, &err) : SIGTERM;
    if (number < 0)
        return ctl_failed(&err);
    /* one that fails does not keep the others */
    for (int i = 0; i < verb.n_operands; i++)
        (void)!ctl_verb_ask(
            &verb, "Kill", json_pack("{s:s, s:i}", "name", verb.operands[i], "signal", number));
    return verb.status;
}

/* The status that the reply of Run or Wait stands for, as the client of a run exits with. */
static int status_of(const json_t *reply)
{
    const json_t *end = json_object_get(reply, "exit");
    const char *kind = json_string_value(json_object_get(end, "kind"));
    int known = kind ? exit_kind_named(kind) : 0;
    const char *detail = known == EXIT_KIND_SIGNALED ? "signal" : "code";
    return known == 0
               ? 123
               : exit_status_of(known, (int)json_integer_value(json_object_get(end, detail)));
}

int ctl_wait(int argc, char **argv)
{
    _cleanup_ctl_verb_ struct ctl_verb verb = {0};
    if (!ctl_verb_begin(&verb, "wait", argc, argv))
        return verb.status;
    for (int i = 0; i < verb.n_operands; i++) {
        if (!ctl_verb_ask(&verb, "Wait", json_pack("{s:s}", "name", verb.operands[i])))
            continue;
        (void)printf("%d\n", status_of(verb.reply));
        (void)fflush(stdout);
    }
    return verb.status;
}

int ctl_wait_begin(struct varlink *varlink, const char *name)
{
    json_t *wait =
        json_pack("{s:s, s:{s:s}}", "method", "io.isolate.Wait", "parameters", "name", name);
    char *text = wait ? json_dumps(wait, JSON_COMPACT) : NULL;
    json_decref(wait);
    int r = text ? varlink_send(varlink, text, strlen(text), NULL, 0) : -EINVAL;
    free(text);
    return r;
}

int ctl_wait_end(struct varlink *varlink)
{
    const char *text = NULL;
    if (varlink_receive(varlink, true, &text) != 1)
        return 123;
    json_t *reply = json_loads(text, 0, NULL);
    int status = status_of(json_object_get(reply, "parameters"));
    json_decref(reply);
    return status;
}

/* TERM; true where it has ended in time, or is not there. */
static bool stop_gently(const char *name, uint32_t seconds, struct error *err)
{
    json_t *reply = NULL;
    struct varlink varlink = {.fd = -EBADF};
    const struct ctl_call term = {
        .method = "Kill",
        .parameters = json_pack("{s:s, s:i}", "name", name, "signal", SIGTERM),
        .fd = -EBADF,
    };
    int r = client_connect(&varlink, err);
    if (r == 0)
        r = ctl_call(&varlink, &term, &reply, err);
    const char *id = r == 0 ? json_string_value(json_object_get(reply, "id")) : NULL;
    struct pollfd end = {.fd = varlink.fd, .events = POLLIN};
    bool ended = r == 0 && ctl_wait_begin(&varlink, id ? id : name) == 0 &&
                 poll(&end, 1, (int)seconds * 1000) == 1;
    json_decref(reply);
    varlink_clear(&varlink);
    return ended || r < 0;
}

/* One that has ended meanwhile is no failure, but may be on its way out. */
static int stop_now(const char *name, struct error *err)
{
    json_t *reply = NULL;
    json_t *end = NULL;
    struct error ignored = {0};
    const struct ctl_call kill = {
        .method = "Kill",
        .parameters = json_pack("{s:s, s:i}", "name", name, "signal", SIGKILL),
        .fd = -EBADF,
    };
    int r = ctl_ask(&kill, &reply, err);
    if (r < 0 && err->code != ERROR_NOT_FOUND)
        return r;
    const char *id = json_string_value(json_object_get(reply, "id"));
    const struct ctl_call wait = {.method = "Wait",
                                  .parameters = json_pack("{s:s}", "name", id ? id : name),
                                  .fd = -EBADF};
    (void)!ctl_ask(&wait, &end, &ignored);
    json_decref(end);
    json_decref(reply);
    return 0;
}

int ctl_stop(int argc, char **argv)
{
    uint32_t seconds = 10;
    struct error err = {0};
    _cleanup_ctl_verb_ struct ctl_verb verb = {0};
    if (!ctl_verb_begin(&verb, "stop", argc, argv))
        return verb.status;
    if (verb.options.seconds &&
        parse_u32(verb.options.seconds, 0, 86400, &seconds, "--time", &err) < 0)
        return ctl_failed(&err);
    for (int i = 0; i < verb.n_operands; i++) {
        err = (struct error){0};
        bool ended = stop_gently(verb.operands[i], seconds, &err);
        if (ended ? err.code != ERROR_NONE : stop_now(verb.operands[i], &err) < 0)
            verb.status = ctl_failed(&err);
    }
    return verb.status;
}

/* Writes what is new in the log: 1 while there may be more, 0 at its end. */
int ctl_print_log(int log_fd, uint64_t *position)
{
    char data[LOG_FRAME_MAX];
    for (;;) {
        unsigned stream = 0;
        int n = log_ring_read(log_fd, position, &stream, data);
        if (n <= 0)
            return n == 0;
        if (fd_write_all(stream == 2 ? 2 : 1, data, (size_t)n) < 0)
            return 0;
    }
}

int ctl_logs(int argc, char **argv)
{
    struct error err = {0};
    uint64_t position = 0;
    json_t *reply = NULL;
    struct varlink varlink = {.fd = -EBADF};
    _cleanup_ctl_verb_ struct ctl_verb verb = {0};
    if (!ctl_verb_begin(&verb, "logs", argc, argv))
        return verb.status;
    const struct ctl_call call = {
        .method = "Logs",
        .parameters = json_pack("{s:s}", "name", verb.operands[0]),
        .fd = -EBADF,
    };
    int r = client_connect(&varlink, &err);
    if (r == 0)
        r = ctl_call(&varlink, &call, &reply, &err);
    json_decref(reply);
    if (r == 0 && varlink.fds.n != 1)
        r = fail(&err, ERROR_PROTOCOL, EPROTO, "logs: isolated sent no log");
    while (r == 0 && ctl_print_log(varlink.fds.fds[0], &position) && verb.options.follow)
        (void)poll(NULL, 0, LOOK_MS);
    varlink_clear(&varlink);
    return r < 0 ? ctl_failed(&err) : 0;
}

static bool is_called(const json_t *item, const char *text)
{
    const char *id = json_string_value(json_object_get(item, "id"));
    const char *name = json_string_value(json_object_get(item, "name"));
    return (id && streq(text, id)) || (name && streq(text, name));
}

static bool is_wanted(const struct ctl_verb *verb, const json_t *item)
{
    for (int i = 0; i < verb->n_operands; i++)
        if (is_called(item, verb->operands[i]))
            return true;
    return verb->n_operands == 0;
}

static void complain_of_missing(struct ctl_verb *verb, const json_t *found)
{
    for (int i = 0; i < verb->n_operands; i++) {
        size_t n = 0;
        struct error err = {0};
        while (n < json_array_size(found) &&
               !is_called(json_array_get(found, n), verb->operands[i]))
            n++;
        if (n < json_array_size(found))
            continue;
        (void)fail(&err, ERROR_NOT_FOUND, ENOENT,
                   "\"%.128s\": no such sandbox runs; see `isolate ps`", verb->operands[i]);
        verb->status = ctl_failed(&err);
    }
}

static void stats_row(struct ctl_table *table, const json_t *item)
{
    char cpu[32];
    char memory[16] = "-";
    char processes[16];
    const json_t *stats = json_object_get(item, "stats");
    const char *name = json_string_value(json_object_get(item, "name"));
    (void)snprintf(cpu, sizeof(cpu), "%.2f s",
                   (double)json_integer_value(json_object_get(stats, "cpu_us")) / 1e6);
    if (json_object_get(stats, "memory_bytes"))
        ctl_format_size(memory, sizeof(memory),
                        (uint64_t)json_integer_value(json_object_get(stats, "memory_bytes")));
    (void)snprintf(processes, sizeof(processes), "%lld",
                   (long long)json_integer_value(json_object_get(stats, "processes")));
    const char *cells[] = {json_string_value(json_object_get(item, "id")),
                           name && *name ? name : "-", cpu, memory, processes};
    ctl_table_row(table, cells);
}

int ctl_stats(int argc, char **argv)
{
    static const struct ctl_column columns[] = {
        {"ID", false}, {"NAME", false}, {"CPU", true}, {"MEMORY", true}, {"PROCESSES", true}};
    _cleanup_ctl_verb_ struct ctl_verb verb = {0};
    if (!ctl_verb_begin(&verb, "stats", argc, argv) ||
        !ctl_verb_ask(&verb, "List", json_pack("{s:b}", "stats", 1)))
        return verb.status;
    size_t index = 0;
    json_t *item = NULL;
    json_t *wanted = json_array();
    json_array_foreach((json_t *)ctl_verb_reply(&verb, "sandboxes"), index, item)
    {
        if (is_wanted(&verb, item))
            (void)json_array_append(wanted, item);
    }
    if (verb.n_operands == 0 || json_array_size(wanted) > 0)
        ctl_print_list(wanted, verb.options.json, columns, ELEMENTS(columns), stats_row);
    complain_of_missing(&verb, wanted);
    json_decref(wanted);
    return verb.status;
}
