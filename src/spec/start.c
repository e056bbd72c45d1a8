/* SPDX-License-Identifier: Apache-2.0 */
/* Encoding of the start. Runs in isolated (encode) and in init (decode). Fields are visited by
 * one function for both directions, so that they cannot drift apart. */
#include "spec/start.h"

#include <string.h>

#define START_MAGIC 0x49534f35U /* "ISO5" */

/* Either writes to `out` or reads from `in`; `failed` sticks. */
struct coder {
    struct buffer *out;
    const char *in;
    size_t left;
    bool failed;
};

static void code_bytes(struct coder *coder, void *value, size_t size)
{
    if (coder->out) {
        buffer_append(coder->out, value, size);
        return;
    }
    if (coder->failed || coder->left < size) {
        coder->failed = true;
        memset(value, 0, size);
        return;
    }
    memcpy(value, coder->in, size);
    coder->in += size;
    coder->left -= size;
}

static void code_u32(struct coder *coder, uint32_t *value)
{
    code_bytes(coder, value, sizeof(*value));
}

static void code_u64(struct coder *coder, uint64_t *value)
{
    code_bytes(coder, value, sizeof(*value));
}

static void code_count(struct coder *coder, uint32_t *n, uint32_t max)
{
    if (coder->out && *n > max)
        coder->out->failed = true;
    code_u32(coder, n);
    if (*n > max) {
        coder->failed = true;
        *n = 0;
    }
}

static void code_string(struct coder *coder, const char **text)
{
    if (coder->out) {
        const char *value = *text ? *text : "";
        buffer_append(coder->out, value, strlen(value) + 1);
        return;
    }
    const char *end = coder->failed ? NULL : memchr(coder->in, '\0', coder->left);
    if (!end) {
        coder->failed = true;
        *text = "";
        return;
    }
    *text = coder->in;
    coder->left -= (size_t)(end - coder->in) + 1;
    coder->in = end + 1;
}

static void code_strings(struct coder *coder, uint32_t *n, const char ***strings)
{
    code_count(coder, n, START_STRINGS);
    if (!coder->out) {
        *strings = calloc(*n + 1, sizeof(**strings));
        if (!*strings) {
            coder->failed = true;
            *n = 0;
            return;
        }
    }
    for (uint32_t i = 0; i < *n; i++)
        code_string(coder, &(*strings)[i]);
}

static void code_files(struct coder *coder, uint32_t *n, struct start_file *files, uint32_t max)
{
    code_count(coder, n, max);
    for (uint32_t i = 0; i < *n; i++) {
        code_string(coder, &files[i].path);
        code_string(coder, &files[i].content);
        code_u32(coder, &files[i].is_symlink);
    }
}

static void code_ulimits(struct coder *coder, struct rlimit_wishes *ulimits)
{
    code_count(coder, &ulimits->n, RLIMITS_MAX);
    for (uint32_t i = 0; i < ulimits->n; i++) {
        code_u32(coder, &ulimits->items[i].resource);
        code_u64(coder, &ulimits->items[i].soft);
        code_u64(coder, &ulimits->items[i].hard);
    }
}

static void code_start(struct coder *coder, struct start *start)
{
    code_u32(coder, &start->flags);
    code_u32(coder, &start->uid);
    code_u32(coder, &start->gid);
    code_u32(coder, &start->umask);
    code_u64(coder, &start->capabilities);
    code_u64(coder, &start->timeout_ms);
    code_u64(coder, &start->cpu_time_ms);
    code_u32(coder, &start->n_cpus);
    code_ulimits(coder, &start->ulimits);
    code_string(coder, &start->hostname);
    code_string(coder, &start->workdir);
    code_string(coder, &start->user);
    code_count(coder, &start->n_groups, START_GROUPS);
    for (uint32_t i = 0; i < start->n_groups; i++)
        code_u32(coder, &start->groups[i]);
    code_strings(coder, &start->n_argv, &start->argv);
    code_strings(coder, &start->n_env, &start->env);
    code_count(coder, &start->n_binds, START_BINDS);
    for (uint32_t i = 0; i < start->n_binds; i++) {
        code_string(coder, &start->binds[i].target);
        code_u32(coder, &start->binds[i].is_directory);
        code_u32(coder, &start->binds[i].read_only);
    }
    code_count(coder, &start->n_tmpfs, START_TMPFS);
    for (uint32_t i = 0; i < start->n_tmpfs; i++) {
        code_string(coder, &start->tmpfs[i].target);
        code_u64(coder, &start->tmpfs[i].size_bytes);
    }
    code_files(coder, &start->n_files, start->files, START_FILES);
    code_string(coder, &start->private_directory);
    code_count(coder, &start->n_private, START_PRIVATE);
    for (uint32_t i = 0; i < start->n_private; i++) {
        code_string(coder, &start->private_files[i].name);
        code_string(coder, &start->private_files[i].hex);
    }
    code_u32(coder, &start->engine.flags);
    code_strings(coder, &start->engine.n_argv, &start->engine.argv);
    code_strings(coder, &start->engine.n_env, &start->engine.env);
    code_files(coder, &start->engine.n_files, start->engine.files, START_ENGINE_FILES);
}

int start_encode(const struct start *start, struct buffer *ret, struct error *err)
{
    struct start copy = *start;
    struct coder coder = {.out = ret};
    uint32_t magic = START_MAGIC;
    code_u32(&coder, &magic);
    code_start(&coder, &copy);
    if (ret->failed || coder.failed)
        return fail(err, ERROR_INVALID, E2BIG,
                    "too many arguments, variables, binds or groups");
    if (ret->length > START_MAX)
        return fail(err, ERROR_INVALID, E2BIG,
                    "arguments and environment have %zu bytes, more than %u", ret->length,
                    START_MAX);
    return 0;
}

int start_decode(const void *data, size_t length, struct start *ret, struct error *err)
{
    struct start start = {0};
    struct coder coder = {.in = data, .left = length};
    uint32_t magic = 0;
    code_u32(&coder, &magic);
    if (magic == START_MAGIC)
        code_start(&coder, &start);
    if (magic != START_MAGIC || coder.failed || coder.left != 0) {
        start_clear(&start);
        return fail(err, ERROR_PROTOCOL, EPROTO, "start: malformed, or of another version");
    }
    *ret = start;
    return 0;
}

void start_clear(struct start *start)
{
    freep(&start->argv);
    freep(&start->env);
    freep(&start->engine.argv);
    freep(&start->engine.env);
}

unsigned start_depth(const char *target)
{
    unsigned depth = 0;
    for (const char *p = target; *p; p++)
        depth += *p == '/';
    return depth;
}
