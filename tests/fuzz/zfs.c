/* SPDX-License-Identifier: Apache-2.0 */
/* storage/zfs_command.c: what `zfs get` prints, with whatever values users of the pool gave to
 * properties, and names of datasets. */
#include "target.h"

#include "storage/zfs.h"

#include <string.h>

const bool target_needs_walls = false;

void target_run(const uint8_t *data, size_t size)
{
    struct input input = {data, size};
    struct error err = {0};
    struct zfs_dataset dataset = {0};
    _cleanup_free_ char *name = input_text(&input);
    _cleanup_free_ char *text = input_rest(&input);
    if (zfs_check_name(name, &err) == 0) {
        /* one argument that is no option, and one word of a line */
        MUST(*name != '-' && !strpbrk(name, "\n\t@%") && strlen(name) < ZFS_NAME_SIZE);
    }
    zfs_take(text, &dataset);
    MUST(*dataset.mountpoint == '\0' || *dataset.mountpoint == '/');
    MUST(strlen(dataset.origin) < sizeof(dataset.origin));
    MUST(strlen(dataset.template_name) < sizeof(dataset.template_name));
    MUST(strlen(dataset.clone) < sizeof(dataset.clone));
    MUST(strlen(dataset.import) < sizeof(dataset.import));
}
