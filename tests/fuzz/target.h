/* SPDX-License-Identifier: Apache-2.0 */
/* What fuzz targets have in common. A target is one file with target_run, which is called with
 * each input, over the real functions of src. Before the first one the process is confined:
 * where the kernel has Landlock no program of the machine's can be executed (but what explains
 * a finding), and nothing written outside of a directory of its own and those that libFuzzer
 * was told. */
#pragma once

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Written by each target. What it finds wrong ends the process. */
void target_run(const uint8_t *data, size_t size);

/* Set by targets that open or make what their input names: without Landlock they are not run
 * (exit status 33). They read nothing but what is in their own directory either. */
extern const bool target_needs_walls;

/* Something that must be so whatever the input is. */
#define MUST(condition)                                                                        \
    do {                                                                                       \
        if (!(condition))                                                                      \
            target_broken(#condition, __FILE__, __LINE__);                                     \
    } while (0)
_Noreturn void target_broken(const char *what, const char *file, int line);

/* The input as it is used up from its front. */
struct input {
    const uint8_t *at;
    size_t left;
};
/* 0 where nothing is left. */
uint8_t input_byte(struct input *input);
uint32_t input_u32(struct input *input);
/* A number below n. */
size_t input_below(struct input *input, size_t n);
/* At most n bytes, by which input moves on; *ret_length is how many there are. */
const uint8_t *input_bytes(struct input *input, size_t n, size_t *ret_length);
/* What comes before the next NUL byte, or all that is left; allocated in its exact size, so
 * that a step beyond its end is seen. */
char *input_text(struct input *input);
/* All that is left, up to a NUL. */
char *input_rest(struct input *input);
/* All that is left as texts of the same kind, at most max, NULL-terminated. */
char **input_texts(struct input *input, size_t max, size_t *ret_n);
void texts_free(char **texts);
#define _cleanup_texts_ _cleanup_(texts_freep)
static inline void texts_freep(char ***texts)
{
    texts_free(*texts);
}

/* The target's own directory, empty when the process begins; removed at its end. */
int target_directory_fd(void);
const char *target_directory(void);
/* Makes a file there, over what is there. */
void target_write(const char *name, const void *data, size_t size);
/* Empties it. */
void target_sweep(void);
/* A file there, beside what is made of an input, and that it is as it was. */
#define TARGET_OUTSIDE "outside"
void target_make_outside(void);
void target_check_outside(void);

/* How many fds are open. */
size_t target_count_fds(void);
