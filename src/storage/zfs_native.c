/* SPDX-License-Identifier: Apache-2.0 */
/* Streams of `zfs send`. What comes in lies in a file until it is known to be whole; then `zfs
 * receive` reads it: all of a generation into an import, what follows one into the template's
 * dataset, which is one transaction. So a snapshot keeps its guid, by which the next one fits.
 * Runs in isolated as root; the kernel reads what somebody else's ZFS has written. */
#include "base/log.h"
#include "base/text.h"
#include "storage/arrival.h"
#include "storage/zfs_import.h"
#include "sys/fd.h"

#include <fcntl.h>
#include <string.h>

#define PAYLOAD "payload"

struct incoming {
    int payload; /* the stream of ZFS's own, whole */
    int lock;    /* of changes */
};

static int native_program(struct storage *storage, const char *template_name,
                          const char *generation, const char *base,
                          struct storage_native_program *ret, struct error *err)
{
    int r = zfs_check_pool(zfs_parent(storage), err);
    if (r < 0)
        return r;
    zfs_name(storage, ret->names[0], "%s@%s", template_name, generation);
    if (base)
        zfs_name(storage, ret->names[1], "%s@%s", template_name, base);
    const char *const whole[] = {"zfs", "send", ret->names[0], NULL};
    const char *const part[] = {"zfs", "send", "-i", ret->names[1], ret->names[0], NULL};
    memcpy(ret->argv, base ? part : whole, base ? sizeof(part) : sizeof(whole));
    return 0;
}

static int native_begin(struct storage *storage, const char *base, struct storage_import *ret,
                        int *ret_payload, struct error *err)
{
    int r = *base ? store_import_begin(storage, ret->key, sizeof(ret->key), err)
                  : zfs_import_begin(storage, NULL, false, ret->key, sizeof(ret->key), err);
    if (r < 0)
        return r;
    ret->is_layer = false;
    ret->tree_fd = fcntl(storage->import_fd, F_DUPFD_CLOEXEC, 3);
    *ret_payload =
        openat(storage->import_fd, PAYLOAD, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (ret->tree_fd >= 0 && *ret_payload >= 0)
        return 0;
    r = fail(err, ERROR_SYSTEM, errno, "storage %s: make an import: ", storage->name);
    ret->tree_fd = fd_close(ret->tree_fd);
    *ret_payload = fd_close(*ret_payload);
    (void)!zfs_abort(storage, ret->key, NULL);
    return r;
}

/* The beginning of a stream, as `zfs send` writes it on a machine of this byte order. From
 * include/sys/zfs_ioctl.h of OpenZFS, dmu_replay_record_t and DMU_BACKUP_MAGIC. */
struct begin_record {
    uint32_t type; /* 0: DRR_BEGIN */
    uint32_t payload_bytes;
    uint64_t magic;
    uint64_t version_info; /* the lowest two bits: 1 a stream of one snapshot, 2 a package */
    uint64_t created;
    uint32_t dataset_type; /* 2: DMU_OST_ZFS, no volume */
    uint32_t flags;        /* 1: of a clone */
    uint64_t guid;
    uint64_t from_guid; /* 0: all of it */
};
#define BACKUP_MAGIC 0x2F5bacbacULL

/* A package could hold datasets and properties, mountpoints of the machine among them. */
static int check_begin(int payload, bool has_base, struct error *err)
{
    struct begin_record begin = {0};
    ssize_t n = pread(payload, &begin, sizeof(begin), 0);
    if (n < 0)
        return fail(err, ERROR_SYSTEM, errno, "read the stream: ");
    if (n != sizeof(begin) || begin.type != 0 || begin.magic != BACKUP_MAGIC)
        return fail(err, ERROR_INVALID, EBADMSG,
                    "what is in the stream is no stream of `zfs send` on a machine like this "
                    "one; send it without --native");
    if ((begin.version_info & 3) != 1 || begin.payload_bytes != 0 || begin.dataset_type != 2 ||
        (begin.flags & 1) != 0 || (begin.from_guid != 0) != has_base)
        return fail(err, ERROR_INVALID, EBADMSG,
                    "what is in the stream is not one snapshot of a file system, as isolate "
                    "sends it");
    return 0;
}

/* With force it goes over what no snapshot has. Where isolated is killed meanwhile it goes on,
 * and holds the lock of changes until its end, so that who looks for what was left sees all of
 * it. */
static int receive(const struct incoming *incoming, const char *snapshot, bool force,
                   struct error *err)
{
    const char *const over[] = {"zfs", "receive", "-u", "-F", snapshot, NULL};
    const char *const behind[] = {"zfs", "receive", "-u", snapshot, NULL};
    _cleanup_close_ int held = fcntl(incoming->lock, F_DUPFD, 3); /* the program inherits it */
    if (held < 0 || lseek(incoming->payload, 0, SEEK_SET) < 0)
        return fail(err, ERROR_SYSTEM, errno, "read the stream: ");
    return zfs_run_from(force ? over : behind, incoming->payload, err);
}

/* The import's dataset, which is empty, takes it. */
static int publish_new(struct storage *storage, const char *key,
                       const struct incoming *incoming, const struct template_info *info,
                       const struct generation_arrival *arrival, struct error *err)
{
    char dataset[ZFS_NAME_SIZE];
    char snapshot[ZFS_NAME_SIZE];
    const struct generation_about about = {arrival->pinned, arrival->created,
                                           arrival->identity};
    zfs_name(storage, dataset, "IMPORT-%s", key);
    zfs_name(storage, snapshot, "IMPORT-%s@%s", key, arrival->id);
    int r = receive(incoming, snapshot, true, err);
    if (r == 0)
        r = zfs_generation_mark(snapshot, &about, err);
    if (r == 0) /* from now on it is mounted as any other */
        r = ZFS(err, "set", "canmount=on", dataset);
    return r < 0 ? r : zfs_import_publish(storage, key, info, NULL, NULL, err);
}

static int explain_stale(const struct storage *storage, const char *name,
                         const struct generation_arrival *arrival, struct error *err)
{
    return fail(err, ERROR_BUSY, ESTALE,
                "template \"%s\": a stream of ZFS's own fits only where the latest snapshot of "
                "the dataset %s/%s is the very one that it follows: it has later ones than %s, "
                "or that one came as another stream; send without --native",
                name, zfs_parent(storage), name, arrival->base);
}

/* The dataset is the base but for times of access. -ESTALE where there are later snapshots,
 * which the force of `zfs receive` would destroy. OpenZFS needs none after a rollback; zfs-fuse
 * cannot do that just after an unmount. */
static int back_to(const char *dataset, const char *base, struct error *err)
{
    if (zfs_is_kernel())
        return ZFS(err, "rollback", base);
    _cleanup_buffer_ struct buffer text = {0};
    const char *const list[] = {"zfs",      "list", "-H", "-o", "name",  "-t",
                                "snapshot", "-r",   "-d", "1",  dataset, NULL};
    int r = zfs_run(list, &text, err); /* the latest comes last */
    const char *last = "";
    char *rest = NULL;
    for (char *name = r < 0 || !text.data ? NULL : strtok_r(text.data, "\n", &rest); name;
         name = strtok_r(NULL, "\n", &rest))
        last = name;
    return r < 0 ? r : streq(last, base) ? 0 : fail(err, ERROR_BUSY, ESTALE, "%s: ", base);
}

/* The dataset is the base, and seen by nobody while it becomes the next one. */
static int receive_over(struct storage *storage, const char *name,
                        const struct incoming *incoming,
                        const struct generation_arrival *arrival, struct error *err)
{
    char dataset[ZFS_NAME_SIZE];
    char snapshot[ZFS_NAME_SIZE];
    char base[ZFS_NAME_SIZE];
    struct zfs_dataset of;
    zfs_name(storage, dataset, "%s", name);
    zfs_name(storage, snapshot, "%s@%s", name, arrival->id);
    zfs_name(storage, base, "%s@%s", name, arrival->base);
    int r = zfs_get_filesystem(dataset, &of, err);
    if (r == 0)
        r = zfs_generation_expect(storage, name, arrival->id, arrival->base, err);
    if (r < 0)
        return r;
    zfs_unmount_visibly(&of);
    r = back_to(dataset, base, err);
    if (r == 0)
        r = receive(incoming, snapshot, !zfs_is_kernel(), err);
    if (r == -ESTALE)
        r = explain_stale(storage, name, arrival, err);
    bool is_visible = of.mounted;
    if (is_visible && (zfs_get_filesystem(dataset, &of, NULL) < 0 ||
                       zfs_mount_visibly(dataset, &of, 0, NULL) < 0))
        log_warning("dataset %s: could not be mounted again", dataset);
    return r;
}

/* The generation is there at once; what isolate says of it is not: without that it counts as
 * one that an administrator has made, with its guid. */
static int publish_over(struct storage *storage, const char *name,
                        const struct incoming *incoming,
                        const struct generation_arrival *arrival, struct error *err)
{
    char snapshot[ZFS_NAME_SIZE];
    struct error why = {0};
    struct zfs_become become = {.live = -EBADF};
    const struct generation_about about = {arrival->pinned, arrival->created,
                                           arrival->identity};
    int r = zfs_become_begin(storage, name, &become, err);
    become.live = fd_close(become.live);
    if (r == 0)
        r = receive_over(storage, name, incoming, arrival, err);
    zfs_name(storage, snapshot, "%s@%s", name, arrival->id);
    if (r == 0 && zfs_generation_mark(snapshot, &about, &why) < 0)
        log_warning("template \"%s\": generation %s stays until it is removed: %s", name,
                    arrival->id, why.text);
    return zfs_become_end(storage, name, &become, r, err);
}

static int native_publish(struct storage *storage, const struct storage_import *import,
                          int payload, const struct template_info *info,
                          const struct generation_arrival *arrival, struct error *err)
{
    bool has_base = *arrival->base;
    int r = check_begin(payload, has_base, err);
    if (r < 0)
        return r;
    _cleanup_close_ int lock = zfs_change_lock(storage, true, err);
    r = lock < 0 ? lock : zfs_arrival_check(storage, info->name, arrival, err);
    if (r < 0)
        return r;
    const struct incoming incoming = {payload, lock};
    if (!has_base)
        return publish_new(storage, import->key, &incoming, info, arrival, err);
    r = publish_over(storage, info->name, &incoming, arrival, err);
    if (r == 0) /* the file goes; else the next collection takes it */
        (void)!zfs_abort(storage, import->key, NULL);
    return r;
}

const struct storage_natives zfs_natives = {
    .program = native_program,
    .begin = native_begin,
    .publish = native_publish,
};
