/* SPDX-License-Identifier: Apache-2.0 */
/* What isolated knows, for the doctor: whether storages elsewhere can be used, and leftovers.
 * Runs as the caller, root; one connection for both questions. */
#include "base/text.h"
#include "client/connect.h"
#include "client/ctl.h"
#include "client/doctor.h"

struct answers {
    json_t *storages; /* replies */
    json_t *leftovers;
    struct doctor_check *checks;
    size_t n;
};

static void answers_clear(struct answers *answers)
{
    json_decref(answers->storages);
    json_decref(answers->leftovers);
    free(answers->checks);
}

static int ask_both(struct answers *answers, struct error *err)
{
    struct varlink varlink = {.fd = -EBADF};
    const struct ctl_call storages = {
        .method = "StorageList", .parameters = json_object(), .fd = -EBADF};
    const struct ctl_call leftovers = {
        .method = "Status", .parameters = json_object(), .fd = -EBADF};
    int r = client_connect(&varlink, err);
    if (r == 0)
        r = ctl_call(&varlink, &storages, &answers->storages, err);
    else
        json_decref(storages.parameters);
    if (r == 0)
        r = ctl_call(&varlink, &leftovers, &answers->leftovers, err);
    else
        json_decref(leftovers.parameters);
    varlink_clear(&varlink);
    return r;
}

static const char *text_of(const json_t *item, const char *key)
{
    const char *text = json_string_value(json_object_get(item, key));
    return text ? text : "";
}

static struct doctor_check *add(struct answers *answers, const char *name, const char *what)
{
    struct doctor_check *check = &answers->checks[answers->n++];
    *check = (struct doctor_check){.name = name, .what = what, .needed = true};
    return check;
}

/* Of the state directory there are checks already. */
static void add_storage(struct answers *answers, const json_t *item)
{
    if (!json_is_true(json_object_get(item, "elsewhere")))
        return;
    struct doctor_check *check = add(answers, "storage",
                                     "templates outside of isolate's own "
                                     "directory");
    if (*ctl_problem_of(item)) {
        doctor_bad(check, "%s", ctl_problem_of(item));
        doctor_remedy(check,
                      "make it available again; where it is gone for good: isolate storage "
                      "forget %s",
                      text_of(item, "name"));
    } else {
        doctor_ok(check, "%s: %lld templates", text_of(item, "name"),
                  (long long)json_integer_value(json_object_get(item, "templates")));
    }
}

static void add_broken_list(struct answers *answers)
{
    struct doctor_check *check =
        add(answers, "storage", "the list of storages outside of isolate's own directory");
    doctor_bad(check, "%s", ctl_problem_of(answers->storages));
    doctor_remedy(check, "correct that file, or remove it");
}

static void add_leftover(struct answers *answers, const json_t *item)
{
    struct doctor_check *check = add(answers, "leftover", "something that belongs to nobody");
    check->needed = false;
    check->result = DOCTOR_LEFTOVER;
    (void)snprintf(check->detail, sizeof(check->detail), "%s", text_of(item, "what"));
    doctor_remedy(check, "%s", text_of(item, "remedy"));
}

int doctor_ask(struct doctor_check **ret, size_t *ret_n, struct error *err)
{
    _cleanup_(answers_clear) struct answers answers = {0};
    int r = ask_both(&answers, err);
    if (r < 0)
        return r;
    const json_t *storages = json_object_get(answers.storages, "storages");
    const json_t *leftovers = json_object_get(answers.leftovers, "leftovers");
    answers.checks = calloc(json_array_size(storages) + 1 + json_array_size(leftovers),
                            sizeof(*answers.checks));
    if (!answers.checks)
        return fail(err, ERROR_SYSTEM, ENOMEM, "storages and leftovers: ");
    for (size_t i = 0; i < json_array_size(storages); i++)
        add_storage(&answers, json_array_get(storages, i));
    if (*ctl_problem_of(answers.storages))
        add_broken_list(&answers);
    for (size_t i = 0; i < json_array_size(leftovers); i++)
        add_leftover(&answers, json_array_get(leftovers, i));
    *ret = TAKE_PTR(answers.checks);
    *ret_n = answers.n;
    return 0;
}

void doctor_check_daemon(const struct doctor *doctor, struct doctor_check *check)
{
    struct error err = {0};
    struct varlink varlink = {.fd = -EBADF};
    int r = client_connect_resident(&varlink, &err);
    varlink_clear(&varlink);
    if (r > 0) {
        doctor_ok(check, "isolated answers");
    } else if (r < 0) {
        doctor_bad(check, "%s", err.text);
    } else {
        doctor_bad(check,
                   "no isolated is running: each command of root's makes its own, and others "
                   "get none");
        doctor_remedy(check, "systemctl enable --now isolated.socket (or run %s/isolated)",
                      doctor->libexec);
    }
}
