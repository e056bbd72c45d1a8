/* SPDX-License-Identifier: Apache-2.0 */
/* spec/ids_owned.c: the text of /etc/passwd and its like. */
#include "target.h"

#include "spec/ids_owned.h"

#include <string.h>

const bool target_needs_walls = false;

void target_run(const uint8_t *data, size_t size)
{
    struct input input = {data, size};
    enum ids_owned_format format = (enum ids_owned_format)input_below(&input, 3);
    struct id_span ids = {.first = input_u32(&input)};
    ids.last = ids.first + input_u32(&input) % 131072;
    struct ids_owner owner = {0};
    struct id_span given = {0};
    _cleanup_free_ char *text = input_rest(&input);
    size_t n = ids_owned_find(text, format, &ids, &owner);
    if (n > 0) {
        MUST(owner.ids.first <= ids.last && ids.first <= owner.ids.last);
        MUST(strlen(owner.owner) < sizeof(owner.owner) && *owner.owner);
        MUST(n <= strlen(text));
    }
    n = ids_owned_by(text, "user", (uint32_t)ids.first, &given);
    MUST(n == 0 || given.first <= given.last);
    (void)ids_owned_find_systemd(&ids, &owner);
}
