/* SPDX-License-Identifier: Apache-2.0 */
/* Checks of names. Runs in client and isolated; input is the caller's. */
#include "spec/names.h"

#include "base/text.h"

#include <limits.h>

#define LOWER  "abcdefghijklmnopqrstuvwxyz"
#define UPPER  "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGITS "0123456789"

#define TAG_MAX 128 /* as registries have it */

static bool matches(const char *name, const char *first, const char *rest, size_t max)
{
    size_t n = strlen(name);
    return n > 0 && n <= max && strchr(first, name[0]) && strspn(name, rest) == n;
}

int name_check_tag(const char *name, struct error *err)
{
    if (matches(name, LOWER UPPER DIGITS "_", LOWER UPPER DIGITS "._-", TAG_MAX))
        return 0;
    return fail(err, ERROR_INVALID, EINVAL,
                "tag \"%.80s\": use 1 to %d letters, digits, \".\", \"_\" and \"-\", "
                "beginning with a letter, digit or \"_\"",
                name, TAG_MAX);
}

/* The position of "_" and at least 19 digits at the end of name, or NULL. */
static const char *clone_suffix(const char *name)
{
    const char *underscore = strrchr(name, '_');
    if (!underscore)
        return NULL;
    size_t digits = strspn(underscore + 1, DIGITS);
    return digits >= 19 && underscore[1 + digits] == '\0' ? underscore : NULL;
}

int name_check_template(const char *name, struct error *err)
{
    if (!matches(name, LOWER DIGITS, LOWER DIGITS "._-", NAME_TEMPLATE_MAX))
        return fail(err, ERROR_INVALID, EINVAL,
                    "template name \"%.80s\": use 1 to %d of a-z, 0-9, \".\", \"_\" and \"-\", "
                    "beginning with a letter or digit",
                    name, NAME_TEMPLATE_MAX);
    if (clone_suffix(name))
        return fail(err, ERROR_INVALID, EINVAL,
                    "template name \"%.80s\": names that end in \"_\" and 19 digits belong to "
                    "clones",
                    name);
    return 0;
}

int name_check_sandbox(const char *name, struct error *err)
{
    if (matches(name, LOWER UPPER DIGITS, LOWER UPPER DIGITS "._-", NAME_TEMPLATE_MAX))
        return 0;
    return fail(err, ERROR_INVALID, EINVAL,
                "sandbox name \"%.80s\": use 1 to %d letters, digits, \".\", \"_\" and \"-\", "
                "beginning with a letter or digit",
                name, NAME_TEMPLATE_MAX);
}

bool name_is_generation(const char *name)
{
    static const char form[] = "dddddddd"
                               "T"
                               "dddddd"
                               "Z";
    size_t i = 0;
    for (; i < sizeof(form) - 1; i++)
        if (form[i] == 'd' ? (name[i] < '0' || name[i] > '9') : name[i] != form[i])
            return false;
    if (name[i] == '\0')
        return true;
    size_t digits = strspn(name + i + 1, DIGITS);
    return name[i] == '-' && digits >= 1 && digits <= 4 && name[i + 1 + digits] == '\0';
}

bool name_is_clone(const char *name)
{
    return strlen(name) < CLONE_NAME_SIZE &&
           matches(name, LOWER DIGITS, LOWER DIGITS "._-", 255) && clone_suffix(name);
}

/* Labels of 1 to 63 letters, digits and "-", which is neither first nor last. */
static bool labels_are_good(const char *name)
{
    for (const char *label = name;; label += strcspn(label, ".") + 1) {
        size_t n = strcspn(label, ".");
        if (n == 0 || n > 63 || label[0] == '-' || label[n - 1] == '-')
            return false;
        if (label[n] == '\0')
            return true;
    }
}

bool name_is_engine(const char *name)
{
    static const char *const engines[] = {"native", "bwrap", "lxc", "nspawn", "oci", "chroot"};
    for (size_t i = 0; i < ELEMENTS(engines); i++)
        if (streq(name, engines[i]))
            return true;
    return text_after(name, "oci:/") != NULL;
}

int name_check_hostname(const char *name, struct error *err)
{
    if (matches(name, LOWER UPPER DIGITS, LOWER UPPER DIGITS ".-", 64) && labels_are_good(name))
        return 0;
    return fail(err, ERROR_INVALID, EINVAL,
                "hostname \"%.80s\": use 1 to 64 letters, digits, \"-\" and \".\"", name);
}

bool name_is_path(const char *text)
{
    return text[0] == '/' || text[0] == '@' || streq(text, ".") || streq(text, "..") ||
           text_after(text, "./") || text_after(text, "../");
}

int target_check(const char *target, const char *what, struct error *err)
{
    const char *bad = target[0] != '/'     ? "is not absolute"
                      : streq(target, "/") ? "is the root itself"
                                           : NULL;
    for (const char *p = target; !bad && *p; p += strcspn(p, "/")) {
        p += *p == '/';
        size_t n = strcspn(p, "/");
        if (n == 0 || (n == 1 && p[0] == '.'))
            bad = "has an empty or \".\" component";
        else if (n == 2 && p[0] == '.' && p[1] == '.')
            bad = "has a \"..\" component";
        else if (n > NAME_MAX)
            bad = "has a component of more than 255 bytes";
    }
    static const char *const own[] = {"/proc", "/sys", "/dev/pts"};
    for (size_t i = 0; !bad && i < ELEMENTS(own); i++) {
        const char *rest = text_after(target, own[i]);
        if (rest && (*rest == '/' || *rest == '\0'))
            bad = "is in a file system of the sandbox's own (/proc, /sys, /dev/pts), which "
                  "nothing is mounted over on any engine; choose another place, as below /mnt";
    }
    return bad ? fail(err, ERROR_INVALID, EINVAL, "%s target \"%.200s\" %s", what, target, bad)
               : 0;
}

const char *const name_filters[] = {"default", "strict", "nested", NULL};

bool name_is_filter(const char *text)
{
    size_t i = 0;
    while (name_filters[i] && !streq(name_filters[i], text))
        i++;
    return name_filters[i];
}

int name_check_filter_right(const char *word, struct error *err)
{
    return name_is_filter(word) || streq(word, "profile") || streq(word, "32bit")
               ? 0
               : fail(err, ERROR_INVALID, EINVAL,
                      "\"%.60s\": there are default, strict, nested, profile and 32bit", word);
}
