/* SPDX-License-Identifier: Apache-2.0 */
/* Copies of trees by several threads, one directory at a time each. Runs in isolated as root
 * over generations and over what sandboxes left. The threads share a list of directories that
 * are still to be copied, by path: so neither depth nor width costs open fds. */
#include "storage/copy_tree.h"

#include "base/text.h"
#include "storage/compare.h"
#include "storage/copy_entry.h"
#include "sys/fd.h"
#include "sys/inodes.h"
#include "sys/xattrs.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#define THREADS_MAX 8
#define DEPTH_MAX   1000 /* as deep as diff looks */

/* A directory of both trees: "" or "/a/b", and how many levels it lies below the root. */
struct job {
    char *path;
    unsigned depth;
};

struct paths {
    char **items;
    size_t n;
    size_t capacity;
};

struct copier {
    int from; /* the roots */
    int to;
    bool is_upper;
    pthread_mutex_t lock; /* of all that follows */
    pthread_cond_t changed;
    struct job *jobs; /* the last is taken first: then there are few */
    size_t n_jobs;
    size_t capacity;
    unsigned busy; /* threads that may bring more jobs */
    int result;
    struct error err;
    struct inode_table inodes; /* of files with several links: 1 + where in `linked` */
    struct paths linked;
};

static void copier_clear(struct copier *copier)
{
    for (size_t i = 0; i < copier->n_jobs; i++)
        free(copier->jobs[i].path);
    for (size_t i = 0; i < copier->linked.n; i++)
        free(copier->linked.items[i]);
    free(copier->jobs);
    free(copier->linked.items);
    inode_table_clear(&copier->inodes);
    (void)pthread_mutex_destroy(&copier->lock);
    (void)pthread_cond_destroy(&copier->changed);
}

/* A directory at work. */
struct place {
    struct copier *copier;
    const struct job *job;
    struct copy_place fds;
};

static int place_fail(const struct place *place, int r, const char *name, struct error *err)
{
    return fail(err, error_code_of_errno(-r), r, "copy \"%.200s/%.100s\": ", place->job->path,
                name);
}

/* Grows an array by doubling; room for one more item. */
static int reserve(void **items, size_t n, size_t *capacity, size_t size)
{
    if (n < *capacity)
        return 0;
    size_t more = *capacity ? *capacity * 2 : 64;
    void *larger = reallocarray(*items, more, size);
    if (!larger)
        return -ENOMEM;
    *items = larger;
    *capacity = more;
    return 0;
}

/* path/name goes to whoever is free. Takes the lock. */
static int add_job(struct copier *copier, const struct job *parent, const char *name)
{
    struct job job = {.depth = parent->depth + 1};
    if (job.depth > DEPTH_MAX)
        return -ELOOP;
    if (asprintf(&job.path, "%s/%s", parent->path, name) < 0)
        return -ENOMEM;
    (void)pthread_mutex_lock(&copier->lock);
    int r = reserve((void **)&copier->jobs, copier->n_jobs, &copier->capacity,
                    sizeof(*copier->jobs));
    if (r == 0)
        copier->jobs[copier->n_jobs++] = job;
    else
        free(job.path);
    (void)pthread_cond_signal(&copier->changed);
    (void)pthread_mutex_unlock(&copier->lock);
    return r;
}

/* Makes the entry a link of the one at this path of the copy. */
static int link_to(const struct place *place, const char *first, const char *name)
{
    char parent[PATH_MAX];
    const char *slash = strrchr(first, '/');
    if ((size_t)(slash - first) >= sizeof(parent))
        return -ENAMETOOLONG;
    (void)snprintf(parent, sizeof(parent), "%.*s", (int)(slash - first), first);
    _cleanup_close_ int fd = compare_open_directory(place->copier->to, parent);
    if (fd < 0)
        return fd;
    return linkat(fd, slash + 1, place->fds.to, name, 0) < 0 ? -errno : 0;
}

/* A file with several links. The first one is copied under the lock: whoever meets the next
 * finds it. */
static int copy_linked(const struct place *place, const char *name, const struct stat *st)
{
    struct copier *copier = place->copier;
    struct paths *linked = &copier->linked;
    uint64_t first = 0;
    int r = reserve((void **)&linked->items, linked->n, &linked->capacity, sizeof(char *));
    if (r == 0 && asprintf(&linked->items[linked->n], "%s/%s", place->job->path, name) < 0)
        r = -ENOMEM;
    if (r == 0)
        r = inode_table_first(&copier->inodes, st->st_dev, st->st_ino, ++linked->n, &first);
    if (r < 0)
        return r;
    if (first == 0)
        return copy_one(&place->fds, name, st);
    r = link_to(place, linked->items[first - 1], name);
    return r == -EMLINK || r == -ENAMETOOLONG ? copy_one(&place->fds, name, st) : r;
}

static int copy_entry_of(const struct place *place, const struct dirent *entry)
{
    struct stat st;
    const char *name = entry->d_name;
    if (entry->d_type == DT_REG) {
        int r = copy_single(&place->fds, name);
        if (r <= 0)
            return r;
    }
    if (fstatat(place->fds.from, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? 0 : -errno;
    if (S_ISDIR(st.st_mode)) {
        if (mkdirat(place->fds.to, name, 0700) < 0)
            return -errno;
        return add_job(place->copier, place->job, name);
    }
    if (st.st_nlink == 1)
        return copy_one(&place->fds, name, &st);
    (void)pthread_mutex_lock(&place->copier->lock);
    int r = copy_linked(place, name, &st);
    (void)pthread_mutex_unlock(&place->copier->lock);
    return r;
}

/* The marks of overlayfs that are not right without it; others it makes again. All are of
 * directories, because metacopy is off. */
static int copy_marks(const struct copy_place *fds)
{
    static const char *const marks[] = {"trusted.overlay.opaque", "trusted.overlay.redirect"};
    char value[PATH_MAX];
    for (size_t i = 0; i < ELEMENTS(marks); i++) {
        ssize_t n = fgetxattr(fds->from, marks[i], value, sizeof(value));
        if ((n < 0 && errno != ENODATA) ||
            (n >= 0 && fsetxattr(fds->to, marks[i], value, (size_t)n, 0) < 0))
            return -errno;
    }
    return 0;
}

/* What a directory contains first, then its own attributes: what is made in it must not inherit
 * any of them, nor change its times. */
static int copy_content_of(const struct place *place, DIR *dir, struct error *err)
{
    struct dirent *entry = NULL;
    int left = dir_next(dir, &entry);
    for (; left > 0; left = dir_next(dir, &entry)) {
        int r = copy_entry_of(place, entry);
        if (r == -ELOOP)
            return fail(err, ERROR_UNSUPPORTED, ELOOP,
                        "copy: directories are nested deeper than %d levels: %.200s…",
                        DEPTH_MAX, place->job->path);
        if (r < 0)
            return place_fail(place, r, entry->d_name, err);
    }
    int r = left < 0 ? left : 0;
    if (r == 0 && place->copier->is_upper)
        r = copy_marks(&place->fds);
    if (r == 0)
        r = copy_directory_attributes(&place->fds);
    return r < 0 ? place_fail(place, r, "", err) : 0;
}

static int copy_directory(struct copier *copier, const struct job *job, bool no_umask,
                          struct error *err)
{
    int from = compare_read_directory(copier->from, job->path);
    _cleanup_closedir_ DIR *dir = dir_stream(from);
    _cleanup_close_ int to = compare_read_directory(copier->to, job->path);
    struct place place = {copier, job, {.from = from, .to = to, .no_umask = no_umask}};
    if (from == -ENOENT || from == -ENOTDIR || from == -ELOOP)
        return 0; /* it has just gone */
    if (from < 0 || to < 0)
        return place_fail(&place, from < 0 ? from : to, "", err);
    if (!dir)
        return place_fail(&place, -ENOMEM, "", err);
    return copy_content_of(&place, dir, err);
}

/* Takes the next job; false where there will be none. Holds the lock. */
static bool next_job(struct copier *copier, struct job *ret)
{
    while (copier->n_jobs == 0 && copier->busy > 0 && copier->result == 0)
        (void)pthread_cond_wait(&copier->changed, &copier->lock);
    if (copier->n_jobs == 0 || copier->result < 0)
        return false;
    *ret = copier->jobs[--copier->n_jobs];
    return true;
}

static void work(struct copier *copier, bool no_umask)
{
    struct job job;
    struct error err = {0};
    (void)pthread_mutex_lock(&copier->lock);
    while (next_job(copier, &job)) {
        copier->busy++;
        (void)pthread_mutex_unlock(&copier->lock);
        int r = copy_directory(copier, &job, no_umask, &err);
        free(job.path);
        (void)pthread_mutex_lock(&copier->lock);
        copier->busy--;
        if (r < 0 && copier->result == 0) {
            copier->result = r;
            copier->err = err;
        }
    }
    (void)pthread_cond_broadcast(&copier->changed);
    (void)pthread_mutex_unlock(&copier->lock);
}

/* With a umask of its own a file is made with its mode at once, which saves XFS and btrfs a
 * transaction for each. */
static void *thread_main(void *data)
{
    bool alone = unshare(CLONE_FS) == 0;
    if (alone)
        (void)umask(0);
    work(data, alone);
    return NULL;
}

static void work_in_threads(struct copier *copier)
{
    pthread_t threads[THREADS_MAX];
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    size_t wanted = processors < 1             ? 1
                    : processors < THREADS_MAX ? (size_t)processors
                                               : THREADS_MAX;
    size_t n = 0;
    while (n < wanted && pthread_create(&threads[n], NULL, thread_main, copier) == 0)
        n++;
    if (n == 0)
        work(copier, false);
    while (n > 0)
        (void)pthread_join(threads[--n], NULL);
}

static int copy_into(int from_fd, int to_fd, bool is_upper, struct error *err)
{
    _cleanup_(copier_clear) struct copier copier = {
        .from = from_fd,
        .to = to_fd,
        .is_upper = is_upper,
        .lock = PTHREAD_MUTEX_INITIALIZER,
        .changed = PTHREAD_COND_INITIALIZER,
    };
    copier.jobs = calloc(1, sizeof(*copier.jobs));
    char *root = strdup("");
    if (!copier.jobs || !root) {
        free(root);
        return fail(err, ERROR_SYSTEM, ENOMEM, "copy a tree: ");
    }
    copier.jobs[copier.n_jobs++] = (struct job){.path = root};
    copier.capacity = 1;
    /* what is made below must not inherit an ACL of ours */
    xattrs_remove_others(copier.to, &(struct xattrs){0});
    work_in_threads(&copier);
    if (copier.result < 0 && err)
        *err = copier.err;
    return copier.result;
}

static int copy_new(int from_fd, int dir_fd, const char *name, bool is_upper, struct error *err)
{
    _cleanup_close_ int to =
        mkdirat(dir_fd, name, 0700) < 0 ? -errno : dir_open_at(dir_fd, name);
    if (to < 0)
        return fail(err, error_code_of_errno(-to), to, "copy a tree: make %s: ", name);
    return copy_into(from_fd, to, is_upper, err);
}

int copy_tree_into(int from_fd, int to_fd, struct error *err)
{
    return copy_into(from_fd, to_fd, false, err);
}

int copy_tree(int from_fd, int dir_fd, const char *name, struct error *err)
{
    return copy_new(from_fd, dir_fd, name, false, err);
}

int copy_upper(int from_fd, int dir_fd, const char *name, struct error *err)
{
    return copy_new(from_fd, dir_fd, name, true, err);
}
