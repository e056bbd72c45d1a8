/* SPDX-License-Identifier: Apache-2.0 */
/* init/accounts.c, environment.c: a sandbox's own passwd and group, and the user that a caller
 * names. No id is outside of the sandbox's. */
#include "target.h"

#include "base/text.h"
#include "init/init.h"
#include "sys/userns.h"

#include <fcntl.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>

const bool target_needs_walls = false;

/* The sandbox's root is the target's directory. */
int __wrap_open64(const char *path, int flags, ...);
int __real_open64(const char *path, int flags, ...);
int __wrap_open64(const char *path, int flags, ...)
{
    va_list arguments;
    va_start(arguments, flags);
    mode_t mode = flags & O_CREAT ? va_arg(arguments, mode_t) : 0;
    va_end(arguments);
    if (text_after(path, "/etc/") || streq(path, "/home"))
        return openat(target_directory_fd(), path + 1, flags, mode);
    return __real_open64(path, flags, mode);
}

static void check_environment(const struct account *account, struct input *input)
{
    size_t n = 0;
    _cleanup_texts_ char **texts = input_texts(input, 16, &n);
    for (size_t i = 0; i < n; i++)
        if (!strchr(texts[i], '=') || *texts[i] == '=')
            return; /* isolated has seen to that */
    const struct start start = {.n_env = (uint32_t)n, .env = (const char **)texts};
    char **variables = init_environment(&start, account);
    MUST(variables);
    for (size_t i = 0; variables[i]; i++)
        for (size_t j = 0; j < i; j++)
            MUST(strcspn(variables[i], "=") != strcspn(variables[j], "=") ||
                 strncmp(variables[i], variables[j], strcspn(variables[i], "=")) != 0);
    texts_free(variables);
}

void target_run(const uint8_t *data, size_t size)
{
    struct input input = {data, size};
    struct error err = {0};
    _cleanup_(account_clear) struct account account = {0};
    uint32_t groups[START_GROUPS];
    uint32_t n = input_below(&input, START_GROUPS);
    uint32_t uid = 0;
    uint32_t gid = 0;
    _cleanup_free_ char *user = input_text(&input);
    _cleanup_free_ char *passwd = input_text(&input);
    _cleanup_free_ char *group = input_text(&input);
    target_sweep();
    (void)mkdirat(target_directory_fd(), "etc", 0700);
    (void)mkdirat(target_directory_fd(), "home", 0700);
    target_write("etc/passwd", passwd, strlen(passwd));
    target_write("etc/group", group, strlen(group));
    if (account_resolve(user, &uid, &gid, &err) == 0)
        MUST(uid < USERNS_RANGE && gid < USERNS_RANGE);
    else
        MUST(err.code != ERROR_NONE && *err.text);
    if (account_by_uid(uid, &account, &err) == 0) {
        MUST(account.home[0] == '/' && account.shell[0] == '/' && account.gid < USERNS_RANGE);
        check_environment(&account, &input);
    }
    uint32_t before = n;
    if (account_groups(user, groups, &n) == 0)
        MUST(n >= before && n <= START_GROUPS);
    if (!strpbrk(user, "/:\n") && *user && *user != '.' && strlen(user) < 64)
        (void)!account_ensure(1000, 1000, user, &err);
}
