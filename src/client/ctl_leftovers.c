/* SPDX-License-Identifier: Apache-2.0 */
/* What isolated knows of leftovers, for the doctor. Runs as the caller, root. */
#include "client/ctl.h"
#include "client/doctor.h"

int doctor_leftovers(struct doctor_check **ret, size_t *ret_n, struct error *err)
{
    json_t *reply = NULL;
    struct ctl_call call = {.method = "Status", .parameters = json_object(), .fd = -EBADF};
    int r = ctl_ask(&call, &reply, err);
    if (r < 0)
        return r;
    const json_t *list = json_object_get(reply, "leftovers");
    size_t n = json_array_size(list);
    struct doctor_check *checks = n > 0 ? calloc(n, sizeof(*checks)) : NULL;
    for (size_t i = 0; checks && i < n; i++) {
        const json_t *item = json_array_get(list, i);
        checks[i] = (struct doctor_check){
            .name = "leftover",
            .what = "something that belongs to nobody",
            .needed = false,
            .result = DOCTOR_LEFTOVER,
        };
        const char *what = json_string_value(json_object_get(item, "what"));
        const char *remedy = json_string_value(json_object_get(item, "remedy"));
        (void)snprintf(checks[i].detail, sizeof(checks[i].detail), "%s", what ? what : "");
        (void)snprintf(checks[i].remedy, sizeof(checks[i].remedy), "%s", remedy ? remedy : "");
    }
    json_decref(reply);
    if (n > 0 && !checks)
        return fail(err, ERROR_SYSTEM, ENOMEM, "leftovers: ");
    *ret = checks;
    *ret_n = n;
    return 0;
}
