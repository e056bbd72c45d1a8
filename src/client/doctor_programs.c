/* SPDX-License-Identifier: Apache-2.0 */
/* Programs: the ones that are part of isolate, and other people's that make more possible. Runs
 * in isolate-ctl as the caller; looks at files. As root it also executes, without arguments of
 * anybody's, those that are only the front of something else. ISOLATE_LIBEXEC_DIR, the
 * caller's, only says where to look. */
#include "client/doctor.h"

#include "base/text.h"
#include "sys/program.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>

/* Where the daemon's programs are found under systemd; the caller's PATH does not count. */
static const char *const DIRECTORIES[] = {
    "/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin",
};

#define ANSWER_MS  10000
#define OUTPUT_MAX (1U << 20)

/* A row of the check's name, the programs any of which will do, and Debian's package; and where
 * having it is not enough, a question that only fails where nobody answers, and what to do. */
static const struct program {
    const char *name;
    const char *programs[2];
    const char *package;
    const char *question[6];
    const char *remedy;
} PROGRAMS[] = {
    {.name = "mmdebstrap", .programs = {"mmdebstrap"}, .package = "mmdebstrap"},
    {.name = "bwrap", .programs = {"bwrap"}, .package = "bubblewrap"},
    {.name = "lxc", .programs = {"lxc-start"}, .package = "lxc"},
    {.name = "nspawn", .programs = {"systemd-nspawn"}, .package = "systemd-container"},
    {.name = "oci-runtime", .programs = {"runc", "crun"}, .package = "runc"},
    {.name = "skopeo", .programs = {"skopeo"}, .package = "skopeo"},
    {.name = "zfs",
     .programs = {"zfs"},
     .package = "zfsutils-linux (contrib)",
     .question = {"zpool", "list", "-H", "-o", "name"},
     .remedy = "load its module: modprobe zfs; or, with zfs-fuse: systemctl start zfs-fuse"},
    {.name = "btrfs", .programs = {"btrfs"}, .package = "btrfs-progs"},
    {.name = "mke2fs", .programs = {"mke2fs"}, .package = "e2fsprogs"},
    {.name = "pasta", .programs = {"pasta"}, .package = "passt"},
    {.name = "uidmap", .programs = {"newuidmap"}, .package = "uidmap"},
    {.name = "xauth", .programs = {"xauth"}, .package = "xauth"},
};

/* 0, or why path cannot be executed: -errno. */
static int try_program(const char *path)
{
    struct stat info;
    if (stat(path, &info) < 0)
        return -errno;
    if (!S_ISREG(info.st_mode))
        return -ENOEXEC;
    return faccessat(AT_FDCWD, path, X_OK, AT_EACCESS) < 0 ? -errno : 0;
}

static bool find_program(const char *program, char *ret, size_t size)
{
    for (size_t i = 0; i < ELEMENTS(DIRECTORIES); i++) {
        (void)snprintf(ret, size, "%s/%s", DIRECTORIES[i], program);
        if (try_program(ret) == 0)
            return true;
    }
    return false;
}

static int give_up(void *data, uint64_t running_ms, struct error *err)
{
    return running_ms < ANSWER_MS
               ? 0
               : fail(err, ERROR_SYSTEM, ETIMEDOUT, "no answer for %d s", ANSWER_MS / 1000);
}

/* Whether what the program is the front of answers; without a question it does. */
static int ask(const struct program *program, struct error *err)
{
    const struct program_watch watch = {give_up, NULL};
    _cleanup_buffer_ struct buffer ignored = {0};
    return !program->question[0] ? 0
                                 : program_capture_watched(program->question, OUTPUT_MAX,
                                                           -EBADF, &watch, &ignored, err);
}

static bool find_any(const struct program *program, char *ret, size_t size)
{
    for (size_t i = 0; i < ELEMENTS(program->programs) && program->programs[i]; i++)
        if (find_program(program->programs[i], ret, size))
            return true;
    return false;
}

void doctor_check_program(const struct doctor *doctor, struct doctor_check *check)
{
    char path[128];
    struct error err = {0};
    const struct program *program = PROGRAMS;
    while (program < PROGRAMS + ELEMENTS(PROGRAMS) - 1 && !streq(program->name, check->name))
        program++;
    const char *const *names = program->programs;
    if (!find_any(program, path, sizeof(path))) {
        doctor_bad(check, "no %s%s%s; it would enable: %s", names[0], names[1] ? " or " : "",
                   names[1] ? names[1] : "", check->what);
        doctor_remedy(check, "apt install %s", program->package);
    } else if (doctor->root && ask(program, &err) < 0) {
        doctor_bad(check, "%s is there, but nobody answers it: %.150s", path, err.text);
        doctor_remedy(check, "%s", program->remedy);
    } else {
        doctor_ok(check, "%s: %s", path, check->what);
    }
}

void doctor_check_part(const struct doctor *doctor, struct doctor_check *check)
{
    char path[PATH_MAX];
    (void)snprintf(path, sizeof(path), "%s/%s", doctor->libexec, check->name);
    int r = try_program(path);
    if (r == 0) {
        doctor_ok(check, "%.250s", path);
        return;
    }
    doctor_bad(check, "%.180s: %s", path, strerror(-r));
    if (r == -ENOENT)
        doctor_remedy(check,
                      "install isolate again (meson install), or set "
                      "ISOLATE_LIBEXEC_DIR= to the directory that has %s",
                      check->name);
    else if (r == -EACCES)
        doctor_remedy(check, "chmod 0755 %.230s", path);
    else
        doctor_remedy(check, "put the program %s there again (meson install)", check->name);
}
