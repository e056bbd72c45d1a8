/* SPDX-License-Identifier: Apache-2.0 */
/* What a storage driver's own code takes to make a clone, to mount it and to destroy it again,
 * for bench/storage.py. Runs as root on a storage that nobody else uses:
 *
 *   bench-storage DRIVER[:LOCATION] STATE-DIRECTORY
 *
 * LOCATION is a directory, or a dataset for zfs; without one the storage lies in the state
 * directory. Orders come on standard input, a line each, and each is answered by a line of
 * JSON:
 *
 *   import DIRECTORY   a template of a directory, which cp(1) fills          {}
 *   make FIRST N       clones and mounts them, one after the other           {"clone_ns":[…],
 *                      and keeps them mounted                                 "mount_ns":[…]}
 *   remove FIRST N     gives up their mounts and destroys them               {"destroy_ns":[…]}
 *
 * It stays between orders as isolated does: neither the start of a process nor the opening of
 * the storage is in a time. Clones are made as those of sandboxes are: they need not survive a
 * power cut. */
#include "base/parse.h"
#include "base/text.h"
#include "storage/location.h"
#include "sys/fd.h"
#include "sys/userns.h"

#include <fcntl.h>
#include <inttypes.h>
#include <spawn.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#define TEMPLATE   "bench"
#define CLONES_MAX 4096
#define FIRST_ID   1000000U

struct bench {
    struct storage storage;
    int userns_fd;
    uint32_t first_id;      /* of all clones: none of them runs */
    bool shares_ids;        /* it is the template's */
    int mounts[CLONES_MAX]; /* -EBADF where there is no clone of that number */
};

/* What an order gives to be printed. */
struct samples {
    uint64_t first[CLONES_MAX];
    uint64_t second[CLONES_MAX];
};

static uint64_t now_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000ULL + (uint64_t)now.tv_nsec;
}

static void clone_name(uint32_t n, char ret[static CLONE_NAME_SIZE])
{
    (void)snprintf(ret, CLONE_NAME_SIZE, TEMPLATE "_1%018" PRIu32, n);
}

/* cp -a DIRECTORY/. into an open directory */
static int fill(const char *directory, int tree_fd, struct error *err)
{
    _cleanup_free_ char *source = NULL;
    posix_spawn_file_actions_t actions;
    pid_t pid = 0;
    int status = 0;
    if (asprintf(&source, "%s/.", directory) < 0)
        return fail(err, ERROR_SYSTEM, ENOMEM, "cp: ");
    char *const argv[] = {(char *)"cp", (char *)"-a", source, (char *)"/proc/self/fd/3/", NULL};
    (void)posix_spawn_file_actions_init(&actions);
    (void)posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
    (void)posix_spawn_file_actions_adddup2(&actions, tree_fd, 3);
    int r = posix_spawnp(&pid, argv[0], &actions, NULL, argv, environ);
    (void)posix_spawn_file_actions_destroy(&actions);
    if (r == 0 && waitpid(pid, &status, 0) < 0)
        r = errno;
    return r != 0 || status != 0 ? fail(err, ERROR_SYSTEM, r ? r : EIO, "cp %s: ", source) : 0;
}

/* Where the storage cannot be id-mapped, the template has a range that its clones share. */
static int choose_ids(struct bench *bench, struct error *err)
{
    const struct storage_driver *driver = bench->storage.driver;
    uint32_t chosen = 0;
    int r = driver->range ? driver->range(&bench->storage, TEMPLATE, &chosen, err) : 0;
    bench->shares_ids = r == 1;
    if (r == 1 && chosen == 0)
        r = driver->range_make(&bench->storage, TEMPLATE, FIRST_ID, err);
    bench->first_id = chosen ? chosen : FIRST_ID;
    const struct id_map map = {0, bench->first_id, USERNS_RANGE};
    if (r < 0)
        return r;
    bench->userns_fd = fd_close(bench->userns_fd);
    bench->userns_fd = userns_new(&map, 1, &map, 1);
    return bench->userns_fd < 0
               ? fail(err, ERROR_SYSTEM, bench->userns_fd, "make a user namespace: ")
               : 0;
}

static int import(struct bench *bench, const char *directory, struct error *err)
{
    const struct storage_driver *driver = bench->storage.driver;
    struct template_info info = {.name = TEMPLATE, .source = "bench"};
    char generation[GENERATION_SIZE];
    char key[64];
    _cleanup_close_ int tree = -EBADF;
    int r = driver->import(&bench->storage, key, sizeof(key), &tree, err);
    if (r < 0)
        return r;
    r = fill(directory, tree, err);
    tree = fd_close(tree);
    if (r == 0)
        r = driver->publish(&bench->storage, key, &info, generation, err);
    if (r < 0 && driver->abort(&bench->storage, key, NULL) < 0)
        return error_prefix(err, r, "and the import stays: ");
    return r;
}

static int make(struct bench *bench, uint32_t n, uint64_t *clone_ns, uint64_t *mount_ns,
                struct error *err)
{
    const struct storage_driver *driver = bench->storage.driver;
    char name[CLONE_NAME_SIZE];
    clone_name(n, name);
    const struct clone_request request = {
        .clone = name,
        .template_name = TEMPLATE,
        .root_fd = -EBADF,
        .first_id = bench->first_id,
        .shares_ids = bench->shares_ids,
    };
    uint64_t begin = now_ns();
    int r = driver->clone(&bench->storage, &request, err);
    uint64_t cloned = now_ns();
    if (r == 0)
        r = driver->mount(&bench->storage, name, bench->userns_fd, -EBADF, &bench->mounts[n],
                          err);
    *clone_ns = cloned - begin;
    *mount_ns = now_ns() - cloned;
    return r;
}

static int unmake(struct bench *bench, uint32_t n, uint64_t *destroy_ns, struct error *err)
{
    char name[CLONE_NAME_SIZE];
    clone_name(n, name);
    uint64_t begin = now_ns();
    bench->mounts[n] = fd_close(bench->mounts[n]);
    int r = bench->storage.driver->destroy(&bench->storage, name, err);
    *destroy_ns = now_ns() - begin;
    return r;
}

static void print_samples(const char *name, const uint64_t *ns, uint32_t n)
{
    (void)printf("\"%s\": [", name);
    for (uint32_t i = 0; i < n; i++)
        (void)printf("%s%" PRIu64, i == 0 ? "" : ", ", ns[i]);
    (void)printf("]");
}

/* "FIRST N" */
static int parse_range(char *text, uint32_t *ret_first, uint32_t *ret_n, struct error *err)
{
    char *rest = NULL;
    const char *first = strtok_r(text, " ", &rest);
    int r = parse_u32(first ? first : "", 0, CLONES_MAX - 1, ret_first, "FIRST", err);
    return r < 0 ? r : parse_u32(rest, 1, CLONES_MAX - *ret_first, ret_n, "N", err);
}

static int order_make(struct bench *bench, char *range, struct error *err)
{
    static struct samples samples;
    uint32_t first = 0;
    uint32_t n = 0;
    int r = parse_range(range, &first, &n, err);
    if (r == 0 && bench->userns_fd < 0)
        r = choose_ids(bench, err);
    for (uint32_t i = 0; r == 0 && i < n; i++)
        r = make(bench, first + i, &samples.first[i], &samples.second[i], err);
    if (r < 0)
        return r;
    (void)printf("{");
    print_samples("clone_ns", samples.first, n);
    (void)printf(", ");
    print_samples("mount_ns", samples.second, n);
    (void)printf("}\n");
    return 0;
}

static int order_remove(struct bench *bench, char *range, struct error *err)
{
    static struct samples samples;
    uint32_t first = 0;
    uint32_t n = 0;
    int r = parse_range(range, &first, &n, err);
    for (uint32_t i = 0; r == 0 && i < n; i++)
        r = unmake(bench, first + i, &samples.first[i], err);
    if (r < 0)
        return r;
    (void)printf("{");
    print_samples("destroy_ns", samples.first, n);
    (void)printf("}\n");
    return 0;
}

static int obey(struct bench *bench, char *line, struct error *err)
{
    char *operand = line + strcspn(line, " ");
    if (*operand)
        *operand++ = '\0';
    if (streq(line, "make"))
        return order_make(bench, operand, err);
    if (streq(line, "remove"))
        return order_remove(bench, operand, err);
    if (!streq(line, "import"))
        return fail(err, ERROR_INVALID, EINVAL, "\"%s\" is no order", line);
    int r = import(bench, operand, err);
    if (r == 0)
        (void)printf("{}\n");
    return r;
}

static int serve(struct bench *bench, struct error *err)
{
    _cleanup_free_ char *line = NULL;
    size_t size = 0;
    ssize_t length = 0;
    int r = 0;
    while (r == 0 && (length = getline(&line, &size, stdin)) > 0) {
        line[length - 1] = '\0';
        r = obey(bench, line, err);
        (void)fflush(stdout);
    }
    return r;
}

static int prepare(struct bench *bench, const char *name, const char *state, struct error *err)
{
    const struct storage_driver *driver = NULL;
    const char *colon = strchr(name, ':');
    struct rlimit files;
    /* each clone that is mounted is an fd */
    (void)getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &files);
    for (size_t i = 0; i < CLONES_MAX; i++)
        bench->mounts[i] = -EBADF;
    _cleanup_close_ int state_fd = open(state, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (state_fd < 0)
        return fail(err, ERROR_SYSTEM, errno, "%s: ", state);
    int r = storage_driver_find(name, &driver, err);
    if (r == 0 && colon && !(driver->capabilities & STORAGE_DATASETS))
        r = location_make(colon + 1, err);
    if (r == 0)
        r = storage_open(name, state_fd, &bench->storage, err);
    if (r == 0 && driver->check)
        r = driver->check(&bench->storage, err);
    return r;
}

int main(int argc, char **argv)
{
    static struct bench bench = {
        .storage = {.dir_fd = -EBADF, .import_fd = -EBADF},
        .userns_fd = -EBADF,
    };
    struct error err = {0};
    if (argc != 3) {
        (void)fprintf(stderr, "usage: bench-storage DRIVER[:LOCATION] STATE-DIRECTORY\n");
        return 2;
    }
    (void)umask(077); /* as isolated's */
    int r = prepare(&bench, argv[1], argv[2], &err);
    if (r == 0)
        r = serve(&bench, &err);
    if (r < 0)
        (void)fprintf(stderr, "bench-storage: %s\n", err.text);
    bench.userns_fd = fd_close(bench.userns_fd);
    storage_close(&bench.storage);
    return r < 0;
}
