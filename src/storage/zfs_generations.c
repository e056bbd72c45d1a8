/* SPDX-License-Identifier: Apache-2.0 */
/* Generations of the ZFS driver: the snapshots of a template's dataset that are named by a
 * time. Runs in isolated as root. */
#include "base/text.h"
#include "storage/store_json.h"
#include "storage/zfs_core.h"
#include "storage/zfs_view.h"
#include "sys/fd.h"

#include <string.h>

static int compare_ids(const void *a, const void *b)
{
    return strcmp(((const struct generation *)a)->id, ((const struct generation *)b)->id);
}

static struct generation *generation_at(struct generation_list *list, const char *id)
{
    for (size_t i = 0; i < list->n; i++)
        if (streq(list->items[i].id, id))
            return &list->items[i];
    void *items = reallocarray(list->items, list->n + 1, sizeof(*list->items));
    if (!items)
        return NULL;
    list->items = items;
    struct generation *added = &list->items[list->n++];
    *added = (struct generation){.layers = 1};
    (void)snprintf(added->id, sizeof(added->id), "%.*s", GENERATION_SIZE - 1, id);
    return added;
}

/* What a snapshot is called where it has come from, else its own guid, which zfs send and
 * receive keep. zfs.get_prop has the lower half of those for negative numbers. */
static void take_identity(struct generation *generation, const char *property,
                          const char *value)
{
    static const char letters[] = "0123456789abcdefghijklmnopqrstuvwxyz-";
    if (streq(property, "guid") && !*generation->identity)
        (void)snprintf(generation->identity, sizeof(generation->identity), "zfs-%016llx",
                       strtoull(value, NULL, 10));
    else if (streq(property, "io.isolate:identity") && !streq(value, "-") &&
             strspn(value, letters) == strlen(value))
        (void)snprintf(generation->identity, sizeof(generation->identity), "%s", value);
}

/* One line of `zfs get`: dataset@GEN, property, value. io.isolate:generation is "made" or, of
 * TemplateSnapshot, "pinned"; what an administrator has made stays as if it were pinned.
 * io.isolate:created is set where it was made elsewhere. -1 in created marks one that only goes
 * with its last clone. */
static int take_line(struct generation_list *list, const char *dataset, char *line)
{
    char *property = strchr(line, '\t');
    char *value = property ? strchr(property + 1, '\t') : NULL;
    const char *id = text_after(line, dataset);
    if (!value || !id || *id != '@')
        return 0;
    *property++ = '\0';
    *value++ = '\0';
    if (!name_is_generation(++id))
        return 0;
    struct generation *generation = generation_at(list, id);
    if (!generation)
        return -ENOMEM;
    take_identity(generation, property, value);
    if ((streq(property, "creation") && generation->created == 0) ||
        (streq(property, "io.isolate:created") && generation->created >= 0 &&
         !streq(value, "-")))
        generation->created = (time_t)strtoll(value, NULL, 10);
    else if (streq(property, "referenced"))
        generation->bytes = strtoull(value, NULL, 10);
    else if (streq(property, "io.isolate:generation"))
        generation->pinned = !streq(value, "made");
    else if (streq(property, "defer_destroy") && streq(value, "on"))
        generation->created = -1;
    return 0;
}

static void drop_deferred(struct generation_list *list)
{
    size_t n = 0;
    for (size_t i = 0; i < list->n; i++)
        if (list->items[i].created >= 0)
            list->items[n++] = list->items[i];
    list->n = n;
    if (n > 0)
        qsort(list->items, n, sizeof(*list->items), compare_ids);
}

/* templates/NAME/rolled: {"to", "or", "newest"}: an older generation is the current one for as
 * long as there is no newer one than then. `or` is that until there is `to`, which is being
 * received. */
struct rolled {
    char to[GENERATION_SIZE];
    char or [GENERATION_SIZE];    /* "": none */
    char newest[GENERATION_SIZE]; /* "": the newest one is the current one */
};

static void rolled_read(const struct storage *storage, const char *name, struct rolled *ret)
{
    char path[128];
    *ret = (struct rolled){0};
    (void)snprintf(path, sizeof(path), "templates/%s/rolled", name);
    json_t *rolled = store_json_read(storage->dir_fd, path);
    const char *to = json_string_value(json_object_get(rolled, "to"));
    const char * or = json_string_value(json_object_get(rolled, "or"));
    const char *newest = json_string_value(json_object_get(rolled, "newest"));
    if (to && newest) {
        (void)snprintf(ret->to, sizeof(ret->to), "%s", to);
        (void)snprintf(ret->or, sizeof(ret->or), "%s", or ? or : "");
        (void)snprintf(ret->newest, sizeof(ret->newest), "%s", newest);
    }
    json_decref(rolled);
}

static int rolled_write(struct storage *storage, const char *name, const struct rolled *rolled,
                        struct error *err)
{
    char text[160];
    (void)snprintf(text, sizeof(text), "{\"to\": \"%s\", \"or\": \"%s\", \"newest\": \"%s\"}",
                   rolled->to, rolled->or, rolled->newest);
    return zfs_note(storage, name, "rolled", text, err);
}

static void mark_current(const struct storage *storage, const char *name,
                         struct generation_list *list)
{
    struct rolled rolled;
    if (list->n == 0)
        return;
    struct generation *current = &list->items[list->n - 1];
    rolled_read(storage, name, &rolled);
    bool is_rolled = *rolled.newest && strcmp(current->id, rolled.newest) <= 0;
    const char *const chosen[] = {rolled.or, rolled.to}; /* the last one that there is */
    for (size_t n = 0; is_rolled && n < ELEMENTS(chosen); n++)
        for (size_t i = 0; i < list->n; i++)
            if (streq(list->items[i].id, chosen[n]))
                current = &list->items[i];
    current->current = true;
}

int zfs_list_generations(struct storage *storage, const char *name, struct generation_list *ret,
                         struct error *err)
{
    char dataset[ZFS_NAME_SIZE];
    _cleanup_buffer_ struct buffer text = {0};
    _cleanup_generations_ struct generation_list list = {0};
    static const char properties[] = "creation,referenced,defer_destroy,guid,"
                                     "io.isolate:generation,io.isolate:created,"
                                     "io.isolate:identity";
    zfs_name(storage, dataset, "%s", name);
    const char *const argv[] = {
        "zfs",      "get",   "-H", "-p", "-r", "-d", "1", "-o", "name,property,value",
        properties, dataset, NULL};
    int r = zfs_core_snapshots(dataset, &text, err);
    if (r == 0)
        r = zfs_run(argv, &text, err);
    if (r == -ENOENT)
        r = zfs_explain_missing(dataset, err);
    if (r < 0)
        return error_prefix(err, r, "template \"%s\": ", name);
    r = 0;
    char *rest = NULL;
    for (char *line = text.data ? strtok_r(text.data, "\n", &rest) : NULL; line && r == 0;
         line = strtok_r(NULL, "\n", &rest))
        r = take_line(&list, dataset, line);
    if (r < 0)
        return fail(err, ERROR_SYSTEM, r, "template \"%s\": ", name);
    drop_deferred(&list);
    mark_current(storage, name, &list);
    *ret = TAKE_STRUCT(list);
    return 0;
}

int zfs_generations(struct storage *storage, const char *name, struct generation_list *ret,
                    struct error *err)
{
    int r = zfs_template_need(storage, name, err);
    return r < 0 ? r : zfs_list_generations(storage, name, ret, err);
}

int zfs_fail_without_snapshot(const struct storage *storage, const char *name,
                              struct error *err)
{
    return fail(err, ERROR_NOT_FOUND, ENOENT,
                "template \"%s\": the dataset %s/%s has no snapshot that is named by a time; "
                "make one: zfs snapshot \"%s/%s@$(date -u +%%Y%%m%%dT%%H%%M%%SZ)\"",
                name, zfs_parent(storage), name, zfs_parent(storage), name);
}

int zfs_resolve(struct storage *storage, const char *name, const char *generation,
                struct store_generation *ret, struct error *err)
{
    _cleanup_generations_ struct generation_list list = {0};
    int r = zfs_generations(storage, name, &list, err);
    if (r < 0)
        return r;
    *ret = (struct store_generation){.stack = {.n = 1}};
    for (size_t i = 0; i < list.n; i++) {
        const struct generation *item = &list.items[i];
        if (generation ? streq(item->id, generation) : item->current) {
            ret->generation = *item;
            return 0;
        }
    }
    if (!generation)
        return zfs_fail_without_snapshot(storage, name, err);
    return generation_unknown(name, generation, err);
}

/* The time that a generation is named by. */
static time_t time_of(const char *generation)
{
    struct tm utc = {0};
    return strptime(generation, "%Y%m%dT%H%M%SZ", &utc) ? timegm(&utc) : 0;
}

/* The latest name that the template has had, as far as that matters. */
static int newest_name(struct storage *storage, const char *name,
                       char ret[static GENERATION_SIZE], struct error *err)
{
    _cleanup_generations_ struct generation_list list = {0};
    struct rolled rolled;
    int r = zfs_generations(storage, name, &list, err);
    if (r < 0)
        return r;
    rolled_read(storage, name, &rolled); /* that one may be gone already */
    const char *newest = list.n > 0 ? list.items[list.n - 1].id : "";
    (void)snprintf(ret, GENERATION_SIZE, "%s",
                   strcmp(rolled.newest, newest) > 0 ? rolled.newest : newest);
    return 0;
}

int zfs_generation_expect(struct storage *storage, const char *name, const char *generation,
                          const char *before, struct error *err)
{
    struct rolled rolled = {0};
    int r = newest_name(storage, name, rolled.newest, err);
    if (r < 0 || strcmp(generation, rolled.newest) > 0)
        return r;
    (void)snprintf(rolled.to, sizeof(rolled.to), "%s", generation);
    (void)snprintf(rolled.or, sizeof(rolled.or), "%s", before);
    return rolled_write(storage, name, &rolled, err);
}

/* Names are told apart by their order alone. One of a clock that was wrong, or of another
 * machine's, may lie in the future: the next one is a second later. */
int zfs_generation_name(struct storage *storage, const char *name,
                        char ret[static GENERATION_SIZE], struct error *err)
{
    char newest[GENERATION_SIZE];
    int r = newest_name(storage, name, newest, err);
    if (r < 0)
        return r;
    time_t now = time(NULL);
    time_t least = *newest ? time_of(newest) + 1 : 0;
    generation_name(now > least ? now : least, 0, ret);
    return strcmp(ret, newest) > 0 ? 0
                                   : fail(err, ERROR_INVALID, ERANGE,
                                          "template \"%s\": no generation can be newer than "
                                          "%s; remove that snapshot",
                                          name, newest);
}

/* What isolate writes on a snapshot: NAME=VALUE; how many. */
#define PROPERTIES_MAX 3
static size_t properties_of(const struct generation_about *about, char ret[PROPERTIES_MAX][96])
{
    size_t n = 0;
    (void)snprintf(ret[n++], 96, "io.isolate:generation=%s",
                   about && about->pinned ? "pinned" : "made");
    if (about && about->created > 0)
        (void)snprintf(ret[n++], 96, "io.isolate:created=%lld", (long long)about->created);
    if (about && about->identity)
        (void)snprintf(ret[n++], 96, "io.isolate:identity=%.47s", about->identity);
    return n;
}

int zfs_generation_mark(const char *snapshot, const struct generation_about *about,
                        struct error *err)
{
    char properties[PROPERTIES_MAX][96];
    int r = 0;
    for (size_t i = 0; r == 0 && i < properties_of(about, properties); i++)
        r = ZFS(err, "set", properties[i], snapshot);
    return r;
}

int zfs_generation_take(struct storage *storage, const char *name, const char *generation,
                        const struct generation_about *about, struct error *err)
{
    char snapshot[ZFS_NAME_SIZE];
    char properties[PROPERTIES_MAX][96];
    const char *argv[2 + 2 * PROPERTIES_MAX + 2] = {"zfs", "snapshot"};
    size_t n = 2;
    for (size_t i = 0; i < properties_of(about, properties); i++) {
        argv[n++] = "-o";
        argv[n++] = properties[i];
    }
    zfs_name(storage, snapshot, "%s@%s", name, generation);
    argv[n] = snapshot;
    int r = zfs_run(argv, NULL, err);
    return r < 0 ? error_prefix(err, r, "template \"%s\": ", name) : 0;
}

int zfs_generation_make(struct storage *storage, const char *name, bool pinned,
                        char ret_generation[static GENERATION_SIZE], struct error *err)
{
    const struct generation_about about = {.pinned = pinned};
    int r = zfs_generation_name(storage, name, ret_generation, err);
    return r < 0 ? r : zfs_generation_take(storage, name, ret_generation, &about, err);
}

int zfs_snapshot(struct storage *storage, const char *name,
                 char ret_generation[static GENERATION_SIZE], struct error *err)
{
    char dataset[ZFS_NAME_SIZE];
    struct zfs_dataset of;
    _cleanup_close_ int lock = zfs_change_lock(storage, true, err);
    int r = lock < 0 ? lock : zfs_template_need(storage, name, err);
    if (r < 0)
        return r;
    zfs_name(storage, dataset, "%s", name);
    r = zfs_get_filesystem(dataset, &of, err);
    if (r < 0)
        return error_prefix(err, r, "template \"%s\": ", name);
    r = zfs_template_settle(storage, name, err);
    return r < 0 ? r : zfs_generation_make(storage, name, true, ret_generation, err);
}

int zfs_note(struct storage *storage, const char *name, const char *file, const char *text,
             struct error *err)
{
    char path[128];
    (void)snprintf(path, sizeof(path), "templates/%s", name);
    _cleanup_close_ int dir = dir_make_at(storage->dir_fd, path, 0700);
    int r = dir < 0 ? dir : file_replace_at(dir, file, text, strlen(text), true);
    return r < 0 ? fail(err, error_code_of_errno(-r), r, "template \"%s\": write %s: ", name,
                        file)
                 : 0;
}

struct rolling {
    struct storage *storage;
    const char *name;
    struct rolled rolled;
};

static int note_rolled(void *data, struct error *err)
{
    const struct rolling *rolling = data;
    return rolled_write(rolling->storage, rolling->name, &rolling->rolled, err);
}

/* The dataset itself goes back, too, so that the next snapshot of it is what is expected. */
int zfs_rollback(struct storage *storage, const char *name, const char *generation,
                 struct error *err)
{
    struct store_generation found;
    _cleanup_generations_ struct generation_list list = {0};
    _cleanup_close_ int mount = -EBADF;
    _cleanup_close_ int lock = zfs_change_lock(storage, true, err);
    int r = lock < 0 ? lock : zfs_resolve(storage, name, generation, &found, err);
    if (r == 0)
        r = zfs_generations(storage, name, &list, err);
    if (r == 0)
        r = zfs_mount_view(storage, name, generation, &mount, err);
    if (r < 0)
        return r;
    struct rolling rolling = {.storage = storage, .name = name};
    (void)snprintf(rolling.rolled.to, GENERATION_SIZE, "%s", found.generation.id);
    (void)snprintf(rolling.rolled.newest, GENERATION_SIZE, "%s", list.items[list.n - 1].id);
    return zfs_template_become(storage, name, mount, note_rolled, &rolling, err);
}
