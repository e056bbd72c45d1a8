/* SPDX-License-Identifier: Apache-2.0 */
/* Attack 19 (CVE-2022-29162): rights that the command should not begin with, or can win by
 * executing a set-id program or one with file capabilities: `privileges [PROGRAM…]`, where each
 * PROGRAM is this one again under another name, run as the user 1000 of the sandbox. */
#include "attempt.h"

#include <inttypes.h>
#include <sys/prctl.h>
#include <sys/stat.h>

#define HARMLESS 0x00000000000405fbUL /* DESIGN.md, section 5: the default of uid 0 */

static uint64_t status_value(const char *key, int base)
{
    char line[256];
    size_t length = strlen(key);
    FILE *status = fopen("/proc/self/status", "re");
    uint64_t value = UINT64_MAX;
    while (status && fgets(line, sizeof(line), status))
        if (strncmp(line, key, length) == 0)
            value = strtoull(line + length, NULL, base);
    if (status)
        (void)fclose(status);
    return value;
}

static long bad(int is_bad)
{
    return is_bad ? 0 : fail_with(EPERM);
}

static long inheritable(void)
{
    return bad(status_value("CapInh:", 16) != 0);
}

static long ambient(void)
{
    return bad(status_value("CapAmb:", 16) != 0);
}

static long beyond_default(void)
{
    return bad((status_value("CapEff:", 16) | status_value("CapPrm:", 16) |
                status_value("CapBnd:", 16)) &
               ~HARMLESS);
}

static long rights_of_a_user(void)
{
    return bad(geteuid() != 0 && (status_value("CapEff:", 16) | status_value("CapPrm:", 16)));
}

static long new_privileges(void)
{
    return bad(status_value("NoNewPrivs:", 10) != 1);
}

static long no_filter(void)
{
    return bad(status_value("Seccomp:", 10) != 2);
}

static long keeps_groups(void)
{
    gid_t groups[64];
    return bad(getgroups(64, groups) > 0 && geteuid() != 0);
}

static long raise_ambient(void)
{
    return prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, 21 /* CAP_SYS_ADMIN */, 0, 0);
}

static long by_program(const void *data)
{
    int status = 0;
    pid_t pid = fork();
    if (pid == 0) {
        char *const argv[] = {(char *)data, (char *)"--rights", NULL};
        if (setgid(1000) < 0 || setuid(1000) < 0)
            _exit(2);
        (void)execv(data, argv);
        _exit(errno == EPERM || errno == EACCES ? 1 : 2);
    }
    if (pid < 0 || waitpid(pid, &status, 0) < 0)
        return -1;
    return WIFEXITED(status) && WEXITSTATUS(status) == 0
               ? 0
               : fail_with(WEXITSTATUS(status) == 1 ? EPERM : EIO);
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "--rights") == 0)
        return geteuid() == 0 || getegid() == 0 || status_value("CapEff:", 16) != 0 ? 0 : 1;
    attempt("inheritable", inheritable);
    attempt("ambient", ambient);
    attempt("beyond_default", beyond_default);
    attempt("user_with_rights", rights_of_a_user);
    attempt("may_gain_rights", new_privileges);
    attempt("no_filter", no_filter);
    attempt("foreign_groups", keeps_groups);
    attempt("raise_ambient", raise_ambient);
    for (int i = 1; i < argc; i++) {
        const char *slash = strrchr(argv[i], '/');
        attempt_with(slash ? slash + 1 : argv[i], by_program, argv[i]);
    }
    return 0;
}
