/* SPDX-License-Identifier: Apache-2.0 */
/* See builder.h. Runs in isolated as root. */
#include "daemon/builder.h"

void builder_build(struct body *body, int one_off_root, builder_done done, void *data)
{
    struct error err = {0};
    int r = body_build(body, one_off_root, &err);
    done(data, r, &err);
}

void builder_destroy(struct body *body, builder_done done, void *data)
{
    struct error err = {0};
    body_destroy(body);
    done(data, 0, &err);
}
