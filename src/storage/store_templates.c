/* SPDX-License-Identifier: Apache-2.0 */
/* Templates of stores: generations as lists of layers. Runs in isolated as root;
 * only names and isolate's own files are read here, never the content of a layer. */
#include "base/text.h"
#include "storage/store.h"
#include "storage/store_json.h"
#include "storage/store_publish.h"
#include "sys/fd.h"
#include "sys/tree.h"

#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

int store_make(struct storage *storage, struct error *err)
{
    static const char *const directories[] = {"templates", "layers", "clones", "trash",
                                              "imports"};
    int r = dirs_make_at(storage->dir_fd, directories, ELEMENTS(directories), 0700);
    return r < 0
               ? fail(err, ERROR_SYSTEM, r, "storage %s: make its directories: ", storage->name)
               : 0;
}

static int lock_file(struct storage *storage, const char *name, int operation,
                     struct error *err)
{
    _cleanup_close_ int fd =
        openat(storage->dir_fd, name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0 || flock(fd, operation) < 0)
        return fail(err, ERROR_SYSTEM, errno, "storage %s: lock: ", storage->name);
    return TAKE_FD(fd);
}

int store_lock(struct storage *storage, bool exclusive, struct error *err)
{
    return lock_file(storage, "lock", exclusive ? LOCK_EX : LOCK_SH, err);
}

int store_lock_named(struct storage *storage, const char *name, bool wait, struct error *err)
{
    return lock_file(storage, name, wait ? LOCK_EX : LOCK_EX | LOCK_NB, err);
}

/* O_PATH fd of templates/NAME, -ENOENT with a message where there is none. */
static int template_open(struct storage *storage, const char *name, struct error *err)
{
    char path[128];
    (void)snprintf(path, sizeof(path), "templates/%s", name);
    int fd = openat(storage->dir_fd, path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT)
        return fail(
            err, ERROR_NOT_FOUND, ENOENT,
            "template \"%s\": there is none; see `isolate template ls`, or make it with "
            "`isolate template create %s --from debian`",
            name, name);
    return fd < 0 ? fail(err, ERROR_SYSTEM, errno, "template \"%s\": ", name) : fd;
}

static int current_read(int template_fd, char ret[static GENERATION_SIZE])
{
    _cleanup_buffer_ struct buffer text = {0};
    int r = file_read_at(template_fd, "current", 64, &text);
    if (r < 0)
        return r;
    if (!text.data || !name_is_generation(text.data))
        return -EINVAL;
    (void)snprintf(ret, GENERATION_SIZE, "%s", text.data);
    return 0;
}

static uint64_t layer_bytes(struct storage *storage, const char *id)
{
    char path[80];
    (void)snprintf(path, sizeof(path), "layers/%s", id);
    _cleanup_close_ int fd = dir_open_at(storage->dir_fd, path);
    json_t *value = fd < 0 ? NULL : store_json_read(fd, "layer.json");
    json_int_t bytes = json_integer_value(json_object_get(value, "bytes"));
    json_decref(value);
    return bytes > 0 ? (uint64_t)bytes : 0;
}

static int generation_parse(struct storage *storage, int generations_fd, const char *id,
                            struct generation *ret, struct layer_stack *ret_stack)
{
    json_t *value = store_json_read(generations_fd, id);
    if (!value)
        return -EIO;
    int r = layer_stack_from_json(json_object_get(value, "layers"), ret_stack);
    *ret = (struct generation){
        .created = (time_t)json_integer_value(json_object_get(value, "created")),
        .pinned = json_is_true(json_object_get(value, "pinned")),
        .layers = (uint32_t)ret_stack->n,
    };
    const char *identity = json_string_value(json_object_get(value, "identity"));
    if (r == 0)
        (void)snprintf(ret->identity, sizeof(ret->identity), "%s",
                       identity ? identity : ret_stack->items[ret_stack->n - 1].id);
    (void)snprintf(ret->id, sizeof(ret->id), "%s", id);
    json_decref(value);
    for (size_t i = 0; r == 0 && i < ret_stack->n; i++)
        ret->bytes += layer_bytes(storage, ret_stack->items[i].id);
    return r;
}

static int generations_open(struct storage *storage, const char *template_name,
                            int *ret_template, struct error *err)
{
    _cleanup_close_ int template_fd = template_open(storage, template_name, err);
    if (template_fd < 0)
        return template_fd;
    int fd = dir_open_at(template_fd, "generations");
    if (fd < 0)
        return fail(err, ERROR_SYSTEM, fd, "template \"%s\": generations: ", template_name);
    *ret_template = TAKE_FD(template_fd);
    return fd;
}

int store_generation_read(struct storage *storage, const char *template_name, const char *id,
                          struct generation *ret, struct layer_stack *ret_stack,
                          struct error *err)
{
    _cleanup_close_ int template_fd = -EBADF;
    _cleanup_close_ int dir = generations_open(storage, template_name, &template_fd, err);
    if (dir < 0)
        return dir;
    char current[GENERATION_SIZE] = "";
    int r = current_read(template_fd, current);
    if (!id && r < 0)
        return fail(err, ERROR_SYSTEM, r,
                    "template \"%s\": its current generation: ", template_name);
    id = id ? id : current;
    int exists = name_is_generation(id) ? file_exists_at(dir, id) : 0;
    if (exists == 0)
        return generation_unknown(template_name, id, err);
    r = exists < 0 ? exists : generation_parse(storage, dir, id, ret, ret_stack);
    if (r < 0)
        return fail(err, ERROR_SYSTEM, r,
                    "template \"%s\": generation %s is damaged: ", template_name, id);
    ret->current = streq(id, current);
    return 0;
}

static int store_generation_write(struct storage *storage, const struct template_info *info,
                                  const char *id, const struct layer_stack *stack,
                                  const struct generation_about *about, struct error *err)
{
    char path[128];
    time_t created = about && about->created ? about->created : time(NULL);
    const char *identity = about && about->identity[0] ? about->identity : NULL;
    (void)snprintf(path, sizeof(path), "templates/%s", info->name);
    _cleanup_close_ int template_fd = dir_make_at(storage->dir_fd, path, 0700);
    _cleanup_close_ int dir =
        template_fd < 0 ? template_fd : dir_make_at(template_fd, "generations", 0700);
    int r = dir < 0 ? dir : 0;
    if (r == 0)
        r = file_exists_at(template_fd, "template.json");
    if (r == 0)
        r = store_template_write(template_fd, info);
    if (r >= 0)
        r = store_json_write(dir, id,
                             json_pack("{s:I, s:b, s:o, s:s*}", "created", (json_int_t)created,
                                       "pinned", about && about->pinned, "layers",
                                       layer_stack_to_json(stack), "identity", identity));
    return r < 0 ? fail(err, ERROR_SYSTEM, r,
                        "template \"%s\": write generation %s: ", info->name, id)
                 : 0;
}

static int store_current_write(struct storage *storage, const char *template_name,
                               const char *id, struct error *err)
{
    _cleanup_close_ int template_fd = template_open(storage, template_name, err);
    if (template_fd < 0)
        return template_fd;
    int r = file_replace_at(template_fd, "current", id, strlen(id), true);
    return r < 0 ? fail(err, ERROR_SYSTEM, r,
                        "template \"%s\": make %s current: ", template_name, id)
                 : 0;
}

/* The first serial number that a generation of this second may have: behind that of the current
 * one, so that no name means another state than it did a moment ago. */
static unsigned first_serial(struct storage *storage, const char *template_name, time_t now)
{
    char stamp[GENERATION_SIZE];
    char current[GENERATION_SIZE];
    _cleanup_close_ int template_fd = template_open(storage, template_name, NULL);
    generation_name(now, 0, stamp);
    if (template_fd < 0 || current_read(template_fd, current) < 0)
        return 0;
    const char *rest = text_after(current, stamp);
    return !rest ? 0 : *rest == '-' ? (unsigned)strtoul(rest + 1, NULL, 10) + 1 : 1;
}

int store_generation_new(struct storage *storage, const char *template_name,
                         char ret[static GENERATION_SIZE], struct error *err)
{
    time_t now = time(NULL);
    for (unsigned serial = first_serial(storage, template_name, now); serial < 10000;
         serial++) {
        char path[160];
        generation_name(now, serial, ret);
        (void)snprintf(path, sizeof(path), "templates/%s/generations/%s", template_name, ret);
        int exists = file_exists_at(storage->dir_fd, path);
        if (exists <= 0)
            return exists == 0 ? 0 : fail(err, ERROR_SYSTEM, exists, "%s: ", path);
    }
    return fail(err, ERROR_BUSY, EEXIST, "template \"%s\": too many generations in one second",
                template_name);
}

static int unlink_if_there(int dir_fd, const char *name)
{
    return unlinkat(dir_fd, name, 0) < 0 && errno != ENOENT ? -errno : 0;
}

/* The file `publishing` names the generation that was on its way: unless it became current,
 * nobody was told of it. Without `current` it is no template but what is left of one. */
int store_publish_settle(struct storage *storage, const char *template_name)
{
    char path[160];
    char current[GENERATION_SIZE] = "";
    _cleanup_buffer_ struct buffer id = {0};
    (void)snprintf(path, sizeof(path), "templates/%s", template_name);
    _cleanup_close_ int template_fd = dir_open_at(storage->dir_fd, path);
    int r = template_fd < 0 ? template_fd : current_read(template_fd, current);
    if (template_fd >= 0 && r == -ENOENT)
        return tree_remove(storage->dir_fd, path);
    if (r == 0)
        r = file_read_at(template_fd, "publishing", 64, &id);
    if (r < 0)
        return r == -ENOENT ? 0 : r;
    if (id.data && name_is_generation(id.data) && !streq(id.data, current)) {
        (void)snprintf(path, sizeof(path), "generations/%s", id.data);
        r = unlink_if_there(template_fd, path);
    }
    return r < 0 ? r : unlink_if_there(template_fd, "publishing");
}

int store_generation_publish(struct storage *storage, const struct template_info *info,
                             const char *id, const struct layer_stack *stack,
                             const struct generation_about *about, struct error *err)
{
    char path[128];
    (void)snprintf(path, sizeof(path), "templates/%s", info->name);
    int r = store_publish_settle(storage, info->name);
    _cleanup_close_ int template_fd = r < 0 ? r : dir_make_at(storage->dir_fd, path, 0700);
    r = template_fd < 0 ? template_fd
                        : file_replace_at(template_fd, "publishing", id, strlen(id), true);
    if (r < 0)
        r = fail(err, ERROR_SYSTEM, r, "template \"%s\": publish %s: ", info->name, id);
    else
        r = store_generation_write(storage, info, id, stack, about, err);
    if (r == 0)
        r = store_current_write(storage, info->name, id, err);
    /* on failure this takes everything back */
    int settled = store_publish_settle(storage, info->name);
    if (r == 0 && settled < 0)
        return fail(err, ERROR_SYSTEM, settled, "template \"%s\": publish %s: ", info->name,
                    id);
    return r;
}

int store_is_published(struct storage *storage, const char *template_name,
                       const char *generation)
{
    char path[160];
    int r = store_publish_settle(storage, template_name);
    (void)snprintf(path, sizeof(path), "templates/%s/generations/%s", template_name,
                   generation);
    return r < 0 ? r : file_exists_at(storage->dir_fd, path);
}

int store_template_write(int template_fd, const struct template_info *info)
{
    return store_json_write(
        template_fd, "template.json",
        json_pack("{s:s, s:O*}", "source", info->source, "defaults", info->defaults));
}

int store_defaults(struct storage *storage, const char *name, json_t **ret, struct error *err)
{
    char path[128];
    (void)snprintf(path, sizeof(path), "templates/%.63s/template.json", name);
    json_t *value = store_json_read(storage->dir_fd, path);
    if (!value)
        return fail(err, ERROR_SYSTEM, EIO, "template \"%s\": template.json cannot be read",
                    name);
    *ret = json_incref(json_object_get(value, "defaults"));
    json_decref(value);
    return 0;
}

static int compare_generations(const void *a, const void *b)
{
    return strcmp(((const struct generation *)a)->id, ((const struct generation *)b)->id);
}

int store_generations(struct storage *storage, const char *template_name,
                      struct generation_list *ret, struct error *err)
{
    _cleanup_close_ int template_fd = -EBADF;
    int dir_fd = generations_open(storage, template_name, &template_fd, err);
    if (dir_fd < 0)
        return dir_fd;
    _cleanup_closedir_ DIR *dir = dir_stream(dir_fd);
    if (!dir)
        return fail(err, ERROR_SYSTEM, errno, "template \"%s\": ", template_name);
    _cleanup_generations_ struct generation_list list = {0};
    char current[GENERATION_SIZE] = "";
    (void)!current_read(template_fd, current);
    struct dirent *entry = NULL;
    int r = dir_next(dir, &entry);
    for (; r > 0; r = dir_next(dir, &entry)) {
        struct layer_stack stack;
        if (!name_is_generation(entry->d_name))
            continue;
        struct generation *items = realloc(list.items, (list.n + 1) * sizeof(*items));
        if (!items)
            return fail(err, ERROR_SYSTEM, ENOMEM, "template \"%s\": ", template_name);
        list.items = items;
        if (generation_parse(storage, dir_fd, entry->d_name, &items[list.n], &stack) < 0)
            continue;
        items[list.n].current = streq(entry->d_name, current);
        list.n++;
    }
    if (r < 0)
        return fail(err, ERROR_SYSTEM, r, "template \"%s\": ", template_name);
    if (list.n > 0)
        qsort(list.items, list.n, sizeof(*list.items), compare_generations);
    *ret = TAKE_STRUCT(list);
    return 0;
}

static int compare_templates(const void *a, const void *b)
{
    return strcmp(((const struct template_info *)a)->name,
                  ((const struct template_info *)b)->name);
}

int store_find(struct storage *storage, const char *template_name, struct template_info *ret,
               struct error *err)
{
    char path[128];
    (void)snprintf(path, sizeof(path), "templates/%.63s/current", template_name);
    int exists = file_exists_at(storage->dir_fd, path);
    if (exists < 0)
        return fail(err, ERROR_SYSTEM, exists, "template \"%s\": ", template_name);
    if (exists == 0)
        return 0;
    (void)snprintf(path, sizeof(path), "templates/%.63s/template.json", template_name);
    json_t *value = store_json_read(storage->dir_fd, path);
    const char *source = json_string_value(json_object_get(value, "source"));
    (void)snprintf(ret->name, sizeof(ret->name), "%.63s", template_name);
    (void)snprintf(ret->source, sizeof(ret->source), "%s", source ? source : "");
    json_decref(value);
    return 1;
}

int store_list_templates(struct storage *storage,
                         int (*find)(struct storage *storage, const char *name,
                                     struct template_info *ret, struct error *err),
                         struct template_list *ret, struct error *err)
{
    _cleanup_closedir_ DIR *dir = dir_stream(dir_open_at(storage->dir_fd, "templates"));
    _cleanup_templates_ struct template_list list = {0};
    if (!dir)
        return fail(err, ERROR_SYSTEM, errno, "storage %s: templates: ", storage->name);
    struct dirent *entry = NULL;
    int r = dir_next(dir, &entry);
    for (; r > 0; r = dir_next(dir, &entry)) {
        struct template_info info = {0};
        if (name_check_template(entry->d_name, NULL) < 0 ||
            find(storage, entry->d_name, &info, NULL) <= 0)
            continue; /* being made, or not ours */
        struct template_info *items = realloc(list.items, (list.n + 1) * sizeof(*items));
        if (!items)
            return fail(err, ERROR_SYSTEM, ENOMEM, "storage %s: templates: ", storage->name);
        list.items = items;
        list.items[list.n++] = info;
    }
    if (r < 0)
        return fail(err, ERROR_SYSTEM, r, "storage %s: templates: ", storage->name);
    if (list.n > 0)
        qsort(list.items, list.n, sizeof(*list.items), compare_templates);
    *ret = TAKE_STRUCT(list);
    return 0;
}

int store_templates(struct storage *storage, struct template_list *ret, struct error *err)
{
    return store_list_templates(storage, store_find, ret, err);
}

int store_resolve(struct storage *storage, const char *template_name, const char *id,
                  struct store_generation *ret, struct error *err)
{
    const struct store_ops *ops = storage->driver->store;
    return ops->resolve ? ops->resolve(storage, template_name, id, ret, err)
                        : store_generation_read(storage, template_name, id, &ret->generation,
                                                &ret->stack, err);
}

int store_generation_take(struct storage *storage, const char *template_name, const char *id,
                          bool exclusive, struct store_generation *ret, struct error *err)
{
    _cleanup_close_ int lock = store_lock(storage, exclusive, err);
    int r = lock < 0 ? lock
                     : store_generation_read(storage, template_name, id, &ret->generation,
                                             &ret->stack, err);
    return r < 0 ? r : TAKE_FD(lock);
}

int store_snapshot(struct storage *storage, const char *template_name,
                   char ret_generation[static GENERATION_SIZE], struct error *err)
{
    struct store_generation now = {0};
    struct template_info info = {0};
    _cleanup_close_ int lock =
        store_generation_take(storage, template_name, NULL, true, &now, err);
    if (lock < 0)
        return lock;
    const struct generation_about about = {.pinned = true, .identity = now.generation.identity};
    int r = store_generation_new(storage, template_name, ret_generation, err);
    (void)snprintf(info.name, sizeof(info.name), "%s", template_name);
    return r < 0 ? r
                 : store_generation_publish(storage, &info, ret_generation, &now.stack, &about,
                                            err);
}

int store_rollback(struct storage *storage, const char *template_name, const char *generation,
                   struct error *err)
{
    struct store_generation target = {0};
    _cleanup_close_ int lock =
        store_generation_take(storage, template_name, generation, true, &target, err);
    if (lock < 0)
        return lock;
    int r = store_publish_settle(storage, template_name);
    return r < 0 ? fail(err, ERROR_SYSTEM, r, "template \"%s\": roll back: ", template_name)
                 : store_current_write(storage, template_name, generation, err);
}

int store_remove_generation(struct storage *storage, const char *template_name,
                            const char *generation, struct error *err)
{
    struct store_generation target = {0};
    _cleanup_close_ int lock =
        store_generation_take(storage, template_name, generation, true, &target, err);
    if (lock < 0)
        return lock;
    if (target.generation.current)
        return fail(err, ERROR_BUSY, EBUSY,
                    "template \"%s\": generation %s is the current one; roll back to another "
                    "first, or remove the template",
                    template_name, generation);
    char path[160];
    (void)snprintf(path, sizeof(path), "templates/%s/generations/%s", template_name,
                   generation);
    return unlinkat(storage->dir_fd, path, 0) < 0
               ? fail(err, ERROR_SYSTEM, errno,
                      "template \"%s\": remove generation %s: ", template_name, generation)
               : 0;
}

int store_remove_template(struct storage *storage, const char *template_name, struct error *err)
{
    _cleanup_close_ int lock = store_lock(storage, true, err);
    _cleanup_close_ int template_fd =
        lock < 0 ? lock : template_open(storage, template_name, err);
    if (template_fd < 0)
        return template_fd;
    /* without `current` it is no template any more, whatever happens next */
    if (unlinkat(template_fd, "current", 0) < 0 && errno != ENOENT)
        return fail(err, ERROR_SYSTEM, errno, "template \"%s\": remove: ", template_name);
    char path[128];
    (void)snprintf(path, sizeof(path), "templates/%s", template_name);
    int r = tree_remove(storage->dir_fd, path);
    return r < 0 ? fail(err, ERROR_SYSTEM, r, "template \"%s\": remove: ", template_name) : 0;
}
