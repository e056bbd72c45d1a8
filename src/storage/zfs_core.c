/* SPDX-License-Identifier: Apache-2.0 */
/* Calls of libzfs_core; see zfs_core.h. Nothing of OpenZFS is needed to build this: what is
 * used of its two libraries is declared here. From include/libzfs_core.h and
 * include/sys/nvpair.h of the releases 2.1.11, 2.3.4 and 2.4.4, which agree in it: the library
 * is libzfs_core.so.3 (2.0 to 2.4), all functions return 0 or a positive errno, an nvlist_t is
 * opaque; memory is left to the end of the fork. Programs are zfs-program(8).
 *
 * Runs in isolated as root, each call in a fork. What it prints comes from the kernel. */
#include "storage/zfs_core.h"

#include "base/log.h"
#include "base/text.h"
#include "sys/fd.h"
#include "sys/process.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>

#define LIBRARY        "libzfs_core.so.3"
#define NV_UNIQUE_NAME 1          /* nvlist_alloc */
#define PROGRAM_STEPS  10000000   /* the kernel's default for channel programs */
#define PROGRAM_BYTES  (10 << 20) /* the same */
#define OUTPUT_MAX     (16U << 20)
#define OUT_FD         3
enum { CANMOUNT_NOAUTO = 2 }; /* zfs_canmount_type_t */

struct nvlist;

struct core {
    int (*init)(void);
    int (*clone)(const char *dataset, const char *origin, struct nvlist *properties);
    int (*program)(const char *pool, const char *program, uint64_t steps, uint64_t bytes,
                   struct nvlist *arguments, struct nvlist **ret);
    int (*program_nosync)(const char *pool, const char *program, uint64_t steps, uint64_t bytes,
                          struct nvlist *arguments, struct nvlist **ret);
    int (*list_alloc)(struct nvlist **ret, unsigned flags, int kmflag);
    int (*add_string)(struct nvlist *list, const char *name, const char *value);
    int (*add_uint64)(struct nvlist *list, const char *name, uint64_t value);
    int (*add_list)(struct nvlist *list, const char *name, struct nvlist *value);
    int (*find_string)(struct nvlist *list, const char *name, char **ret);
};

static const char program_get[] =
    "local name = (...)['name']\n"
    "if not zfs.exists(name) then return '' end\n"
    "local out = {}\n"
    "for _, p in ipairs({'type', 'mountpoint', 'origin', 'used', 'keystatus',\n"
    "    'io.isolate:template', 'io.isolate:clone', 'io.isolate:import', 'io.isolate:made'}) "
    "do\n"
    "  local value, source = zfs.get_prop(name, p)\n"
    "  if value ~= nil then\n"
    "    if source == name then source = 'local' end\n"
    "    out[#out + 1] = p .. '\\t' .. value .. '\\t' .. (source or '-') .. '\\n'\n"
    "  end\n"
    "end\n"
    "return table.concat(out)\n";

static const char program_snapshots[] =
    "local out = {}\n"
    "for s in zfs.list.snapshots((...)['name']) do\n"
    "  for _, p in ipairs({'creation', 'referenced', 'defer_destroy', 'guid',\n"
    "    'io.isolate:generation', 'io.isolate:created', 'io.isolate:identity'}) do\n"
    "    local value = zfs.get_prop(s, p)\n"
    "    if value == nil then value = '-' end\n"
    "    out[#out + 1] = s .. '\\t' .. p .. '\\t' .. value .. '\\n'\n"
    "  end\n"
    "end\n"
    "return table.concat(out)\n";

/* Without a transaction. */
static const char program_exists[] = "for name in pairs((...)['names']) do\n"
                                     "  if zfs.exists(name) then return 'yes' end\n"
                                     "end\n"
                                     "return 'no'\n";

/* Whether it is ours is asked in the transaction that destroys it; and where it was mounted,
 * though it may not be now. */
static const char program_destroy[] =
    "local out = {}\n"
    "for name, mark in pairs((...)['names']) do\n"
    "  local gone, at = not zfs.exists(name), '-'\n"
    "  if not gone then\n"
    "    local value, source = zfs.get_prop(name, 'io.isolate:clone')\n"
    "    if value == mark and source == name then\n"
    "      at = zfs.get_prop(name, 'mountpoint') or '-'\n"
    "      gone = zfs.sync.destroy(name) == 0\n"
    "    end\n"
    "  end\n"
    "  if gone then out[#out + 1] = name .. '\\t' .. at .. '\\n' end\n"
    "end\n"
    "return table.concat(out)\n";

/* ---- loading ---- */

/* /dev/zfs is that of the kernel's module, not of zfs-fuse or something else. */
static bool is_openzfs(void)
{
    struct stat st;
    unsigned major_number = 0;
    unsigned minor_number = 0;
    _cleanup_buffer_ struct buffer text = {0};
    if (file_read_at(AT_FDCWD, "/sys/class/misc/zfs/dev", 32, &text) < 0 || !text.data ||
        lstat("/dev/zfs", &st) < 0 || !S_ISCHR(st.st_mode))
        return false;
    char *end = NULL;
    major_number = (unsigned)strtoul(text.data, &end, 10);
    minor_number = *end == ':' ? (unsigned)strtoul(end + 1, NULL, 10) : 0;
    return st.st_rdev == makedev(major_number, minor_number) && zfs_is_kernel();
}

/* Where a library has not what is expected, that is said once. */
static bool load(struct core *ret)
{
    static bool is_strange;
    const struct {
        const char *name;
        void *function;
    } wanted[] = {
        {"libzfs_core_init", &ret->init},
        {"lzc_clone", &ret->clone},
        {"lzc_channel_program", &ret->program},
        {"lzc_channel_program_nosync", &ret->program_nosync},
        {"nvlist_alloc", &ret->list_alloc},
        {"nvlist_add_string", &ret->add_string},
        {"nvlist_add_uint64", &ret->add_uint64},
        {"nvlist_add_nvlist", &ret->add_list},
        {"nvlist_lookup_string", &ret->find_string},
    };
    if (is_strange || !is_openzfs())
        return false;
    void *library = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL); /* stays */
    for (size_t i = 0; library && i < ELEMENTS(wanted); i++) {
        void *found = dlsym(library, wanted[i].name); /* in what it needs, too */
        memcpy(wanted[i].function, &found, sizeof(found));
        if (!found) {
            log_warning("%s has no %s: ZFS is driven by its command", LIBRARY, wanted[i].name);
            is_strange = true;
            return false;
        }
    }
    return library != NULL;
}

/* ---- in the fork ---- */

struct call {
    struct core core;
    int (*make)(struct call *call); /* 0 or a positive errno */
    const char *dataset;            /* it, or one of them */
    const char *from;               /* of a clone */
    const char *mark;
    const char *program;
    struct zfs_doomed *doomed;
    size_t n;
};

static void pool_of(const char *dataset, char ret[static ZFS_NAME_SIZE])
{
    (void)snprintf(ret, ZFS_NAME_SIZE, "%.*s", (int)strcspn(dataset, "/@"), dataset);
}

/* Runs a program on a dataset's pool; *ret is what it returns. */
static int run_program(const struct call *call, const char *program, struct nvlist *arguments,
                       char **ret)
{
    char pool[ZFS_NAME_SIZE];
    struct nvlist *result = NULL;
    const struct core *core = &call->core;
    bool changes = program == program_destroy;
    pool_of(call->dataset, pool);
    int r = (changes ? core->program : core->program_nosync)(pool, program, PROGRAM_STEPS,
                                                             PROGRAM_BYTES, arguments, &result);
    return r != 0 ? r : result ? core->find_string(result, "return", ret) : EPROTO;
}

static int print(const char *text)
{
    return -fd_write_all(OUT_FD, text, strlen(text));
}

static int make_question(struct call *call)
{
    char *text = NULL;
    struct nvlist *arguments = NULL;
    int r = call->core.list_alloc(&arguments, NV_UNIQUE_NAME, 0);
    if (r == 0)
        r = call->core.add_string(arguments, "name", call->dataset);
    if (r == 0)
        r = run_program(call, call->program, arguments, &text);
    return r != 0 ? r : print(text);
}

static int make_clone(struct call *call)
{
    const struct core *core = &call->core;
    struct nvlist *list = NULL;
    int r = core->list_alloc(&list, NV_UNIQUE_NAME, 0);
    if (r == 0)
        r = core->add_uint64(list, "canmount", CANMOUNT_NOAUTO);
    if (r == 0)
        r = core->add_uint64(list, "setuid", 0);
    if (r == 0)
        r = core->add_uint64(list, "devices", 0);
    if (r == 0)
        r = core->add_string(list, "io.isolate:clone", call->mark);
    if (r == 0)
        r = core->clone(call->dataset, call->from, list);
    return r != 0 ? r : make_question(call);
}

static int list_doomed(const struct call *call, struct nvlist **ret)
{
    struct nvlist *names = NULL;
    int r = call->core.list_alloc(&names, NV_UNIQUE_NAME, 0);
    if (r == 0)
        r = call->core.list_alloc(ret, NV_UNIQUE_NAME, 0);
    for (size_t i = 0; i < call->n && r == 0; i++)
        r = call->core.add_string(names, call->doomed[i].dataset, call->doomed[i].mark);
    return r != 0 ? r : call->core.add_list(*ret, "names", names);
}

/* The directories that destroyed datasets were mounted on. */
static void remove_mountpoints(const char *text)
{
    char path[ZFS_PATH_SIZE];
    for (const char *line = text; *line; line += strcspn(line, "\n") + 1) {
        const char *at = line + strcspn(line, "\t") + 1;
        (void)snprintf(path, sizeof(path), "%.*s", (int)strcspn(at, "\n"), at);
        if (*path == '/')
            (void)rmdir(path); /* only an empty one */
    }
}

/* A visible mount makes a dataset busy. */
static int make_destroy(struct call *call)
{
    char *text = NULL;
    struct nvlist *arguments = NULL;
    int r = list_doomed(call, &arguments);
    if (r == 0)
        r = run_program(call, program_exists, arguments, &text);
    bool is_any = r == 0 && streq(text, "yes");
    for (size_t i = 0; i < call->n && is_any; i++)
        if (*call->doomed[i].mountpoint)
            (void)umount2(call->doomed[i].mountpoint, UMOUNT_NOFOLLOW);
    for (size_t i = 0; i < call->n && r == 0 && !is_any; i++)
        r = print(call->doomed[i].dataset) != 0 || print("\t-\n") != 0;
    if (is_any)
        r = run_program(call, program_destroy, arguments, &text);
    if (r != 0 || !is_any)
        return r;
    remove_mountpoints(text);
    return print(text);
}

/* Nothing but the result and what says so if something is printed. */
static _Noreturn void child(struct call *call, int out)
{
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    int none = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (none < 0 || dup2(none, 0) < 0 || dup2(none, 1) < 0 || dup2(none, 2) < 0 ||
        dup2(out, OUT_FD) < 0 || close_from(OUT_FD + 1) < 0 || call->core.init() != 0)
        _exit(1);
    _exit(call->make(call) != 0);
}

/* ---- calls ---- */

/* Names as the driver makes them, below a pool; one of a snapshot where that is asked for. */
static bool is_good_name(const char *name, bool snapshot)
{
    static const char in_snapshots[] = "abcdefghijklmnopqrstuvwxyz0123456789TZ-";
    char dataset[ZFS_NAME_SIZE];
    size_t length = strcspn(name, "@");
    const char *id = name + length + (name[length] == '@');
    (void)snprintf(dataset, sizeof(dataset), "%.*s", (int)length, name);
    return length < sizeof(dataset) && strchr(dataset, '/') &&
           zfs_check_name(dataset, NULL) == 0 && (name[length] == '@') == snapshot &&
           (!snapshot || (*id && !id[strspn(id, in_snapshots)]));
}

/* 1: done, with what it has printed. */
static int run(struct call *call, struct buffer *ret, struct error *err)
{
    int status = 0;
    int pidfd = -EBADF;
    int r = zfs_check_pool(call->dataset, err);
    if (r < 0 || !load(&call->core))
        return r;
    _cleanup_close_ int out = memfd_create("zfs", MFD_CLOEXEC);
    pid_t pid = out < 0 ? -1 : process_clone(0, -EBADF, &pidfd);
    if (pid == 0)
        child(call, out);
    if (pid < 0)
        return 0;
    fd_close(pidfd);
    const struct program_watch watch = zfs_watch(call->dataset);
    r = program_wait_watched(pid, &watch, &status, err);
    if (r < 0)
        return r;
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        return 0;
    return lseek(out, 0, SEEK_SET) == 0 && fd_read_all(out, OUTPUT_MAX, ret) == 0;
}

static int ask(const char *dataset, const char *program, struct buffer *ret, struct error *err)
{
    struct call call = {.make = make_question, .dataset = dataset, .program = program};
    return is_good_name(dataset, false) ? run(&call, ret, err) : 0;
}

int zfs_core_get(const char *dataset, struct buffer *ret, struct error *err)
{
    return ask(dataset, program_get, ret, err);
}

int zfs_core_snapshots(const char *dataset, struct buffer *ret, struct error *err)
{
    return ask(dataset, program_snapshots, ret, err);
}

int zfs_core_clone(const char *from, const char *dataset, const char *mark, struct buffer *ret,
                   struct error *err)
{
    struct call call = {.make = make_clone,
                        .dataset = dataset,
                        .from = from,
                        .mark = mark,
                        .program = program_get};
    return is_good_name(from, true) && is_good_name(dataset, false) ? run(&call, ret, err) : 0;
}

int zfs_core_destroy(struct zfs_doomed *doomed, size_t n, struct error *err)
{
    _cleanup_buffer_ struct buffer text = {0};
    struct call call = {.make = make_destroy, .doomed = doomed, .n = n};
    for (size_t i = 0; i < n; i++) {
        doomed[i].gone = false;
        if (!is_good_name(doomed[i].dataset, false) || !*doomed[i].mark)
            return 0;
    }
    call.dataset = n > 0 ? doomed[0].dataset : NULL;
    int r = n > 0 ? run(&call, &text, err) : 0;
    char *rest = NULL;
    for (char *name = r > 0 && text.data ? strtok_r(text.data, "\n", &rest) : NULL; name;
         name = strtok_r(NULL, "\n", &rest)) {
        name[strcspn(name, "\t")] = '\0';
        for (size_t i = 0; i < n; i++)
            if (streq(doomed[i].dataset, name))
                doomed[i].gone = true;
    }
    return r;
}
