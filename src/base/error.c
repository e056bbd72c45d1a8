/* SPDX-License-Identifier: Apache-2.0 */
/* The error object. Runs in every process; texts may contain names that a caller chose, and are
 * escaped where they are printed, not here. */
#include "base/error.h"

#include <stdarg.h>
#include <string.h>

static const struct {
    const char *name;
    int errnum; /* stands in where the failure has no errno of its own */
    int exit_status;
} codes[_ERROR_CODES] = {
    [ERROR_NONE] = {"None", EIO, 125},
    [ERROR_SYSTEM] = {"System", EIO, 125},
    [ERROR_INVALID] = {"Invalid", EINVAL, 125},
    [ERROR_NOT_FOUND] = {"NotFound", ENOENT, 125},
    [ERROR_EXISTS] = {"Exists", EEXIST, 125},
    [ERROR_BUSY] = {"Busy", EBUSY, 125},
    [ERROR_DENIED] = {"Denied", EPERM, 125},
    [ERROR_NO_SPACE] = {"NoSpace", ENOSPC, 125},
    [ERROR_UNSUPPORTED] = {"Unsupported", EOPNOTSUPP, 125},
    [ERROR_PROTOCOL] = {"Protocol", EPROTO, 125},
    [ERROR_NOT_EXECUTABLE] = {"NotExecutable", EACCES, 126},
    [ERROR_NO_COMMAND] = {"NoCommand", ENOENT, 127},
    [ERROR_LOST] = {"Lost", ECONNRESET, 123},
};

int(fail)(struct error *err, enum error_code code, int errnum, const char *format, ...)
{
    if (errnum < 0)
        errnum = -errnum;
    if (errnum == 0)
        errnum = codes[code].errnum;
    if (!err)
        return -errnum;
    err->code = code == ERROR_SYSTEM ? error_code_of_errno(errnum) : code;
    err->errnum = errnum;
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(err->text, sizeof(err->text), format, arguments);
    va_end(arguments);
    size_t n = length < 0 ? 0 : (size_t)length;
    if (n >= 2 && n < sizeof(err->text) && err->text[n - 1] == ' ' && err->text[n - 2] == ':')
        (void)snprintf(err->text + n, sizeof(err->text) - n, "%s", strerror(errnum));
    return -errnum;
}

int error_prefix(struct error *err, int errnum, const char *format, ...)
{
    if (!err)
        return errnum;
    char tail[ERROR_TEXT_MAX];
    memcpy(tail, err->text, sizeof(tail));
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(err->text, sizeof(err->text), format, arguments);
    va_end(arguments);
    size_t n = length < 0 ? 0 : (size_t)length;
    if (n < sizeof(err->text))
        (void)snprintf(err->text + n, sizeof(err->text) - n, "%s", tail);
    return errnum;
}

int error_suffix(struct error *err, int errnum, const char *format, ...)
{
    if (!err)
        return errnum;
    size_t n = strlen(err->text);
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(err->text + n, sizeof(err->text) - n, format, arguments);
    va_end(arguments);
    return errnum;
}

enum error_code error_code_of_errno(int errnum)
{
    switch (errnum) {
    case ENOSPC:
    case EDQUOT:
        return ERROR_NO_SPACE;
    case ENOSYS:
        return ERROR_UNSUPPORTED;
    default:
        return ERROR_SYSTEM;
    }
}

const char *error_code_name(enum error_code code)
{
    return code < _ERROR_CODES ? codes[code].name : codes[ERROR_PROTOCOL].name;
}

enum error_code error_code_from_name(const char *name)
{
    for (enum error_code code = ERROR_NONE; code < _ERROR_CODES; code++)
        if (strcmp(codes[code].name, name) == 0)
            return code;
    return ERROR_PROTOCOL;
}

int error_exit_status(enum error_code code)
{
    return code < _ERROR_CODES ? codes[code].exit_status : 125;
}
