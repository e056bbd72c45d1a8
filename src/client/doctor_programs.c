/* SPDX-License-Identifier: Apache-2.0 */
/* Programs: the ones that are part of isolate, and other people's that make more possible. Runs
 * in isolate-ctl as the caller; looks at files, executes none. ISOLATE_LIBEXEC_DIR, the
 * caller's, only says where to look. */
#include "client/doctor.h"

#include "base/text.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>

/* Where the daemon's programs are found under systemd; the caller's PATH does not count. */
static const char *const DIRECTORIES[] = {
    "/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin",
};

/* A row of the check's name, the programs any of which will do, and Debian's package. */
static const struct {
    const char *name;
    const char *programs[2];
    const char *package;
} PROGRAMS[] = {
    {"mmdebstrap", {"mmdebstrap"}, "mmdebstrap"},
    {"bwrap", {"bwrap"}, "bubblewrap"},
    {"lxc", {"lxc-execute"}, "lxc"},
    {"nspawn", {"systemd-nspawn"}, "systemd-container"},
    {"oci-runtime", {"crun", "runc"}, "crun"},
    {"skopeo", {"skopeo"}, "skopeo"},
    {"zfs", {"zfs"}, "zfsutils-linux (contrib)"},
    {"btrfs", {"btrfs"}, "btrfs-progs"},
    {"pasta", {"pasta", "passt"}, "passt"},
    {"xauth", {"xauth"}, "xauth"},
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

void doctor_check_program(const struct doctor *doctor, struct doctor_check *check)
{
    char path[128];
    size_t i = 0;
    while (i < ELEMENTS(PROGRAMS) - 1 && !streq(PROGRAMS[i].name, check->name))
        i++;
    const char *const *programs = PROGRAMS[i].programs;
    for (size_t j = 0; j < ELEMENTS(PROGRAMS[i].programs) && programs[j]; j++)
        if (find_program(programs[j], path, sizeof(path))) {
            doctor_ok(check, "%s: %s", path, check->what);
            return;
        }
    doctor_bad(check, "no %s%s%s; it would enable: %s", programs[0], programs[1] ? " or " : "",
               programs[1] ? programs[1] : "", check->what);
    doctor_remedy(check, "apt install %s", PROGRAMS[i].package);
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
