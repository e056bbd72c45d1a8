/* SPDX-License-Identifier: Apache-2.0 */
/* isolate-ctl: what `isolate` executes for all that it does not do itself: most verbs, and runs
 * that need more than a request. Runs as the caller. */
#include "base/log.h"
#include "base/text.h"
#include "client/ctl.h"
#include "client/doctor.h"
#include "client/generate.h"
#include "paths.h"

#include <string.h>

static int version(int argc, char **argv)
{
    (void)printf("isolate %s\n", ISOLATE_VERSION);
    return 0;
}

static const struct {
    const char *name;
    int (*main)(int argc, char **argv);
    bool with_name; /* argv[0] is the verb */
} handlers[] = {
    {"run", ctl_run, true},
    {"shell", ctl_run, true},
    {"start", ctl_start, false},
    {"attach", ctl_attach, false},
    {"cp", ctl_cp, false},
    {"kill", ctl_kill, false},
    {"logs", ctl_logs, false},
    {"stats", ctl_stats, false},
    {"stop", ctl_stop, false},
    {"wait", ctl_wait, false},
    {"engines", ctl_engines, false},
    {"policy", ctl_policy, false},
    {"pool", ctl_pool, false},
    {"pool set", ctl_pool_set, false},
    {"pool refresh", ctl_pool_refresh, false},
    {"pool drain", ctl_pool_drain, false},
    {"ps", ctl_ps, false},
    {"inspect", ctl_inspect, false},
    {"diff", ctl_diff, false},
    {"commit", ctl_commit, false},
    {"rm", ctl_rm, false},
    {"prune", ctl_prune, false},
    {"storage ls", ctl_storage_ls, false},
    {"storage forget", ctl_storage_forget, false},
    {"template create", ctl_template_create, false},
    {"template ls", ctl_template_ls, false},
    {"template inspect", ctl_template_inspect, false},
    {"template update", ctl_template_update, false},
    {"template snapshot", ctl_template_snapshot, false},
    {"template rollback", ctl_template_rollback, false},
    {"template export", ctl_template_export, false},
    {"template send", ctl_template_send, false},
    {"template receive", ctl_template_receive, false},
    {"template rm", ctl_template_rm, false},
    {"doctor", doctor_main, true},
    {"completion", completion_main, false},
    {"version", version, false},
    {"help", ctl_help, false},
};

int ctl_help(int argc, char **argv)
{
    const struct verb *verb = NULL;
    if (argc == 0 || streq(argv[0], "--help") || streq(argv[0], "-h")) {
        options_help_all();
        return 0;
    }
    if (verb_find(argc, argv, &verb) > 0) {
        options_help(verb);
        return 0;
    }
    const struct verb_group *group = verb_group_named(argv[0]);
    if (group) {
        for (verb = verbs; verb->name; verb++)
            if (verb_name_in(group, verb))
                (void)printf("  isolate %-18s %s\n", verb->name, verb->help);
        return 0;
    }
    log_error("help: no verb \"%s\"; see `isolate help`", argv[0]);
    return 125;
}

/* Names that a verb may be given, one a line. */
static const struct completion {
    const char *what;
    const char *method;
    const char *list; /* in its reply */
    const char *only; /* a member that must be true, or NULL */
} completions[] = {
    {"templates", "TemplateList", "templates", NULL},
    {"sandboxes", "List", "sandboxes", NULL},
    {"storages", "StorageList", "storages", "elsewhere"},
};

static void print_names(const struct completion *completion)
{
    struct error err;
    json_t *reply = NULL;
    struct ctl_call call = {
        .method = completion->method,
        .parameters = json_pack("{s:b}", "all", 1),
        .fd = -EBADF,
    };
    size_t index = 0;
    const json_t *item = NULL;
    if (ctl_ask(&call, &reply, &err) < 0)
        return;
    json_array_foreach(json_object_get(reply, completion->list), index, item)
    {
        if (completion->only && !json_is_true(json_object_get(item, completion->only)))
            continue;
        const char *name = json_string_value(json_object_get(item, "name"));
        const char *id = json_string_value(json_object_get(item, "id"));
        (void)printf("%s\n", name && *name ? name : id ? id : "");
    }
    json_decref(reply);
}

int ctl_complete(int argc, char **argv)
{
    for (size_t i = 0; argc > 0 && i < ELEMENTS(completions); i++)
        if (streq(argv[0], completions[i].what))
            print_names(&completions[i]);
    return 0;
}

/* The first word of a verb of two, and what is no second one. */
static int group_main(const struct verb_group *group, int argc, char **argv)
{
    if (argc >= 2 && (streq(argv[1], "--help") || streq(argv[1], "-h")))
        return ctl_help(1, argv);
    log_error("%s: %s%s%s; see `isolate help %s`", group->name,
              argc >= 2 ? "unknown verb \"" : "a verb is missing", argc >= 2 ? argv[1] : "",
              argc >= 2 ? "\"" : "", group->name);
    return 125;
}

static int dispatch(int argc, char **argv)
{
    const struct verb *verb = NULL;
    if (argc >= 2 && streq(argv[1], "__complete"))
        return ctl_complete(argc - 2, argv + 2);
    if (argc >= 2 && (streq(argv[1], "-r") || streq(argv[1], "-f") || streq(argv[1], "-s")))
        return ctl_original(argc - 1, argv + 1);
    if (argc >= 2 && argv[1][0] == '-')
        return ctl_user(argc, argv);
    int words = argc >= 2 ? verb_find(argc - 1, argv + 1, &verb) : 0;
    for (size_t i = 0; words > 0 && i < ELEMENTS(handlers); i++) {
        int skip = 1 + words - (handlers[i].with_name ? 1 : 0);
        if (streq(handlers[i].name, verb->name))
            return handlers[i].main(argc - skip, argv + skip);
    }
    if (argc >= 2 && verb_group_named(argv[1]))
        return group_main(verb_group_named(argv[1]), argc - 1, argv + 1);
    log_error("isolate-ctl is executed by isolate; call that");
    return 125;
}

/* What a verb has printed counts when it is out. */
int main(int argc, char **argv)
{
    int status = dispatch(argc, argv);
    if (fflush(stdout) == 0 && !ferror(stdout))
        return status;
    log_error("standard output: %s", strerror(errno));
    return 125;
}
