/* SPDX-License-Identifier: Apache-2.0 */
/* isolate-init-bare, for confinement.py: isolate-init whose commands have neither filter nor
 * capabilities taken away. The linker puts these in the place of the real ones (--wrap). Never
 * installed. */
#include "sys/caps.h"
#include "sys/filter_load.h"

int __wrap_filter_load(const void *filters, size_t length, enum filter_when when,
                       struct error *err) _must_check_;
int __wrap_caps_bound(uint64_t mask) _must_check_;
int __wrap_caps_set(uint64_t mask) _must_check_;

int __wrap_filter_load(const void *filters, size_t length, enum filter_when when,
                       struct error *err)
{
    return 0;
}

int __wrap_caps_bound(uint64_t mask)
{
    return 0;
}

int __wrap_caps_set(uint64_t mask)
{
    return 0;
}
