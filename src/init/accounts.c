/* SPDX-License-Identifier: Apache-2.0 */
/* The sandbox's own passwd and group files, read without a name service. Runs as root of the
 * sandbox's user namespace; the files are hostile: bounded in size, regular, and what they say
 * decides nothing outside of the sandbox. Source: passwd(5), group(5). */
#include "base/parse.h"
#include "base/text.h"
#include "init/init.h"
#include "sys/fd.h"
#include "sys/userns.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#define DATABASE_MAX (4U << 20)

void account_clear(struct account *account)
{
    freep(&account->name);
    freep(&account->home);
    freep(&account->shell);
}

/* Reads a database of the sandbox; a missing one is empty. */
static int database_read(const char *path, struct buffer *ret)
{
    /* O_NONBLOCK: a fifo in its place must not stop us */
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    struct stat st;
    struct statfs fs;
    if (fd < 0)
        return errno == ENOENT ? 0 : -errno;
    /* a link into proc is no database either, and reading some of those has effects */
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || fstatfs(fd, &fs) < 0 ||
        fs.f_type == PROC_SUPER_MAGIC || fs.f_type == SYSFS_MAGIC)
        return -EINVAL;
    return fd_read_all(fd, DATABASE_MAX, ret);
}

/* Splits the line at *at into n fields by ':' and moves *at to the next line. False at the end.
 */
static bool next_line(char **at, char **fields, size_t n)
{
    char *line = *at;
    if (!line || !*line)
        return false;
    char *end = strchr(line, '\n');
    if (end)
        *end = '\0';
    *at = end ? end + 1 : NULL;
    for (size_t i = 0; i < n; i++)
        fields[i] = line ? strsep(&line, ":") : (char *)"";
    return true;
}

static int account_fill(struct account *ret, uint32_t uid, char *const *fields)
{
    uint32_t gid = 0;
    const char *home = "/";
    const char *shell = "/bin/sh";
    if (fields) {
        if (parse_u32(fields[3], 0, USERNS_RANGE - 1, &gid, "gid", NULL) < 0)
            return -EINVAL;
        if (fields[5][0] == '/')
            home = fields[5];
        if (fields[6][0] == '/')
            shell = fields[6];
    }
    struct account account = {
        .name = strdup(fields ? fields[0] : ""),
        .home = strdup(home),
        .shell = strdup(shell),
        .uid = uid,
        .gid = gid,
    };
    if (!account.name || !account.home || !account.shell) {
        account_clear(&account);
        return -ENOMEM;
    }
    *ret = account;
    return 1;
}

/* The first entry of that name (or, with name NULL, of that uid): 1 found, 0 not, -errno. */
static int passwd_find(const char *name, uint32_t uid, struct account *ret)
{
    _cleanup_buffer_ struct buffer text = {0};
    int r = database_read("/etc/passwd", &text);
    if (r < 0)
        return r;
    char *at = text.data;
    char *fields[7];
    while (next_line(&at, fields, ELEMENTS(fields))) {
        uint32_t id = 0;
        if (parse_u32(fields[2], 0, USERNS_RANGE - 1, &id, "uid", NULL) < 0)
            continue;
        if (name ? streq(fields[0], name) : id == uid) {
            r = account_fill(ret, id, fields);
            if (r != -EINVAL)
                return r;
        }
    }
    return 0;
}

int account_by_name(const char *name, struct account *ret, struct error *err)
{
    int r = passwd_find(name, 0, ret);
    if (r < 0)
        return fail(err, ERROR_SYSTEM, r, "user \"%s\": the sandbox's /etc/passwd: ", name);
    if (r == 0)
        return fail(
            err, ERROR_NOT_FOUND, ENOENT,
            "user \"%s\": not in the sandbox's own /etc/passwd; give a number (-u UID) or "
            "make the user in the template",
            name);
    return 0;
}

static int group_by_name(const char *name, uint32_t *ret, struct error *err)
{
    _cleanup_buffer_ struct buffer text = {0};
    int r = database_read("/etc/group", &text);
    char *at = r < 0 ? NULL : text.data;
    char *fields[4];
    while (next_line(&at, fields, ELEMENTS(fields)))
        if (streq(fields[0], name) &&
            parse_u32(fields[2], 0, USERNS_RANGE - 1, ret, "", NULL) == 0)
            return 0;
    return fail(err, ERROR_NOT_FOUND, ENOENT,
                "group \"%s\": not in the sandbox's own /etc/group; give a number", name);
}

static bool is_number(const char *text)
{
    return *text && strspn(text, "0123456789") == strlen(text);
}

static int parse_id(const char *text, const char *what, uint32_t *ret, struct error *err)
{
    return parse_u32(text, 0, USERNS_RANGE - 1, ret, what, err);
}

int account_resolve(const char *text, uint32_t *ret_uid, uint32_t *ret_gid, struct error *err)
{
    char user[256];
    _cleanup_(account_clear) struct account account = {0};
    const char *colon = strchr(text, ':');
    int length = colon ? (int)(colon - text) : (int)strlen(text);
    if (length == 0 || (size_t)length >= sizeof(user) || (colon && !colon[1]))
        return fail(err, ERROR_INVALID, EINVAL, "user \"%.80s\": write NAME, UID or UID:GROUP",
                    text);
    (void)snprintf(user, sizeof(user), "%.*s", length, text);
    bool by_number = is_number(user);
    int r = by_number ? parse_id(user, "--user", ret_uid, err)
                      : account_by_name(user, &account, err);
    if (r < 0)
        return r;
    if (by_number)
        r = account_by_uid(*ret_uid, &account, err);
    if (r < 0)
        return r;
    *ret_uid = account.uid;
    /* a uid that nobody has gets the group of the same number, never root's */
    *ret_gid = *account.name ? account.gid : account.uid;
    if (!colon)
        return 0;
    return is_number(colon + 1) ? parse_id(colon + 1, "--user: group", ret_gid, err)
                                : group_by_name(colon + 1, ret_gid, err);
}

int account_by_uid(uint32_t uid, struct account *ret, struct error *err)
{
    int r = passwd_find(NULL, uid, ret);
    if (r == 0 || r == -EINVAL)
        r = account_fill(ret, uid, NULL);
    return r < 0 ? fail(err, ERROR_SYSTEM, r, "the sandbox's /etc/passwd: ") : 0;
}

static bool list_contains(char *list, const char *name)
{
    for (char *item = strsep(&list, ","); item; item = strsep(&list, ","))
        if (streq(item, name))
            return true;
    return false;
}

int account_groups(const char *name, uint32_t *groups, uint32_t *n)
{
    _cleanup_buffer_ struct buffer text = {0};
    int r = database_read("/etc/group", &text);
    if (r < 0)
        return r;
    char *at = text.data;
    char *fields[4];
    while (*n < START_GROUPS && next_line(&at, fields, ELEMENTS(fields))) {
        uint32_t gid = 0;
        if (parse_u32(fields[2], 0, USERNS_RANGE - 1, &gid, "gid", NULL) == 0 &&
            list_contains(fields[3], name))
            groups[(*n)++] = gid;
    }
    return 0;
}

static int append_line(const char *path, const char *line)
{
    _cleanup_close_ int fd =
        open(path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK | O_NOFOLLOW,
             0644);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0)
        return -errno;
    if (!S_ISREG(st.st_mode))
        return -EINVAL;
    return fd_write_all(fd, line, strlen(line));
}

int account_ensure(uint32_t uid, uint32_t gid, const char *name, struct error *err)
{
    _cleanup_(account_clear) struct account known = {0};
    int r = passwd_find(NULL, uid, &known);
    if (r != 0)
        return r < 0 ? fail(err, ERROR_SYSTEM, r, "the sandbox's /etc/passwd: ") : 0;
    _cleanup_(account_clear) struct account same = {0};
    if (passwd_find(name, 0, &same) != 0)
        return 0; /* the name belongs to another uid there: go by number */
    char line[512];
    char home[300];
    (void)snprintf(home, sizeof(home), "/home/%s", name);
    (void)snprintf(line, sizeof(line), "%s:x:%u:%u::%s:/bin/sh\n", name, uid, gid, home);
    r = append_line("/etc/passwd", line);
    if (r < 0)
        return fail(err, ERROR_SYSTEM, r, "add user %s to the sandbox's /etc/passwd: ", name);
    (void)snprintf(line, sizeof(line), "%s:x:%u:\n", name, gid);
    r = append_line("/etc/group", line);
    if (r < 0)
        return fail(err, ERROR_SYSTEM, r, "add group %s to the sandbox's /etc/group: ", name);
    _cleanup_close_ int homes = open("/home", O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (homes < 0 || mkdirat(homes, name, 0700) < 0)
        return 0; /* no /home, or the home is there already */
    if (fchownat(homes, name, uid, gid, AT_SYMLINK_NOFOLLOW) < 0)
        return fail(err, ERROR_SYSTEM, errno, "give %s to user %s: ", home, name);
    return 0;
}
