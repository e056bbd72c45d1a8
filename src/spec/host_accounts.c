/* SPDX-License-Identifier: Apache-2.0 */
/* See host_accounts.h. Runs in isolated and isolate-ctl; names are root's. */
#include "spec/host_accounts.h"

#include "base/parse.h"

#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>

static bool is_number(const char *name, uint32_t *ret)
{
    return parse_u32(name, 0, UINT32_MAX - 1, ret, "id", NULL) == 0;
}

bool host_user_is_local(uint32_t uid, char *ret_name, size_t size)
{
    FILE *file = fopen("/etc/passwd", "re");
    const struct passwd *entry = NULL;
    do
        entry = file ? fgetpwent(file) : NULL;
    while (entry && entry->pw_uid != uid);
    (void)snprintf(ret_name, size, "%s", entry ? entry->pw_name : "");
    if (file)
        (void)fclose(file);
    return *ret_name != '\0';
}

bool host_user_local_id(const char *name, uint32_t *ret_uid)
{
    FILE *file = fopen("/etc/passwd", "re");
    const struct passwd *entry = NULL;
    do
        entry = file ? fgetpwent(file) : NULL;
    while (entry && strcmp(entry->pw_name, name) != 0);
    if (entry)
        *ret_uid = entry->pw_uid;
    if (file)
        (void)fclose(file);
    return entry || is_number(name, ret_uid);
}

bool host_user_id(const char *name, uint32_t *ret_uid)
{
    const struct passwd *entry = getpwnam(name);
    if (!entry)
        return is_number(name, ret_uid);
    *ret_uid = entry->pw_uid;
    return true;
}

bool host_group_id(const char *name, uint32_t *ret_gid)
{
    const struct group *entry = getgrnam(name);
    if (!entry)
        return is_number(name, ret_gid);
    *ret_gid = entry->gr_gid;
    return true;
}
