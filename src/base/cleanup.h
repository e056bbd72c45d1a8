/* SPDX-License-Identifier: Apache-2.0 */
/* Scope-bound ownership: every resource is released where its variable ends. All cleanups keep
 * errno, so that they may run between a failing call and the report of it. Usable in every
 * process; safe between fork and exec apart from the ones that free memory. */
#pragma once

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define _cleanup_(function)   __attribute__((__cleanup__(function)))
#define _must_check_          __attribute__((__warn_unused_result__))
#define _printf_(text, first) __attribute__((__format__(__printf__, text, first)))

/* Moves a pointer, an fd or a struct out of a variable that a cleanup watches. */
#define TAKE_PTR(p)                                                                            \
    ({                                                                                         \
        __auto_type _taken = (p);                                                              \
        (p) = NULL;                                                                            \
        _taken;                                                                                \
    })
#define TAKE_FD(fd)                                                                            \
    ({                                                                                         \
        int _taken = (fd);                                                                     \
        (fd) = -EBADF;                                                                         \
        _taken;                                                                                \
    })
/* All zero is what the cleanup leaves alone. */
#define TAKE_STRUCT(value)                                                                     \
    ({                                                                                         \
        __auto_type _from = &(value);                                                          \
        __auto_type _taken = *_from;                                                           \
        *_from = (__typeof__(_taken)){0};                                                      \
        _taken;                                                                                \
    })

#define ELEMENTS(array) (sizeof(array) / sizeof((array)[0]))

/* Closes fd unless it is negative and returns -EBADF, the value of "no fd". */
static inline int fd_close(int fd)
{
    if (fd >= 0) {
        int saved = errno;
        (void)close(fd);
        errno = saved;
    }
    return -EBADF;
}

/* Of a variable that a cleanup watches, before its end. */
static inline void fd_closep(int *fd)
{
    *fd = fd_close(*fd);
}

static inline void freep(void *p)
{
    int saved = errno;
    free(*(void **)p);
    errno = saved;
}

static inline void closedirp(DIR **dir)
{
    int saved = errno;
    if (*dir)
        (void)closedir(*dir);
    errno = saved;
}

static inline void fclosep(FILE **file)
{
    int saved = errno;
    if (*file)
        (void)fclose(*file);
    errno = saved;
}

#define _cleanup_close_    _cleanup_(fd_closep)
#define _cleanup_free_     _cleanup_(freep)
#define _cleanup_closedir_ _cleanup_(closedirp)
#define _cleanup_fclose_   _cleanup_(fclosep)
