/* SPDX-License-Identifier: Apache-2.0 */
/* `isolate doctor`: whether this machine can run sandboxes, found by trying each thing, and
 * what is left over of earlier ones. Part of isolate-ctl; runs as whoever calls it, best as
 * root. Every trial takes place in a child's own namespaces, in a temporary directory or in a
 * cgroup of its own, and leaves nothing behind. */
#pragma once

#include "base/error.h"
#include "spec/config.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum doctor_result {
    DOCTOR_OK,
    DOCTOR_MISSING,  /* needed */
    DOCTOR_OPTIONAL, /* optional and missing */
    DOCTOR_LEFTOVER, /* of a sandbox that is gone */
};

struct doctor_check {
    const char *name; /* stable, for programs: "cgroup2"; static storage */
    const char *what; /* for people; static storage */
    bool needed;
    enum doctor_result result;
    char detail[ERROR_TEXT_MAX];
    char remedy[ERROR_TEXT_MAX]; /* what to do, "" where result is DOCTOR_OK */
};

/* `isolate doctor [--json]`: prints the checks on stdout. Returns the exit status: 0 all that
 * is needed is there and nothing is left over, 1 not so, 125 wrong usage or doctor itself
 * failed. */
int doctor_main(int argc, char **argv);

/* Runs all checks, the leftovers last. Gives an array for the caller to free(). As an ordinary
 * user it leaves out what takes root; the check "root" then names what was left out. Blocks
 * SIGHUP, SIGINT and SIGTERM meanwhile, at most some seconds. */
int doctor_run(struct doctor_check **ret, size_t *ret_n, struct error *err) _must_check_;

/* Whether nothing needed is missing and nothing is left over. */
bool doctor_is_well(const struct doctor_check *checks, size_t n);

/* What isolated knows: a check of each storage elsewhere, and behind them one of
 * DOCTOR_LEFTOVER for each thing that is left over; in an array for the caller to free(). An
 * error is reported as "not known", which is not well; so where no daemon is meant to run, the
 * answer is none. */
int doctor_ask(struct doctor_check **ret, size_t *ret_n, struct error *err) _must_check_;

/* ---- between the files doctor*.c ---- */

struct doctor {
    struct config config;
    struct error config_error; /* code ERROR_NONE, or why config holds the defaults */
    const char *libexec;       /* where the installed parts are */
    bool root;                 /* with the capabilities that isolated needs */
    uint32_t trial_id; /* first of the 65536 ids that trials use: the last range, rarely busy */
    char unchecked[200]; /* names of checks that were left out for want of root */
};

/* Fills check; a failure is DOCTOR_MISSING where the check is needed, else DOCTOR_OPTIONAL. */
void doctor_ok(struct doctor_check *check, const char *format, ...) _printf_(2, 3);
void doctor_bad(struct doctor_check *check, const char *format, ...) _printf_(2, 3);
void doctor_remedy(struct doctor_check *check, const char *format, ...) _printf_(2, 3);

/* Runs body in a child with these CLONE_NEW* flags and gives back what it returned, error
 * included. In a new user namespace (always, where the caller is not root) the child is root of
 * it: mapped to the ids from trial_id on, or to the caller alone. Mounts made in a new mount
 * namespace do not reach the host. A child that hangs is killed after 10 seconds. */
int doctor_child(const struct doctor *doctor, uint64_t flags,
                 int (*body)(const void *argument, struct error *err), const void *argument,
                 struct error *err) _must_check_;

/* ---- the checks ---- */

#define DOCTOR_PROBE(name)                                                                     \
    void doctor_check_##name(const struct doctor *doctor, struct doctor_check *check)

DOCTOR_PROBE(root); /* doctor_run.c */
DOCTOR_PROBE(config);
DOCTOR_PROBE(kernel); /* doctor_kernel.c */
DOCTOR_PROBE(userns);
DOCTOR_PROBE(namespaces);
DOCTOR_PROBE(calls);
DOCTOR_PROBE(openat2);
DOCTOR_PROBE(pidfd);
DOCTOR_PROBE(seccomp);
DOCTOR_PROBE(memfd);
DOCTOR_PROBE(files);
DOCTOR_PROBE(proc); /* doctor_mount.c */
DOCTOR_PROBE(mount_api);
DOCTOR_PROBE(overlay);
DOCTOR_PROBE(tmpfs);
DOCTOR_PROBE(devpts);
DOCTOR_PROBE(state_directory); /* doctor_storage.c */
DOCTOR_PROBE(runtime_directory);
DOCTOR_PROBE(cgroup2); /* doctor_cgroup.c */
DOCTOR_PROBE(clone_into_cgroup);
DOCTOR_PROBE(cgroup_kill);
DOCTOR_PROBE(controller); /* check->name is "cgroup-" and the controller */
DOCTOR_PROBE(ids);        /* doctor_etc.c */
DOCTOR_PROBE(program);    /* doctor_programs.c; check->name is in its table */
DOCTOR_PROBE(part);       /* check->name is the file's */
DOCTOR_PROBE(daemon);     /* doctor_answers.c */

#undef DOCTOR_PROBE
