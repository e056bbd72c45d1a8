/* SPDX-License-Identifier: Apache-2.0 */
/* The zfs command, and what it says. Runs in isolated as root; no shell, a fixed environment.
 */
#include "base/text.h"
#include "storage/zfs_core.h"
#include "sys/process.h"

#include <poll.h>
#include <stdarg.h>
#include <string.h>

#define OUTPUT_MAX    (16U << 20)
#define BUSY_MS       5000
#define BUSY_FIRST_MS 10

const char *zfs_parent(const struct storage *storage)
{
    return storage->name + strlen("zfs:");
}

int zfs_check_name(const char *dataset, struct error *err)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    size_t length = strlen(dataset);
    bool is_good = length > 0 && length < 160 && strchr(letters, dataset[0]) &&
                   dataset[length - 1] != '/' && !strstr(dataset, "//");
    for (const char *p = dataset; is_good && *p; p++)
        is_good = strchr(letters, *p) || strchr("0123456789-_.:/ ", *p);
    return is_good ? 0
                   : fail(err, ERROR_INVALID, EINVAL,
                          "\"%.160s\" is no name of a ZFS dataset: POOL/NAME of letters, "
                          "digits, and \"-\", \"_\", \".\", \":\", less than 160 bytes",
                          dataset);
}

void zfs_name(const struct storage *storage, char ret[static ZFS_NAME_SIZE], const char *format,
              ...)
{
    va_list arguments;
    int n = snprintf(ret, ZFS_NAME_SIZE, "%s/", zfs_parent(storage));
    va_start(arguments, format);
    (void)vsnprintf(ret + n, ZFS_NAME_SIZE - (size_t)n, format, arguments);
    va_end(arguments);
}

/* The command has one exit status for everything. */
static int errno_of(const char *complaint)
{
    static const struct {
        const char *words;
        int errnum;
    } known[] = {
        {"does not exist", ENOENT},
        {"already exists", EEXIST},
        {"is busy", EBUSY},
        {"has dependent clones", EBUSY},
        {"has children", ENOTEMPTY},
        {"out of space", ENOSPC},
        {"No space left", ENOSPC},
        {"quota exceeded", EDQUOT},
        {"is not installed", ENOENT},
        {"permission denied", EACCES},
        {"Read-only", EROFS},
        {"most recent snapshot of", ESTALE}, /* is no base of an increment */
        {"more recent snapshots", ESTALE},
        {"invalid backup stream", EBADMSG},
        {"checksum mismatch", EBADMSG},
        /* zfs-fuse says no more, and root is refused nothing else in a directory of its own */
        {"failed to create mountpoint", ENOSPC},
    };
    for (size_t i = 0; i < ELEMENTS(known); i++)
        if (strstr(complaint, known[i].words))
            return known[i].errnum;
    return EIO;
}

/* Where nobody is there to answer, libzfs says no more than that, whatever it was asked. What
 * to do, or NULL where that is not it. From libzfs_error_init() of OpenZFS 2.1 to 2.4, and
 * zfs-fuse 0.7. */
static const char *remedy_of_silence(const char *complaint)
{
    static const struct {
        const char *words;
        const char *remedy;
    } known[] = {
        {"modprobe zfs", "its module is not loaded: modprobe zfs"},
        {"udevadm trigger", "/dev/zfs is missing: udevadm trigger"},
        {"Failed to initialize the libzfs library", "see `dmesg`, and do modprobe zfs"},
        {"failed to initialize ZFS library",
         "zfs-fuse is not running: systemctl start zfs-fuse"},
    };
    for (size_t i = 0; i < ELEMENTS(known); i++)
        if (strstr(complaint, known[i].words))
            return known[i].remedy;
    return NULL;
}

static int run(const char *const *argv, int stdin_fd, struct buffer *out, struct error *err)
{
    size_t n = 0;
    struct error one = {0};
    _cleanup_buffer_ struct buffer ignored = {0};
    while (argv[n + 1])
        n++;
    const char *dataset = argv[n]; /* is last */
    const struct program_watch watch =
        stdin_fd < 0 ? zfs_watch(dataset) : zfs_watch_patiently(dataset);
    int r = zfs_check_pool(dataset, err);
    if (r < 0)
        return r;
    r = program_capture_watched(argv, OUTPUT_MAX, stdin_fd, &watch, out ? out : &ignored, &one);
    if (r == 0)
        return 0;
    if (one.code == ERROR_NOT_FOUND)
        return fail(err, ERROR_UNSUPPORTED, EOPNOTSUPP,
                    "storage zfs: the program zfs is not installed; install zfsutils-linux (or "
                    "zfs-fuse)");
    const char *remedy = remedy_of_silence(one.text);
    if (remedy)
        return fail(err, ERROR_UNSUPPORTED, ENXIO, "ZFS does not answer; %s", remedy);
    int errnum = errno_of(one.text);
    return fail(err, error_code_of_errno(errnum), errnum, "%s", one.text);
}

int zfs_run(const char *const *argv, struct buffer *out, struct error *err)
{
    return run(argv, -EBADF, out, err);
}

int zfs_run_from(const char *const *argv, int stdin_fd, struct error *err)
{
    return run(argv, stdin_fd, NULL, err);
}

static void set_text(char *to, size_t size, const char *value)
{
    (void)snprintf(to, size, "%s", streq(value, "-") ? "" : value);
}

static void take_property(struct zfs_dataset *ret, const char *property, const char *value,
                          const char *source)
{
    const char *own = text_after(property, "io.isolate:");
    if (streq(property, "type"))
        set_text(ret->type, sizeof(ret->type), value);
    else if (streq(property, "mountpoint"))
        set_text(ret->mountpoint, sizeof(ret->mountpoint), value[0] == '/' ? value : "");
    else if (streq(property, "origin"))
        set_text(ret->origin, sizeof(ret->origin), value);
    else if (streq(property, "used"))
        set_text(ret->used, sizeof(ret->used), value);
    else if (streq(property, "mounted"))
        ret->mounted = streq(value, "yes");
    else if (streq(property, "keystatus"))
        ret->locked = streq(value, "unavailable");
    if (!own || !streq(source, "local"))
        return;
    if (streq(own, "template"))
        set_text(ret->template_name, sizeof(ret->template_name), value);
    else if (streq(own, "clone"))
        set_text(ret->clone, sizeof(ret->clone), value);
    else if (streq(own, "import"))
        set_text(ret->import, sizeof(ret->import), value);
    else if (streq(own, "made"))
        ret->made = true;
}

void zfs_take(char *text, struct zfs_dataset *ret)
{
    char *rest = NULL;
    for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        char *value = strchr(line, '\t');
        char *source = value ? strchr(value + 1, '\t') : NULL;
        if (!source)
            continue;
        *value++ = '\0';
        *source++ = '\0';
        take_property(ret, line, value, source);
    }
}

int zfs_get(const char *dataset, struct zfs_dataset *ret, struct error *err)
{
    char at[sizeof(ret->mountpoint)];
    struct error one = {0};
    _cleanup_buffer_ struct buffer text = {0};
    *ret = (struct zfs_dataset){0};
    const char *const argv[] = {"zfs", "get",   "-H", "-p", "-o", "property,value,source",
                                "all", dataset, NULL};
    int r = zfs_core_get(dataset, &text, &one);
    if (r > 0)
        ret->mounted = zfs_mounted_at(dataset, at); /* not the kernel's, but the machine's */
    else if (r == 0)
        r = zfs_run(argv, &text, &one);
    if (r < 0 && err && r != -ENOENT)
        *err = one;
    if (r >= 0 && text.data)
        zfs_take(text.data, ret);
    return r < 0 && r != -ENOENT ? r : 0;
}

int zfs_explain_missing(const char *dataset, struct error *err)
{
    char pool[ZFS_NAME_SIZE];
    struct zfs_dataset of;
    (void)snprintf(pool, sizeof(pool), "%.*s", (int)strcspn(dataset, "/@"), dataset);
    int r = zfs_get(pool, &of, err);
    if (r < 0)
        return r;
    if (!*of.type)
        return fail(err, ERROR_SYSTEM, ENODEV,
                    "pool \"%s\" is not imported; see `zpool import`", pool);
    return fail(err, ERROR_SYSTEM, ENOENT,
                "dataset %s does not exist any more; see `zfs list`; what isolate knows of it "
                "goes with `isolate rm` or `isolate template rm`",
                dataset);
}

static int check_filesystem(const char *dataset, const struct zfs_dataset *of,
                            struct error *err)
{
    if (!streq(of->type, "filesystem"))
        return fail(err, ERROR_INVALID, ENOTDIR,
                    "dataset %s is a %s, not a filesystem; a system root needs a filesystem "
                    "(`zfs create` without -V)",
                    dataset, of->type);
    if (of->locked)
        return fail(err, ERROR_DENIED, ENOKEY,
                    "dataset %s is encrypted and locked; unlock it with `zfs load-key %s`",
                    dataset, dataset);
    return 0;
}

int zfs_get_filesystem(const char *dataset, struct zfs_dataset *ret, struct error *err)
{
    int r = zfs_get(dataset, ret, err);
    if (r < 0)
        return error_prefix(err, r, "dataset %s: ", dataset);
    if (*ret->type)
        return check_filesystem(dataset, ret, err);
    r = zfs_explain_missing(dataset, err);
    return r == -ENOENT ? r : error_prefix(err, r, "dataset %s: ", dataset);
}

int zfs_get_chosen(const char *dataset, struct zfs_dataset *ret, struct error *err)
{
    int r = zfs_get_filesystem(dataset, ret, err);
    if (r != -ENOENT)
        return r;
    return fail(err, ERROR_NOT_FOUND, ENOENT,
                "dataset %s does not exist; see `zfs list`, or make it with `zfs create %s`",
                dataset, dataset);
}

int zfs_again(struct error *err, const char *verb, const char *first, const char *second)
{
    struct error one = {0};
    uint64_t end = time_now_ms() + BUSY_MS;
    int wait_ms = BUSY_FIRST_MS;
    const char *const argv[] = {"zfs", verb, first, second, NULL}; /* second may be NULL */
    int r = zfs_run(argv, NULL, &one);
    while (r == -EBUSY && time_now_ms() < end) {
        /* a namespace that goes away, or zfs-fuse, lets go a moment later */
        (void)poll(NULL, 0, wait_ms);
        wait_ms = wait_ms < 200 ? wait_ms * 2 : 200;
        one = (struct error){0};
        r = zfs_run(argv, NULL, &one);
    }
    if (r < 0 && err)
        *err = one;
    return r;
}

/* All at once, or where zfs-fuse does not know how, one by one; never a dataset that somebody
 * has made inside. */
static void destroy_snapshots(const char *dataset)
{
    char all[ZFS_NAME_SIZE + 4];
    _cleanup_buffer_ struct buffer text = {0};
    (void)snprintf(all, sizeof(all), "%s@%%", dataset);
    if (zfs_is_kernel()) {
        (void)!ZFS(NULL, "destroy", all);
        return;
    }
    const char *const list[] = {"zfs",      "list", "-H", "-o", "name",  "-t",
                                "snapshot", "-r",   "-d", "1",  dataset, NULL};
    char *rest = NULL;
    int r = zfs_run(list, &text, NULL);
    for (char *name = r < 0 || !text.data ? NULL : strtok_r(text.data, "\n", &rest); name;
         name = strtok_r(NULL, "\n", &rest))
        if (strchr(name, '@'))
            (void)!ZFS(NULL, "destroy", name);
}

int zfs_destroy_now(const char *dataset)
{
    int r = ZFS(NULL, "destroy", dataset);
    if (r == -ENOTEMPTY) {
        destroy_snapshots(dataset);
        r = ZFS(NULL, "destroy", dataset);
    }
    return r == -ENOENT ? 0 : r;
}

int zfs_destroy(const char *dataset, struct error *err)
{
    struct error one = {0};
    int r = zfs_again(&one, "destroy", dataset, NULL);
    if (r == -ENOTEMPTY) {
        one = (struct error){0};
        destroy_snapshots(dataset);
        r = zfs_again(&one, "destroy", dataset, NULL);
    }
    if (r < 0 && r != -ENOENT && err)
        *err = one;
    return r == -ENOENT ? 0 : r;
}

int zfs_for_each_child(const struct storage *storage, const char *property,
                       int (*each)(void *data, const char *name, const char *value), void *data,
                       struct error *err)
{
    _cleanup_buffer_ struct buffer text = {0};
    char columns[80];
    const char *parent = zfs_parent(storage);
    (void)snprintf(columns, sizeof(columns), "name,%s", property);
    const char *const argv[] = {"zfs", "list",       "-H", "-r",    "-d",   "1",
                                "-t",  "filesystem", "-o", columns, parent, NULL};
    int r = zfs_run(argv, &text, err);
    if (r == -ENOENT)
        r = zfs_explain_missing(parent, err);
    if (r < 0)
        return error_prefix(err, r, "storage %s: ", storage->name);
    char *rest = NULL;
    for (char *line = text.data ? strtok_r(text.data, "\n", &rest) : NULL; line && r == 0;
         line = strtok_r(NULL, "\n", &rest)) {
        char *value = strchr(line, '\t');
        const char *name = text_after(line, parent);
        if (!value || !name || *name != '/')
            continue;
        *value++ = '\0';
        r = each(data, name + 1, value);
    }
    return r;
}
