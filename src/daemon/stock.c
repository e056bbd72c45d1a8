/* SPDX-License-Identifier: Apache-2.0 */
/* The stock of fresh clones. Runs in isolated, its forks and one-shots, as root. */
#include "daemon/stock.h"

#include "base/log.h"
#include "base/text.h"
#include "daemon/pool_shape.h"
#include "daemon/templates.h"
#include "sys/fd.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define DIGITS 20 /* of a clone's name, behind its template's: "_" and nanoseconds */

static void stock_path(const char *template_name, const char *id, char ret[static 256])
{
    (void)snprintf(ret, 256, "stock/%.63s/%s", template_name, id);
}

static bool path_of(const char *id, char ret[static 256])
{
    char template_name[NAME_TEMPLATE_MAX + 1];
    size_t length = strlen(id);
    if (!name_is_clone(id) || length <= DIGITS || length - DIGITS > NAME_TEMPLATE_MAX)
        return false;
    (void)snprintf(template_name, sizeof(template_name), "%.*s", (int)(length - DIGITS), id);
    stock_path(template_name, id, ret);
    return true;
}

bool stock_has(struct daemon *daemon, const char *id)
{
    char path[256];
    return path_of(id, path) && faccessat(daemon->run_fd, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

/* ---- names in stock ---- */

struct ids {
    char (*items)[CLONE_NAME_SIZE]; /* the oldest first */
    size_t n;
};

static void ids_clear(struct ids *ids)
{
    free(ids->items);
    *ids = (struct ids){0};
}

static int compare(const void *a, const void *b)
{
    return strcmp(a, b);
}

static int list(struct daemon *daemon, const char *template_name, struct ids *ret)
{
    char path[256];
    stock_path(template_name, "", path);
    int fd = dir_open_at(daemon->run_fd, path);
    _cleanup_closedir_ DIR *dir = dir_stream(fd);
    if (!dir)
        return fd == -ENOENT ? 0 : -errno;
    struct dirent *entry = NULL;
    int r = dir_next(dir, &entry);
    for (; r > 0; r = dir_next(dir, &entry)) {
        if (!name_is_clone(entry->d_name))
            continue;
        void *items = reallocarray(ret->items, ret->n + 1, sizeof(*ret->items));
        if (!items)
            return -ENOMEM;
        ret->items = items;
        (void)snprintf(ret->items[ret->n++], CLONE_NAME_SIZE, "%.84s", entry->d_name);
    }
    if (ret->n > 0)
        qsort(ret->items, ret->n, sizeof(*ret->items), compare);
    return r;
}

/* Whether a fresh clone is what the body wants. */
static bool fits(const struct record *fresh, const struct body *body)
{
    return streq(fresh->storage, body->record.storage) &&
           (!*body->record.generation || streq(fresh->generation, body->record.generation)) &&
           !(fresh->shares_ids && body->host_network);
}

/* Out of the stock, and ours: the lock of its record. -errno where somebody else was faster, or
 * where it is not what `body` (NULL: anybody) wants: then it stays. */
static int draw(struct daemon *daemon, const char *id, const struct body *body,
                struct record *ret)
{
    char path[256];
    _cleanup_close_ int records = records_running(daemon, NULL);
    _cleanup_close_ int lock = records < 0 ? records : record_lock(records, id);
    if (lock == -ENOENT && path_of(id, path)) /* its record was lost */
        (void)unlinkat(daemon->run_fd, path, 0);
    if (lock < 0)
        return lock;
    int r = record_read(records, id, ret, NULL);
    if (r < 0)
        return r;
    if (body && !fits(ret, body))
        return -ESTALE;
    if (!path_of(id, path) || unlinkat(daemon->run_fd, path, 0) < 0)
        return -ENOENT;
    return TAKE_FD(lock);
}

/* The units that refill look at this file. */
static void signal_units(struct daemon *daemon, const char *template_name)
{
    char name[96];
    (void)snprintf(name, sizeof(name), ".signal-%.63s", template_name);
    _cleanup_close_ int fd =
        openat(daemon->run_fd, name, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, "\n", 1) < 0)
        log_warning("%s: %s", name, strerror(errno));
}

bool stock_would_serve(struct daemon *daemon, const struct body *body)
{
    _cleanup_(ids_clear) struct ids ids = {0};
    _cleanup_close_ int records = records_running(daemon, NULL);
    if (records < 0 || body->record.root || body->durable ||
        list(daemon, body->record.template_name, &ids) < 0)
        return false;
    bool found = false;
    for (size_t i = 0; i < ids.n && !found; i++) {
        _cleanup_record_ struct record fresh = {0};
        found = record_read(records, ids.items[i], &fresh, NULL) == 0 && fits(&fresh, body);
    }
    return found;
}

bool stock_take(struct daemon *daemon, struct body *body)
{
    _cleanup_(ids_clear) struct ids ids = {0};
    struct record *record = &body->record;
    if (record->root || body->durable || list(daemon, record->template_name, &ids) < 0)
        return false;
    for (size_t i = 0; i < ids.n; i++) {
        _cleanup_record_ struct record found = {0};
        _cleanup_close_ int lock = draw(daemon, ids.items[i], body, &found);
        if (lock < 0)
            continue;
        memcpy(record->id, found.id, sizeof(record->id));
        memcpy(record->generation, found.generation, sizeof(record->generation));
        record->first_id = found.first_id;
        record->shares_ids = found.shares_ids;
        body->lock_fd = TAKE_FD(lock);
        body->cloned = true;
        body->has_ids = !found.shares_ids;
        signal_units(daemon, record->template_name);
        return true;
    }
    return false;
}

#define BATCH 32

/* What is taken out of the stock to be destroyed, and its records' locks. */
struct batch {
    struct record records[BATCH];
    int locks[BATCH];
    size_t n;
};

static void batch_announce(struct daemon *daemon, const struct batch *batch)
{
    struct clone_info infos[BATCH] = {0};
    struct clone_list clones = {infos, 0};
    _cleanup_storage_ struct storage storage = {0};
    const char *name = batch->records[0].storage;
    if (batch->n < 2 || storage_open(name, daemon->state_fd, &storage, NULL) < 0 ||
        !storage.driver->destroy_ahead)
        return;
    for (size_t i = 0; i < batch->n; i++)
        if (streq(batch->records[i].storage, name))
            (void)snprintf(infos[clones.n++].name, CLONE_NAME_SIZE, "%s", batch->records[i].id);
    storage.driver->destroy_ahead(&storage, &clones);
}

static unsigned batch_destroy(struct daemon *daemon, struct batch *batch)
{
    unsigned removed = 0;
    _cleanup_close_ int records = records_running(daemon, NULL);
    batch_announce(daemon, batch);
    for (size_t i = 0; i < batch->n; i++) {
        struct error err = {0};
        struct record *record = &batch->records[i];
        if (recover_destroy(daemon, record, &err) < 0) {
            log_warning("%s", err.text); /* the recovery goes on with it */
        } else {
            (void)!record_remove(records, record->id);
            removed++;
        }
        record_clear(record);
        fd_close(batch->locks[i]);
    }
    batch->n = 0;
    return removed;
}

static void trim(struct daemon *daemon, const struct ids *ids, size_t keep,
                 struct stock_change *change)
{
    struct batch *batch = calloc(1, sizeof(*batch));
    for (size_t i = keep; batch && i < ids->n; i++) {
        int lock = draw(daemon, ids->items[i], NULL, &batch->records[batch->n]);
        if (lock >= 0)
            batch->locks[batch->n++] = lock;
        else
            record_clear(&batch->records[batch->n]);
        if (batch->n == BATCH || i + 1 == ids->n)
            change->removed += batch_destroy(daemon, batch);
    }
    free(batch);
}

void stock_drop(struct daemon *daemon, const char *template_name)
{
    struct stock_change ignored = {0};
    _cleanup_(ids_clear) struct ids ids = {0};
    if (list(daemon, template_name, &ids) == 0)
        trim(daemon, &ids, 0, &ignored);
}

void stock_renew(struct daemon *daemon, const char *template_name)
{
    char path[256];
    stock_path(template_name, "", path);
    stock_drop(daemon, template_name);
    if (faccessat(daemon->run_fd, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
        signal_units(daemon, template_name);
}

static int make_one(struct daemon *daemon, const char *template_name, int stock_fd,
                    struct error *err)
{
    struct body body;
    struct template_info info;
    body_init(&body, daemon);
    int r = template_find(daemon, template_name, &body.storage, &info, err);
    if (r == 0)
        r = engine_find(NULL, &body.engine, err);
    if (r == 0) {
        struct record *record = &body.record;
        body_name(&body, template_name);
        (void)snprintf(record->template_name, sizeof(record->template_name), "%s",
                       template_name);
        (void)snprintf(record->state, sizeof(record->state), "cloning");
        (void)snprintf(record->storage, sizeof(record->storage), "%s", body.storage.name);
        (void)snprintf(record->engine, sizeof(record->engine), "%s", body.engine->name);
        r = body_clone(&body, -EBADF, err);
    }
    if (r == 0) {
        r = file_replace_at(stock_fd, body.record.id, "", 0, false);
        if (r < 0)
            r = fail(err, ERROR_SYSTEM, r, "stock: %s: ", body.record.id);
    }
    if (r == 0 && !fresh_is_current(&body)) { /* another one was published meanwhile */
        (void)unlinkat(stock_fd, body.record.id, 0);
        r = fail(err, ERROR_BUSY, EBUSY,
                 "template \"%s\": it has just got another generation; try again",
                 template_name);
    }
    if (r < 0)
        (void)!body_destroy(&body);
    body_clear(&body);
    return r;
}

static int open_stock(struct daemon *daemon, const char *template_name, struct error *err)
{
    _cleanup_close_ int stock = dir_make_at(daemon->run_fd, "stock", 0700);
    int fd = stock < 0 ? stock : dir_make_at(stock, template_name, 0700);
    return fd < 0 ? fail(err, ERROR_SYSTEM, fd, "stock of template \"%s\": ", template_name)
                  : fd;
}

int stock_fill(struct daemon *daemon, const char *template_name, unsigned wanted, bool is_used,
               struct stock_change *ret, struct error *err)
{
    struct named_lock only = {.fd = -EBADF};
    _cleanup_(ids_clear) struct ids ids = {0};
    *ret = (struct stock_change){0};
    int r = named_lock(daemon, "stock", template_name, &only, err);
    if (r < 0)
        return r;
    _cleanup_close_ int stock = open_stock(daemon, template_name, err);
    r = stock < 0 ? stock : list(daemon, template_name, &ids);
    if (r == 0) {
        trim(daemon, &ids, is_used ? 0 : wanted, ret);
        ids_clear(&ids);
        r = list(daemon, template_name, &ids);
    }
    for (ret->fresh = (unsigned)ids.n; r == 0 && ret->fresh < wanted; ret->fresh++) {
        r = make_one(daemon, template_name, stock, err);
        ret->made += r == 0;
    }
    named_unlock(&only);
    return r;
}
