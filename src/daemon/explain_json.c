/* SPDX-License-Identifier: Apache-2.0 */
/* See explain.h. Everything is read off the plan that a run would hand over, and off the tables
 * that its parts work by. */
#include "daemon/confine.h"
#include "daemon/explain.h"

#include "base/text.h"
#include "daemon/limits.h"
#include "daemon/network.h"
#include "engine/native_clone.h"
#include "spec/base64.h"
#include "sys/caps.h"
#include "sys/filter.h"
#include "sys/hidden.h"
#include "sys/own_mounts.h"
#include "sys/userns.h"

#include <linux/sched.h>
#include <string.h>

#define GIVEN        (MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV) /* to what is not sandboxes' own */
#define GIVEN_DEVICE (MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC)

static void set(json_t *object, const char *key, json_t *take_value)
{
    (void)json_object_set_new(object, key, take_value);
}

static void set_text(json_t *object, const char *key, const char *text)
{
    if (text && *text)
        set(object, key, json_string(text));
}

/* As in a request: key_base64 where one of them is no UTF-8. */
static void set_list(json_t *object, const char *key, const char *const *items, uint32_t n)
{
    char name[32];
    bool plain = true;
    json_t *list = json_array();
    for (uint32_t i = 0; i < n; i++)
        plain = plain && text_is_utf8(items[i], strlen(items[i]));
    for (uint32_t i = 0; i < n; i++) {
        _cleanup_buffer_ struct buffer base64 = {0};
        if (!plain)
            base64_encode(&base64, items[i], strlen(items[i]));
        (void)json_array_append_new(list, json_string(plain         ? items[i]
                                                      : base64.data ? base64.data
                                                                    : ""));
    }
    (void)snprintf(name, sizeof(name), "%s%s", key, plain ? "" : "_base64");
    set(object, name, list);
}

static void add_texts(json_t *list, const char *const *texts)
{
    for (size_t i = 0; texts[i]; i++)
        (void)json_array_append_new(list, json_string(texts[i]));
}

static void add_source(json_t *object, const struct explained *explained)
{
    static const char *const clones[] = {
        [EXPLAIN_PARKED] = "parked", [EXPLAIN_FRESH] = "fresh", [EXPLAIN_NEW] = "new",
        [EXPLAIN_KEPT] = "kept",     [EXPLAIN_NONE] = "none",
    };
    const struct record *record = &explained->sandbox->body.record;
    set_text(object, "template", record->template_name);
    set_text(object, "generation", record->generation);
    set_text(object, "root", record->root);
    set_text(object, "storage", record->storage);
    set_text(object, "clone", clones[explained->clone]);
}

static void add_user(json_t *object, const struct explained *explained)
{
    const struct sandbox *sandbox = explained->sandbox;
    const struct start *start = &explained->told->start;
    bool isolates = sandbox->body.engine->capabilities & ENGINE_ISOLATES;
    set(object, "ids", json_integer(isolates ? USERNS_RANGE : 0));
    if (explained->shares_ids)
        set(object, "ids_shared", json_true());
    set_text(object, "user", sandbox->request.user);
    set_text(object, "passwd_entry", start->flags & START_PASSWD_ENTRY ? start->user : NULL);
    set(object, "owner_uid", json_integer(sandbox->owner.uid));
    if (explained->asks_user)
        return;
    set(object, "uid", json_integer(start->uid));
    set(object, "gid", json_integer(start->gid));
    json_t *groups = json_array();
    for (uint32_t i = 0; i < start->n_groups; i++)
        (void)json_array_append_new(groups, json_integer(start->groups[i]));
    set(object, "groups", groups);
}

static json_t *capability_names(uint64_t mask)
{
    json_t *list = json_array();
    for (unsigned i = 0; i < 64; i++)
        if ((mask & CAP_BIT(i)) && caps_name(i))
            (void)json_array_append_new(list, json_string(caps_name(i)));
    return list;
}

static void add_rights(json_t *object, const struct explained *explained)
{
    const struct start *start = &explained->told->start;
    bool confined = !(start->flags & START_UNCONFINED);
    bool root = explained->asks_user || start->uid == 0;
    const struct run_seccomp *seccomp = &explained->sandbox->request.seccomp;
    set(object, "capabilities",
        capability_names(!confined ? caps_all() & confine_left()
                         : root    ? start->capabilities
                                   : 0));
    set(object, "no_new_privs", json_boolean(confined));
    set(object, "filters",
        json_integer(
            confined ? filter_count(explained->filter_flags) + (seccomp->program ? 1 : 0) : 0));
    set(object, "personality", json_string(seccomp->abi_32bit ? SECCOMP_32BIT : "native"));
    if (confined)
        set(object, "seccomp", json_string(seccomp_name(seccomp->kind)));
    if (seccomp->source)
        set(object, "seccomp_source", json_string(seccomp->source));
    set(object, "no_set_id",
        json_boolean(confined && (explained->filter_flags & FILTER_NO_SET_ID)));
}

static void add_namespaces(json_t *object, const struct body *body)
{
    static const struct {
        uint64_t flag;
        const char *name;
    } known[] = {
        {CLONE_NEWUSER, "user"},     {CLONE_NEWNS, "mount"}, {CLONE_NEWPID, "pid"},
        {CLONE_NEWNET, "net"},       {CLONE_NEWUTS, "uts"},  {CLONE_NEWIPC, "ipc"},
        {CLONE_NEWCGROUP, "cgroup"},
    };
    bool host_ids = !(body->engine->capabilities & ENGINE_ISOLATES);
    uint64_t flags = native_namespaces(body->host_network, host_ids);
    json_t *list = json_array();
    for (size_t i = 0; i < ELEMENTS(known); i++)
        if (flags & known[i].flag)
            (void)json_array_append_new(list, json_string(known[i].name));
    set(object, "namespaces", list);
}

static void add_network(json_t *object, const struct sandbox *sandbox)
{
    const struct network *network = &sandbox->request.network;
    _cleanup_buffer_ struct buffer mode = {0};
    json_t *ports = json_array();
    if (sandbox->body.host_network) /* also of an engine that has no other */
        buffer_append_text(&mode, "host");
    else
        network_print_mode(network, &mode);
    for (uint32_t i = 0; i < network->n_ports; i++) {
        _cleanup_buffer_ struct buffer port = {0};
        network_print_port(&network->ports[i], &port);
        (void)json_array_append_new(ports, json_string(port.data));
    }
    set(object, "network", json_string(mode.data));
    set(object, "publish", ports);
    _cleanup_buffer_ struct buffer arguments = {0};
    network_arguments(network, &arguments);
    json_t *argv = json_array();
    for (size_t at = 0; at < arguments.length; at += strlen(arguments.data + at) + 1)
        (void)json_array_append_new(argv, json_string(arguments.data + at));
    set(object, "network_argv", argv);
}

/* One mount; the object is the list's. */
static json_t *add_mount(json_t *list, const char *target, const char *type,
                         uint64_t attributes)
{
    static const struct {
        uint64_t attribute;
        const char *name;
    } known[] = {
        {MOUNT_ATTR_RDONLY, "ro"},
        {MOUNT_ATTR_NOSUID, "nosuid"},
        {MOUNT_ATTR_NODEV, "nodev"},
        {MOUNT_ATTR_NOEXEC, "noexec"},
    };
    json_t *mount = json_pack("{s:s, s:s}", "target", target, "type", type);
    json_t *options = json_array();
    for (size_t i = 0; i < ELEMENTS(known); i++)
        if (attributes & known[i].attribute)
            (void)json_array_append_new(options, json_string(known[i].name));
    set(mount, "options", options);
    (void)json_array_append_new(list, mount);
    return mount;
}

static void add_own_mounts(json_t *list, bool host_network)
{
    for (int i = 0; i < _OWN_MOUNTS; i++) {
        char target[32];
        const struct own_mount_info *info = &own_mounts[i];
        (void)snprintf(target, sizeof(target), "/%s", info->name);
        if (i != OWN_SYS || !host_network) {
            (void)add_mount(list, target, info->type, info->attributes);
            continue;
        }
        json_t *mount = add_mount(list, target, "bind", OWN_MOUNT_HARDENED | MOUNT_ATTR_RDONLY);
        set(mount, "source", json_string(target));
    }
}

static void add_tmpfs(json_t *list, const struct start_tmpfs *tmpfs)
{
    json_t *mount = add_mount(list, tmpfs->target, "tmpfs", GIVEN);
    if (tmpfs->size_bytes)
        set(mount, "size_bytes", json_integer((json_int_t)tmpfs->size_bytes));
}

static void add_bind(json_t *list, const struct start_bind *planned,
                     const struct run_bind *bind)
{
    uint64_t attributes =
        bind->device ? GIVEN_DEVICE : GIVEN | (planned->read_only ? MOUNT_ATTR_RDONLY : 0);
    json_t *mount =
        add_mount(list, planned->target, bind->device ? "device" : "bind", attributes);
    set(mount, "source", json_string(bind->source));
    if (bind->recursive)
        (void)json_array_append_new(json_object_get(mount, "options"), json_string("rbind"));
}

/* As init does: what is nearer to the root first. How many there are of that depth. */
static uint32_t add_given_mounts(json_t *list, const struct sandbox *sandbox,
                                 const struct start *start, unsigned depth)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < start->n_binds; i++)
        if (start_depth(start->binds[i].target) == depth) {
            add_bind(list, &start->binds[i], &sandbox->request.binds[i]);
            n++;
        }
    for (uint32_t i = 0; i < start->n_tmpfs; i++)
        if (start_depth(start->tmpfs[i].target) == depth) {
            add_tmpfs(list, &start->tmpfs[i]);
            n++;
        }
    return n;
}

static void add_mounts(json_t *object, const struct explained *explained)
{
    const struct sandbox *sandbox = explained->sandbox;
    const struct start *start = &explained->told->start;
    json_t *list = json_array();
    (void)add_mount(list, "/", "root",
                    GIVEN | (start->flags & START_READ_ONLY ? MOUNT_ATTR_RDONLY : 0));
    add_own_mounts(list, sandbox->body.host_network);
    uint32_t left = start->n_binds + start->n_tmpfs;
    for (unsigned depth = 1; left > 0; depth++)
        left -= add_given_mounts(list, sandbox, start, depth);
    set(object, "mounts", list);
}

/* What the host provides, and what of proc and sysfs is hidden or cannot be written. */
static void add_paths(json_t *object, const struct explained *explained)
{
    size_t index = 0;
    const json_t *item = NULL;
    json_t *files = json_array();
    json_t *hidden = json_array();
    json_t *read_only = json_array();
    json_array_foreach(explained->sandbox->plan->provided, index, item)
    {
        (void)json_array_append(files, json_object_get(item, "path"));
    }
    add_texts(hidden, hidden_in_proc);
    add_texts(hidden, hidden_in_sys);
    add_texts(read_only, read_only_in_proc);
    set(object, "files", files);
    set(object, "hidden", hidden);
    set(object, "read_only_paths", read_only);
}

static void add_command(json_t *object, const struct explained *explained)
{
    char umask[16];
    const struct start *start = &explained->told->start;
    const struct run_request *request = &explained->sandbox->request;
    if (start->n_argv > 0)
        set_list(object, "argv", start->argv, start->n_argv);
    set(object, "boot", json_boolean(start->flags & START_BOOT));
    set_list(object, "env", start->env, start->n_env);
    set_text(object, "workdir", start->workdir);
    set_text(object, "hostname", start->hostname);
    set_text(object, "name", request->name);
    (void)snprintf(umask, sizeof(umask), "%04o", start->umask);
    set_text(object, "umask", umask);
    set(object, "tty", json_boolean(start->flags & START_TTY));
    set(object, "detach", json_boolean(start->flags & START_DETACHED));
    set(object, "stdin_open", json_boolean(start->flags & START_STDIN_OPEN));
    set(object, "keep", json_boolean(explained->sandbox->body.kept));
    json_t *hooks = json_array();
    if (request->pre_hook)
        (void)json_array_append_new(hooks, json_string("pre-hook"));
    if (request->post_hook)
        (void)json_array_append_new(hooks, json_string("post-hook"));
    set(object, "hooks", hooks);
    if (start->timeout_ms)
        set(object, "timeout_ms", json_integer((json_int_t)start->timeout_ms));
    if (start->cpu_time_ms)
        set(object, "cpu_time_ms", json_integer((json_int_t)start->cpu_time_ms));
    json_t *ulimits = json_array();
    for (uint32_t i = 0; i < start->ulimits.n; i++) {
        char text[RLIMIT_TEXT_MAX];
        rlimit_print(&start->ulimits.items[i], text);
        (void)json_array_append_new(ulimits, json_string(text));
    }
    set(object, "ulimits", ulimits);
    json_t *limits = limits_wanted_to_json(&request->limits);
    if (limits)
        set(object, "limits", limits);
}

/* What nobody has asked for. */
static void add_imposed(json_t *object, const struct sandbox *sandbox)
{
    const char *what = NULL;
    json_t *from = NULL;
    json_t *list = json_array();
    json_object_foreach(sandbox->imposed, what, from)
    {
        (void)json_array_append_new(list, json_pack("{s:s, s:O}", "what", what, "from", from));
    }
    set(object, "imposed", list);
}

/* What a foreign one is told. */
static void add_engine(json_t *object, const struct start_engine *engine)
{
    if (engine->n_argv == 0)
        return;
    json_t *files = json_array();
    set_list(object, "engine_argv", engine->argv, engine->n_argv);
    set_list(object, "engine_env", engine->env, engine->n_env);
    for (uint32_t i = 0; i < engine->n_files; i++)
        (void)json_array_append_new(files,
                                    json_pack("{s:s, s:s}", "path", engine->files[i].path,
                                              "content", engine->files[i].content));
    set(object, "engine_files", files);
}

json_t *explained_to_json(const struct explained *explained)
{
    json_t *object = json_object();
    add_source(object, explained);
    set_text(object, "engine", explained->sandbox->body.engine->name);
    add_engine(object, &explained->told->start.engine);
    add_user(object, explained);
    add_rights(object, explained);
    add_namespaces(object, &explained->sandbox->body);
    add_network(object, explained->sandbox);
    add_mounts(object, explained);
    add_paths(object, explained);
    add_command(object, explained);
    add_imposed(object, explained->sandbox);
    return object;
}
