/* SPDX-License-Identifier: Apache-2.0 */
/* The resident daemon: takes its lock before it touches anything, finishes what an earlier one
 * left, serves the socket until TERM or INT. Sandboxes do not notice its end. Runs as root. */
#include "base/log.h"
#include "base/parse.h"
#include "base/text.h"
#include "daemon/adopt.h"
#include "daemon/apart.h"
#include "daemon/builder.h"
#include "daemon/confine.h"
#include "daemon/decoder.h"
#include "daemon/foreign.h"
#include "daemon/listener.h"
#include "daemon/nursery.h"
#include "daemon/pool.h"
#include "daemon/quarantine.h"
#include "daemon/sandbox.h"
#include "daemon/start.h"
#include "sys/fd.h"
#include "sys/process.h"
#include "sys/userns.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>

#define LOCK_TRIES     50 /* of 10 ms */
#define RECOVER_MIN_US 1000000ULL
#define RECOVER_MAX_US 60000000ULL
#define STOP_MAX_US    10000000ULL
#define STOP_STILL_US  2000000ULL /* in which nothing was finished */
/* who has their range, in ids/: no name of a sandbox, so that no recovery gives it away */
#define DECODER_IDS    "decoders"

/* Before anything else is touched: there is one at a time. */
static int take_lock(struct daemon *daemon, struct error *err)
{
    daemon->resident_lock_fd =
        openat(daemon->run_fd, "resident.lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (daemon->resident_lock_fd < 0)
        return fail(err, ERROR_SYSTEM, errno, "resident.lock: ");
    /* a child of one that has just ended may not have noticed yet */
    int r = flock(daemon->resident_lock_fd, LOCK_EX | LOCK_NB);
    for (int tries = 0; r < 0 && errno == EWOULDBLOCK && tries < LOCK_TRIES; tries++) {
        (void)poll(NULL, 0, 10);
        r = flock(daemon->resident_lock_fd, LOCK_EX | LOCK_NB);
    }
    if (r < 0)
        return fail(err, ERROR_BUSY, EBUSY,
                    "another isolated serves %s already; stop it first, or give this one "
                    "directories of its own",
                    daemon->config.runtime_directory);
    return 0;
}

/* Decoders run with ids that nobody else has: a range of their own, the same after a restart.
 */
static int take_decoder_ids(struct daemon *daemon, struct error *err)
{
    _cleanup_buffer_ struct buffer text = {0};
    char number[16];
    if (file_read_at(daemon->run_fd, "decoder-ids", 16, &text) == 0 && text.data) {
        int known = parse_u32(text.data, 1, UINT32_MAX - USERNS_RANGE, &daemon->decoder_ids,
                              "decoder-ids", err);
        if (known == 0)
            known = ids_reserve(daemon, DECODER_IDS, daemon->decoder_ids, err);
        ids_settle(daemon);
        return known;
    }
    int r = ids_allocate(daemon, DECODER_IDS, &daemon->decoder_ids, err);
    ids_settle(daemon);
    if (r < 0)
        return r;
    (void)snprintf(number, sizeof(number), "%u", daemon->decoder_ids);
    r = file_replace_at(daemon->run_fd, "decoder-ids", number, strlen(number), false);
    return r < 0 ? fail(err, ERROR_SYSTEM, r, "decoder-ids: ") : 0;
}

static void prepare_process(struct daemon *daemon)
{
    const struct rlimit files = {524288, 524288};
    (void)signal(SIGPIPE, SIG_IGN);
    (void)umask(077);
    (void)prctl(PR_SET_DUMPABLE, 0);
    (void)!chdir("/");
    (void)getrlimit(RLIMIT_NOFILE, &daemon->files);
    if (setrlimit(RLIMIT_NOFILE, &files) < 0) {
        const struct rlimit most = {daemon->files.rlim_max, daemon->files.rlim_max};
        (void)setrlimit(RLIMIT_NOFILE, &most);
    }
}

/* What is being taken away is, but not for ever, and not where nothing comes of it. */
static int on_stop_late(sd_event_source *source, uint64_t now_us, void *data)
{
    struct daemon *daemon = data;
    if (daemon->n_finished == daemon->stop_finished || now_us >= daemon->stop_end_us)
        return sd_event_exit(daemon->event, 0);
    daemon->stop_finished = daemon->n_finished;
    int r = sd_event_source_set_time_relative(source, STOP_STILL_US);
    return r < 0 ? r : sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

static void on_idle(struct daemon *daemon)
{
    (void)sd_event_exit(daemon->event, 0);
}

static int begin_stop(struct daemon *daemon)
{
    if (daemon->stopping) /* asked twice */
        return sd_event_exit(daemon->event, 0);
    daemon->stopping = true;
    (void)sd_notify(0, "STOPPING=1");
    listener_close(daemon);
    pool_close(daemon);
    daemon->stop_finished = daemon->n_finished;
    daemon->stop_end_us = time_now_us() + STOP_MAX_US;
    int r = sd_event_add_time_relative(daemon->event, NULL, CLOCK_MONOTONIC, STOP_STILL_US, 0,
                                       on_stop_late, daemon);
    builders_when_idle(daemon, on_idle);
    return r < 0 ? sd_event_exit(daemon->event, 0) : 0;
}

static int on_stop(sd_event_source *source, const struct signalfd_siginfo *info, void *data)
{
    return begin_stop(data);
}

/* A broken file of a template or a group is no reason not to serve the others. */
static void report_problems(const struct daemon *daemon)
{
    for (size_t i = 0; i < daemon->config.n_templates; i++)
        if (*daemon->config.templates[i].problem)
            log_warning("template %s cannot be used: %s", daemon->config.templates[i].name,
                        daemon->config.templates[i].problem);
    for (size_t i = 0; i < daemon->config.n_groups; i++)
        if (*daemon->config.groups[i].problem)
            log_warning("the policy of group %s gives nothing: %s",
                        daemon->config.groups[i].name, daemon->config.groups[i].problem);
}

static bool is_idle(const struct daemon *daemon)
{
    return !daemon->sandboxes && !daemon->sessions && !daemon->apart;
}

/* One that the service manager starts again when somebody connects may go when nothing is to
 * do.
 */
static int on_idle_look(sd_event_source *source, uint64_t now_us, void *data)
{
    struct daemon *daemon = data;
    foreign_reap();
    daemon->idle_s = is_idle(daemon) ? daemon->idle_s + 1 : 0;
    if (daemon->config.idle_exit_s > 0 && daemon->activated && !daemon->stopping &&
        daemon->idle_s > daemon->config.idle_exit_s)
        return begin_stop(daemon);
    (void)sd_event_source_set_time_relative(source, 1000000);
    return sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

static int on_reload(sd_event_source *source, const struct signalfd_siginfo *info, void *data)
{
    struct daemon *daemon = data;
    struct error err = {0};
    struct config config = {0};
    (void)sd_notify(0, "RELOADING=1");
    int r = config_load(daemon->config_file, &config, &err);
    if (r < 0) {
        log_error("reload: %s; the old configuration stays", err.text);
    } else if (!streq(config.state_directory, daemon->config.state_directory) ||
               !streq(config.runtime_directory, daemon->config.runtime_directory) ||
               !streq(config.cgroup, daemon->config.cgroup)) {
        log_error("reload: directories and Cgroup= cannot change while isolated runs; the old "
                  "configuration stays");
        config_clear(&config);
    } else {
        config_clear(&daemon->config);
        daemon->config = config;
        builders_reload(daemon);
        pool_reload(daemon);
        listener_reload(daemon);
        report_problems(daemon);
        log_note("configuration reloaded");
    }
    (void)sd_notify(0, "READY=1");
    return 0;
}

static int watch_signals(struct daemon *daemon)
{
    sigset_t set;
    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGTERM);
    (void)sigaddset(&set, SIGINT);
    (void)sigaddset(&set, SIGHUP);
    if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
        return -errno;
    int r = sd_event_add_signal(daemon->event, NULL, SIGTERM, on_stop, daemon);
    if (r >= 0)
        r = sd_event_add_signal(daemon->event, NULL, SIGINT, on_stop, daemon);
    if (r >= 0)
        r = sd_event_add_signal(daemon->event, NULL, SIGHUP, on_reload, daemon);
    return r >= 0 ? sd_event_set_watchdog(daemon->event, true) : r;
}

static void on_recovered(void *data, int result, struct error *err)
{
    nursery_reap_lost(data);
}

/* What another process that was killed leaves: soon after the start, because an earlier
 * daemon's helpers may still be ending, and now and then. */
static int on_recover(sd_event_source *source, uint64_t now_us, void *data)
{
    struct daemon *daemon = data;
    builder_recover(daemon, on_recovered, daemon);
    daemon->recover_us =
        daemon->recover_us < RECOVER_MAX_US ? daemon->recover_us * 4 : RECOVER_MAX_US;
    (void)sd_event_source_set_time_relative(source, daemon->recover_us);
    return sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

static void recover_repeatedly(struct daemon *daemon)
{
    daemon->recover_us = RECOVER_MIN_US;
    builder_recover(daemon, NULL, NULL);
    if (sd_event_add_time_relative(daemon->event, &daemon->recover_timer, CLOCK_MONOTONIC,
                                   daemon->recover_us, 0, on_recover, daemon) < 0)
        log_warning("recovery: no timer");
}

/* Never later than it would be: who has one after the other quarantined keeps nothing from
 * being tried again. */
void resident_recover_soon(struct daemon *daemon)
{
    if (!daemon->recover_timer || daemon->recover_us == RECOVER_MIN_US)
        return;
    daemon->recover_us = RECOVER_MIN_US;
    (void)sd_event_source_set_time_relative(daemon->recover_timer, RECOVER_MIN_US);
}

static int resident_open(struct daemon *daemon, struct error *err)
{
    int r = confine_machine(err);
    if (r == 0)
        r = daemon_open(daemon, err);
    if (r == 0)
        r = take_lock(daemon, err);
    if (r == 0)
        r = daemon_load_program(daemon, "isolate-decoder", &daemon->decoder_program_fd, err);
    if (r == 0)
        r = take_decoder_ids(daemon, err);
    if (r == 0)
        r = recover_after_boot(daemon, err);
    if (r < 0)
        return r;
    r = sd_event_new(&daemon->event);
    if (r >= 0)
        r = watch_signals(daemon);
    if (r < 0)
        return fail(err, ERROR_SYSTEM, r, "event loop: ");
    r = builders_start(daemon, err);
    if (r < 0)
        return r;
    pool_open(daemon); /* it takes fresh clones over */
    r = adopt_all(daemon, err);
    if (r < 0)
        return r;
    recover_repeatedly(daemon);
    report_problems(daemon);
    if (sd_event_add_time_relative(daemon->event, NULL, CLOCK_MONOTONIC, 1000000, 100000,
                                   on_idle_look, daemon) < 0)
        log_warning("IdleExit=: no timer");
    return listener_open(daemon, err);
}

int resident_main(void)
{
    struct error err = {0};
    struct daemon daemon;
    daemon_init(&daemon);
    daemon.resident = true;
    prepare_process(&daemon);
    foreign_open();
    int r = resident_open(&daemon, &err);
    if (r == 0) {
        (void)sd_notify(0, "READY=1");
        r = sd_event_loop(daemon.event);
        if (r < 0)
            (void)fail(&err, ERROR_SYSTEM, r, "event loop: ");
    }
    if (r < 0)
        log_error("%s", err.text);
    listener_close(&daemon);
    decoder_close_all(&daemon);
    sandbox_close_fds(&daemon);
    foreign_close_all();
    apart_forget_all(&daemon);
    builders_stop(&daemon);
    pool_free(&daemon);
    sandbox_forget_ended(&daemon);
    quarantine_forget(&daemon);
    daemon.callers_rest = sd_event_source_unref(daemon.callers_rest);
    daemon.recover_timer = sd_event_source_unref(daemon.recover_timer);
    daemon_close(&daemon);
    return r < 0 ? 1 : 0;
}
