/* SPDX-License-Identifier: Apache-2.0 */
/* What each step of building a sandbox costs, in isolated's own code: calls, in the order of
 * daemon/sandbox_build.c, what isolated calls, waits for init's READY, and destroys the sandbox
 * again; then a posix_spawn of /bin/true as the measure. All in one loop of one process, so
 * that the start of the client and of isolated does not count. Runs as root with a
 * configuration of its own (ISOLATE_CONFIG), whose templates are named on the command line and
 * take turns. */
#include "base/parse.h"
#include "base/text.h"
#include "daemon/daemon.h"
#include "daemon/park.h"
#include "engine/engine.h"
#include "paths.h"
#include "spec/message.h"
#include "sys/cgroup.h"
#include "sys/process.h"

#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#define TEMPLATES_MAX 8
#define READY_MS      10000

enum phase {
    PHASE_RECORD,  /* an id range and the record: files on a tmpfs */
    PHASE_CLONE,   /* the clone's directories and clone.json */
    PHASE_CGROUP,  /* the leaf */
    PHASE_SPAWN,   /* clone3 with all namespaces, id maps */
    PHASE_MOUNT,   /* layers id-mapped, overlay mounted */
    PHASE_BUILD,   /* device nodes, message to init */
    PHASE_READY,   /* init: exec, mounts, pivot_root, masks, until its READY is read */
    PHASE_KILL,    /* SIGKILL until the namespace is reaped */
    PHASE_UNGROUP, /* the leaf goes */
    PHASE_DESTROY, /* the clone goes */
    PHASE_FORGET,  /* id range and record go */
    _PHASES
};

static const char *const phase_names[_PHASES] = {
    [PHASE_RECORD] = "record",   [PHASE_CLONE] = "clone",   [PHASE_CGROUP] = "cgroup",
    [PHASE_SPAWN] = "spawn",     [PHASE_MOUNT] = "mount",   [PHASE_BUILD] = "build",
    [PHASE_READY] = "ready",     [PHASE_KILL] = "kill",     [PHASE_UNGROUP] = "ungroup",
    [PHASE_DESTROY] = "destroy", [PHASE_FORGET] = "forget",
};

/* Rows of the result: the phases and sums of them, which are sorted on their own. */
enum {
    ROW_BUILDING = _PHASES, /* clone to ready: what the goal is about */
    ROW_WITH_RECORD,        /* record to ready */
    ROW_REMOVING,           /* kill to forget */
    _ROWS
};

static const char *const row_names[_ROWS - _PHASES] = {"building", "with record", "removing"};

struct bench {
    struct daemon daemon;
    struct storage storage;
    const struct engine *engine;
    const char *templates[TEMPLATES_MAX];
    size_t n_templates;
    uint32_t rounds;
    uint32_t warmup;
    uint64_t *ns[TEMPLATES_MAX][_ROWS];
    uint64_t *true_ns;
};

/* One sandbox while it is measured. */
struct subject {
    struct record record;
    int lock_fd;
    int cgroup_fd;
    struct engine_instance instance;
    uint64_t at; /* when the phase that runs has begun */
    uint64_t spent[_PHASES];
};

static uint64_t now_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000ULL + (uint64_t)now.tv_nsec;
}

static void phase_end(struct subject *subject, enum phase phase)
{
    uint64_t now = now_ns();
    subject->spent[phase] = now - subject->at;
    subject->at = now;
}

static int write_record(struct bench *bench, struct subject *subject, const char *template_name,
                        struct error *err)
{
    struct record *record = &subject->record;
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    (void)snprintf(record->id, sizeof(record->id), "%.63s_%019" PRIu64, template_name,
                   (uint64_t)now.tv_sec * 1000000000U + (uint64_t)now.tv_nsec);
    (void)snprintf(record->template_name, sizeof(record->template_name), "%s", template_name);
    (void)snprintf(record->state, sizeof(record->state), "building");
    (void)snprintf(record->storage, sizeof(record->storage), "%s", bench->storage.driver->name);
    (void)snprintf(record->engine, sizeof(record->engine), "%s", bench->engine->name);
    int r = ids_allocate(&bench->daemon, record->id, &record->first_id, err);
    if (r < 0)
        return r;
    _cleanup_close_ int records = records_running(&bench->daemon, err);
    return records < 0 ? records : record_write(records, record, &subject->lock_fd, err);
}

static int wait_ready(struct subject *subject, struct error *err)
{
    struct message message;
    _cleanup_fd_list_ struct fd_list fds = {0};
    struct pollfd park = {.fd = subject->instance.park_fd, .events = POLLIN};
    if (poll(&park, 1, READY_MS) != 1)
        return fail(err, ERROR_SYSTEM, ETIMEDOUT, "init does not answer: ");
    int r = message_receive(subject->instance.park_fd, &message, MSG_DONTWAIT, &fds);
    if (r <= 0)
        return fail(err, ERROR_SYSTEM, r < 0 ? r : ECONNRESET, "init: ");
    if (message.type == MESSAGE_READY)
        return 0;
    message_to_error(&message, err);
    return -EPROTO;
}

static int build(struct bench *bench, struct subject *subject, const char *template_name,
                 struct error *err)
{
    const struct storage_driver *driver = bench->storage.driver;
    struct record *record = &subject->record;
    _cleanup_close_ int mount = -EBADF;
    subject->at = now_ns();
    int r = write_record(bench, subject, template_name, err);
    phase_end(subject, PHASE_RECORD);
    struct clone_request clone = {
        .clone = record->id,
        .template_name = template_name,
        .root_fd = -EBADF,
        .first_id = record->first_id,
    };
    r = r < 0 ? r : driver->clone(&bench->storage, &clone, err);
    phase_end(subject, PHASE_CLONE);
    if (r < 0)
        return r;
    subject->cgroup_fd = cgroup_create(bench->daemon.cgroup_fd, record->id);
    phase_end(subject, PHASE_CGROUP);
    if (subject->cgroup_fd < 0)
        return fail(err, ERROR_SYSTEM, subject->cgroup_fd, "cgroup of %s: ", record->id);
    _cleanup_close_ int listener = park_listen(&bench->daemon, record->id, err);
    struct engine_shape shape = {
        .first_id = record->first_id,
        .cgroup_fd = subject->cgroup_fd,
        .init_fd = bench->daemon.init_fd,
        .listen_fd = listener,
        .nursery_fd = -EBADF,
    };
    if (listener < 0)
        return listener;
    r = bench->engine->spawn(&shape, &subject->instance, err);
    phase_end(subject, PHASE_SPAWN);
    if (r == 0)
        r = driver->mount(&bench->storage, record->id, subject->instance.userns_fd, -EBADF,
                          &mount, err);
    phase_end(subject, PHASE_MOUNT);
    if (r == 0)
        r = bench->engine->build(&subject->instance, &shape, mount, err);
    mount = fd_close(mount);
    phase_end(subject, PHASE_BUILD);
    if (r == 0)
        r = wait_ready(subject, err);
    phase_end(subject, PHASE_READY);
    return r;
}

/* In the order of sandbox_end_processes and recover_destroy; goes on after a failure. */
static int take_apart(struct bench *bench, struct subject *subject, struct error *err)
{
    struct record *record = &subject->record;
    int r = 0;
    subject->at = now_ns();
    if (subject->instance.pid > 0) {
        (void)!pidfd_signal(subject->instance.pidfd, SIGKILL);
        (void)waitpid(subject->instance.pid, NULL, 0);
    }
    engine_instance_clear(&subject->instance);
    phase_end(subject, PHASE_KILL);
    if (cgroup_destroy(bench->daemon.cgroup_fd, record->id, 5000) < 0)
        r = fail(err, ERROR_BUSY, EBUSY, "cgroup of %s stays", record->id);
    subject->cgroup_fd = fd_close(subject->cgroup_fd);
    phase_end(subject, PHASE_UNGROUP);
    int destroyed = bench->storage.driver->destroy(&bench->storage, record->id, err);
    phase_end(subject, PHASE_DESTROY);
    if (destroyed == 0)
        destroyed = ids_free(&bench->daemon, record->id, record->first_id, err);
    if (destroyed == 0)
        destroyed = park_remove(&bench->daemon, record->id, err);
    _cleanup_close_ int records = records_running(&bench->daemon, err);
    if (records >= 0 && record_remove(records, record->id) < 0)
        r = fail(err, ERROR_SYSTEM, EIO, "record of %s stays", record->id);
    subject->lock_fd = fd_close(subject->lock_fd);
    phase_end(subject, PHASE_FORGET);
    return destroyed < 0 ? destroyed : r;
}

static int spawn_true(uint64_t *ret_ns, struct error *err)
{
    char *const argv[] = {(char *)"true", NULL};
    char *const environment[] = {NULL};
    pid_t pid = 0;
    int status = 0;
    uint64_t start = now_ns();
    int r = posix_spawn(&pid, "/bin/true", NULL, NULL, argv, environment);
    if (r == 0 && waitpid(pid, &status, 0) < 0)
        r = errno;
    *ret_ns = now_ns() - start;
    return r != 0 || status != 0 ? fail(err, ERROR_SYSTEM, r ? r : EIO, "/bin/true: ") : 0;
}

static void keep(struct bench *bench, size_t template_at, uint32_t sample,
                 const struct subject *subject)
{
    uint64_t sums[_ROWS - _PHASES] = {0};
    for (int p = 0; p < _PHASES; p++) {
        uint64_t ns = subject->spent[p];
        bench->ns[template_at][p][sample] = ns;
        if (p >= PHASE_CLONE && p <= PHASE_READY)
            sums[ROW_BUILDING - _PHASES] += ns;
        sums[(p <= PHASE_READY ? ROW_WITH_RECORD : ROW_REMOVING) - _PHASES] += ns;
    }
    for (int row = _PHASES; row < _ROWS; row++)
        bench->ns[template_at][row][sample] = sums[row - _PHASES];
}

static int measure(struct bench *bench, struct error *err)
{
    for (uint32_t round = 0; round < bench->warmup + bench->rounds; round++) {
        for (size_t t = 0; t < bench->n_templates; t++) {
            struct subject subject = {
                .lock_fd = -EBADF,
                .cgroup_fd = -EBADF,
                .instance = ENGINE_INSTANCE_NONE,
            };
            struct error first = {0};
            int r = build(bench, &subject, bench->templates[t], &first);
            int ended = take_apart(bench, &subject, r < 0 ? NULL : &first);
            if (r < 0 || ended < 0) {
                *err = first;
                return r < 0 ? r : ended;
            }
            if (round >= bench->warmup)
                keep(bench, t, round - bench->warmup, &subject);
        }
        uint64_t ns = 0;
        int r = spawn_true(&ns, err);
        if (r < 0)
            return r;
        if (round >= bench->warmup)
            bench->true_ns[round - bench->warmup] = ns;
    }
    return 0;
}

static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static double p50_us(const struct bench *bench, uint64_t *ns)
{
    qsort(ns, bench->rounds, sizeof(*ns), compare);
    return (double)ns[(bench->rounds - 1) / 2] / 1000;
}

static const char *row_name(int row)
{
    return row < _PHASES ? phase_names[row] : row_names[row - _PHASES];
}

static void print_json(const struct bench *bench)
{
    (void)printf("{\"rounds\": %u, \"posix_spawn_p50_us\": %.1f, \"templates\": {",
                 bench->rounds, p50_us(bench, bench->true_ns));
    for (size_t t = 0; t < bench->n_templates; t++) {
        (void)printf("%s\n \"%s\": {", t == 0 ? "" : ",", bench->templates[t]);
        for (int row = 0; row < _ROWS; row++)
            (void)printf("%s\"%s\": %.1f", row == 0 ? "" : ", ", row_name(row),
                         p50_us(bench, bench->ns[t][row]));
        (void)printf("}");
    }
    (void)printf("\n}}\n");
}

static int prepare(struct bench *bench, struct error *err)
{
    daemon_init(&bench->daemon);
    if (!bench->daemon.config_file)
        return fail(err, ERROR_INVALID, EINVAL, "set ISOLATE_CONFIG to an instance of its own");
    int r = daemon_open(&bench->daemon, err);
    if (r == 0)
        r = storage_open(NULL, bench->daemon.state_fd, &bench->storage, err);
    if (r == 0)
        r = engine_find(NULL, &bench->engine, err);
    bench->true_ns = calloc(bench->rounds, sizeof(uint64_t));
    for (size_t t = 0; t < bench->n_templates; t++)
        for (int row = 0; row < _ROWS; row++)
            bench->ns[t][row] = calloc(bench->rounds, sizeof(uint64_t));
    return r;
}

int main(int argc, char **argv)
{
    struct bench bench = {.storage = {.dir_fd = -EBADF}};
    struct error err = {0};
    if (argc < 4 || argc - 3 > TEMPLATES_MAX) {
        (void)fprintf(stderr, "usage: bench-build-sandbox ROUNDS WARMUP TEMPLATE…\n");
        return 2;
    }
    int r = parse_u32(argv[1], 1, 1000000, &bench.rounds, "ROUNDS", &err);
    if (r == 0)
        r = parse_u32(argv[2], 0, 1000000, &bench.warmup, "WARMUP", &err);
    for (int i = 3; i < argc; i++)
        bench.templates[bench.n_templates++] = argv[i];
    (void)signal(SIGPIPE, SIG_IGN);
    (void)umask(077);
    if (r == 0)
        r = prepare(&bench, &err);
    if (r == 0)
        r = measure(&bench, &err);
    if (r == 0)
        print_json(&bench);
    else
        (void)fprintf(stderr, "bench-build-sandbox: %s\n", err.text);
    storage_close(&bench.storage);
    daemon_close(&bench.daemon);
    return r < 0;
}
