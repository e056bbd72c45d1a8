/* SPDX-License-Identifier: Apache-2.0 */
/* client/options.c, draft*.c: a command line of `run` becomes a request. What the client writes
 * is JSON, and nothing in it is what isolated would not understand. */
#include "target.h"

#include "base/text.h"
#include "client/run.h"
#include "spec/request.h"

#include <string.h>

const bool target_needs_walls = true; /* files of variables, binds */

static int ignore_option(void *data, enum option_id id, const char *value, struct error *err)
{
    (void)data, (void)id, (void)value, (void)err;
    return 0;
}

/* The request so far, as isolated would read it: it may lack what is said elsewhere, or not go
 * together, but it is in its form. */
static void check_request(const struct run_draft *draft)
{
    struct error err = {0};
    _cleanup_buffer_ struct buffer text = {0};
    _cleanup_run_request_ struct run_request request = {0};
    buffer_append_char(&text, '{');
    run_draft_write(draft, &text);
    buffer_append_char(&text, '}');
    MUST(!text.failed);
    if (draft->n_members == 0)
        return; /* there always is one: client */
    json_t *value = json_loadb(text.data, text.length, JSON_REJECT_DUPLICATES, NULL);
    MUST(json_is_object(value));
    if (run_request_decode_asked(value, draft->fds.n, &request, &err) < 0 &&
        (text_after(err.text, "request: \"") || text_after(err.text, "request: this"))) {
        (void)fprintf(stderr, "%s\n%s\n", text.data, err.text);
        MUST(!"isolated understands it");
    }
    json_decref(value);
}

static void draft_run(const struct verb *verb, char **argv, size_t n)
{
    struct error err = {0};
    _cleanup_run_draft_ struct run_draft draft = {0};
    const struct option_call call = {
        .verb = verb, .any_operands = true, .handler = run_draft_option, .data = &draft};
    int first = 0;
    run_draft_string(&draft, "client", "0");
    int r = options_parse(&call, (int)n, argv, &first, &err);
    MUST(r >= 0 || (err.code != ERROR_NONE && *err.text));
    if (r == 0) {
        MUST(first >= 0 && (size_t)first <= n);
        if ((size_t)first < n && run_draft_template(&draft, argv[first], &err) == 0)
            check_request(&draft);
    }
}

void target_run(const uint8_t *data, size_t size)
{
    struct input input = {data, size};
    struct error err = {0};
    size_t which = input_byte(&input);
    size_t n = 0;
    size_t n_verbs = 0;
    const struct verb *verb = NULL;
    size_t before = target_count_fds();
    _cleanup_texts_ char **texts = input_texts(&input, 64, &n);
    char *argv[65]; /* the order of texts changes there */
    memcpy(argv, texts, sizeof(*texts) * (n + 1));
    (void)verb_find((int)n, argv, &verb);
    do
        n_verbs++;
    while (verbs[n_verbs].name);
    verb = which < 192 ? verb_named("run") : &verbs[which % n_verbs];
    if (which < 192) {
        (void)run_is_for_ctl("run", (int)n, argv);
        draft_run(verb, argv, n);
    } else {
        int first = 0;
        const struct option_call call = {.verb = verb, .handler = ignore_option};
        MUST(options_parse(&call, (int)n, argv, &first, &err) <= 1);
    }
    MUST(target_count_fds() == before);
}
