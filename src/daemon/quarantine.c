/* SPDX-License-Identifier: Apache-2.0 */
/* What will not go of a sandbox that has ended (a process in an endless wait in the kernel, a
 * mount below its clone) is left alone, with its record, clone and id range, and counts against
 * the quota of its owner; the recovery tries again now and then. Runs in isolated as root; what
 * /proc says is only shown. */
#include "daemon/quarantine.h"

#include "base/log.h"
#include "base/text.h"
#include "sys/cgroup.h"
#include "sys/fd.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define HOLDERS_MAX 4
#define MOUNTS_MAX  (4U << 20) /* bytes of a mountinfo that are looked at */

struct quarantined {
    struct quarantined *next;
    char id[CLONE_NAME_SIZE];
    uid_t uid;
};

void quarantine_mark(struct daemon *daemon, struct record *record, int *lock_fd,
                     const struct error *err)
{
    struct error ignored;
    if (streq(record->state, "quarantined"))
        return;
    log_warning("sandbox %s is quarantined, and tried again now and then: %s (see `isolate "
                "doctor`)",
                record->id, err->text);
    (void)snprintf(record->state, sizeof(record->state), "quarantined");
    _cleanup_close_ int records = records_running(daemon, &ignored);
    if (records < 0 || record_write(records, record, lock_fd, &ignored) < 0)
        log_warning("%s", ignored.text);
}

void quarantine_add(struct daemon *daemon, const struct record *record)
{
    struct quarantined *one = calloc(1, sizeof(*one));
    if (!one)
        return;
    *one = (struct quarantined){.next = daemon->quarantined, .uid = record->owner_uid};
    memcpy(one->id, record->id, sizeof(one->id));
    daemon->quarantined = one;
}

void quarantine_forget(struct daemon *daemon)
{
    while (daemon->quarantined) {
        struct quarantined *one = daemon->quarantined;
        daemon->quarantined = one->next;
        free(one);
    }
}

unsigned quarantine_count(struct daemon *daemon, uid_t uid)
{
    unsigned n = 0;
    struct error ignored;
    if (!daemon->quarantined)
        return 0;
    _cleanup_close_ int records = records_running(daemon, &ignored);
    for (struct quarantined **at = &daemon->quarantined; *at;) {
        struct quarantined *one = *at;
        if (records >= 0 && faccessat(records, one->id, F_OK, AT_SYMLINK_NOFOLLOW) < 0) {
            *at = one->next;
            free(one);
            continue;
        }
        n += one->uid == uid;
        at = &one->next;
    }
    return n;
}

static void add_process(struct buffer *ret, const char *pid, const char *what)
{
    char path[64];
    _cleanup_buffer_ struct buffer name = {0};
    (void)snprintf(path, sizeof(path), "/proc/%.20s/comm", pid);
    if (file_read_at(AT_FDCWD, path, 256, &name) < 0 || !name.data)
        return;
    name.data[strcspn(name.data, "\n")] = '\0';
    buffer_printf(ret, "; process %s (%s) %s", pid, name.data, what);
}

static void add_members(struct daemon *daemon, const char *id, struct buffer *ret)
{
    _cleanup_buffer_ struct buffer text = {0};
    _cleanup_close_ int leaf = cgroup_open(daemon->cgroup_fd, id);
    char *rest = NULL;
    unsigned n = 0;
    if (leaf < 0 || file_read_at(leaf, "cgroup.procs", 1U << 16, &text) < 0 || !text.data)
        return;
    for (char *pid = strtok_r(text.data, "\n", &rest); pid && n < HOLDERS_MAX;
         pid = strtok_r(NULL, "\n", &rest), n++)
        add_process(ret, pid, "does not end");
}

/* Whether a process sees a mount that has the clone's name in it. */
static bool sees_mount(const char *pid, const char *id)
{
    char path[64];
    _cleanup_buffer_ struct buffer text = {0};
    (void)snprintf(path, sizeof(path), "/proc/%.20s/mountinfo", pid);
    return file_read_at(AT_FDCWD, path, MOUNTS_MAX, &text) == 0 && text.data &&
           strstr(text.data, id);
}

static bool is_new_namespace(const char *pid, ino_t seen[HOLDERS_MAX * 16], unsigned *n)
{
    char path[64];
    struct stat st;
    (void)snprintf(path, sizeof(path), "/proc/%.20s/ns/mnt", pid);
    if (*n >= HOLDERS_MAX * 16 || stat(path, &st) < 0)
        return false;
    for (unsigned i = 0; i < *n; i++)
        if (seen[i] == st.st_ino)
            return false;
    seen[(*n)++] = st.st_ino;
    return true;
}

static void add_mounts(const char *id, struct buffer *ret)
{
    ino_t seen[HOLDERS_MAX * 16];
    unsigned n_seen = 0;
    unsigned n = 0;
    _cleanup_closedir_ DIR *proc = opendir("/proc");
    if (!proc)
        return;
    for (struct dirent *entry = readdir(proc); entry && n < HOLDERS_MAX; entry = readdir(proc))
        if (strspn(entry->d_name, "0123456789") == strlen(entry->d_name) &&
            is_new_namespace(entry->d_name, seen, &n_seen) && sees_mount(entry->d_name, id)) {
            add_process(ret, entry->d_name, "has a mount in it");
            n++;
        }
}

void quarantine_holders(struct daemon *daemon, const char *id, struct buffer *ret)
{
    add_members(daemon, id, ret);
    add_mounts(id, ret);
}
