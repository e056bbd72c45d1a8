/* SPDX-License-Identifier: Apache-2.0 */
/* One contract for all storage drivers: `storage DRIVER FILESYSTEM` runs every test that the
 * driver's capabilities call for. Needs root; exits with 77 where it cannot run. A third
 * argument picks tests by a pattern as cmocka's filter takes it. */
#include "storage_fixture.h"

#include "base/text.h"
#include "storage/arrival.h"

/* Bits that are no capabilities. NO_DATASETS: a dataset goes as a whole, or not at all while
 * somebody holds it. */
#define NO_DATASETS (1U << 31)
#define QUOTAS      (1U << 30)
#define NO_QUOTAS   (1U << 29)
#define BTRFS       (1U << 28)
#define NATIVES     (1U << 27)

static const struct {
    struct CMUnitTest test;
    uint32_t needs;
    bool as_root; /* the sandbox's root has root's rights over its files */
} tests[] = {
#define TEST(function, capabilities)                                                           \
    {                                                                                          \
        cmocka_unit_test_setup_teardown(function, fixture_setup, fixture_teardown),            \
            capabilities, false                                                                \
    }
#define ROOT_TEST(function, capabilities)                                                      \
    {                                                                                          \
        cmocka_unit_test_setup_teardown(function, fixture_setup, fixture_teardown),            \
            capabilities, true                                                                 \
    }
    ROOT_TEST(clone_ids_and_flags, 0),
    ROOT_TEST(clone_volatile, 0),
    TEST(clone_viewed, 0),
    TEST(clones_many, 0),
    TEST(clone_destroy_twice, 0),
    TEST(clone_root_swapped, STORAGE_ROOTS),
    TEST(clone_root_later, STORAGE_LATE_ROOTS),
    TEST(clone_destroy_busy, 0),
    TEST(clone_unsupported, 0),
    TEST(clone_dataset_missing, STORAGE_DATASETS),
    TEST(crash_clone, 0),
    TEST(crash_destroy, 0),
    TEST(space_clone, 0),
    TEST(space_mountpoint, STORAGE_DATASETS),
    TEST(limit_disk, STORAGE_LIMIT | QUOTAS),
    TEST(limit_ends, STORAGE_LIMIT | QUOTAS),
    TEST(limit_held, STORAGE_LIMIT | QUOTAS),
    TEST(limit_files, STORAGE_LIMIT | QUOTAS),
    TEST(limit_room, STORAGE_LIMIT | QUOTAS),
    TEST(limit_during_rescan, STORAGE_LIMIT | QUOTAS | NO_DATASETS),
    TEST(limit_unsupported, STORAGE_LIMIT | NO_QUOTAS),
    TEST(clones_isolated, STORAGE_DISPOSABLE),
    TEST(template_updated_below_clones, STORAGE_TEMPLATES),
    TEST(template_removed_below_clones, STORAGE_TEMPLATES),
    TEST(template_removed_in_a_hurry, STORAGE_TEMPLATES | STORAGE_DATASETS),
    TEST(template_rollback_and_snapshot, STORAGE_TEMPLATES),
    TEST(template_published_by_two, STORAGE_TEMPLATES),
    TEST(crash_publish, STORAGE_TEMPLATES),
    TEST(space_publish, STORAGE_TEMPLATES),
    TEST(arrival_whole, STORAGE_ARRIVALS),
    TEST(arrival_follows, STORAGE_ARRIVALS),
    TEST(arrival_named_earlier, STORAGE_ARRIVALS),
    TEST(arrival_refused, STORAGE_ARRIVALS),
    TEST(crash_arrival, STORAGE_ARRIVALS),
    TEST(native_whole_and_next, NATIVES),
    TEST(native_refused, NATIVES),
    TEST(crash_native, NATIVES),
    ROOT_TEST(layers_same_tree, STORAGE_LAYERS),
    TEST(layers_shared, STORAGE_LAYERS),
    TEST(layers_packed_otherwise, STORAGE_LAYERS),
    TEST(layers_held, STORAGE_LAYERS),
    TEST(layers_gone, STORAGE_LAYERS),
    TEST(layers_made_twice, STORAGE_LAYERS),
    TEST(layers_own, STORAGE_LAYERS),
    TEST(layers_crash, STORAGE_LAYERS),
    TEST(diff_nothing, STORAGE_DIFF),
    ROOT_TEST(diff_exact, STORAGE_DIFF),
    ROOT_TEST(diff_opaque_and_renamed, STORAGE_DIFF),
    TEST(diff_deep, STORAGE_DIFF),
    TEST(diff_provided, STORAGE_DIFF),
    ROOT_TEST(diff_of_root, STORAGE_DIFF | STORAGE_ROOTS),
    ROOT_TEST(commit_same_tree, STORAGE_DIFF),
    ROOT_TEST(commit_twice, STORAGE_DIFF),
    ROOT_TEST(commit_new_template, STORAGE_DIFF),
    TEST(commit_refused, STORAGE_DIFF),
    ROOT_TEST(diff_attributes, STORAGE_DIFF),
    TEST(commit_limit, STORAGE_DIFF),
    TEST(commit_nothing, STORAGE_DIFF),
    ROOT_TEST(commit_volatile, STORAGE_DIFF),
    TEST(commit_provided, STORAGE_DIFF),
    TEST(extents_compressed, STORAGE_DIFF | BTRFS),
    ROOT_TEST(extents_no_cow, STORAGE_DIFF | BTRFS),
    TEST(crash_commit, STORAGE_DIFF),
    TEST(space_commit, STORAGE_DIFF),
    ROOT_TEST(destroy_never_ends, STORAGE_DISPOSABLE | NO_DATASETS),
    ROOT_TEST(destroy_in_parts, STORAGE_DISPOSABLE | NO_DATASETS),
    ROOT_TEST(destroy_deep, STORAGE_DISPOSABLE | NO_DATASETS),
    ROOT_TEST(destroy_while_written, STORAGE_DISPOSABLE | NO_DATASETS),
    TEST(space_destroy, STORAGE_DISPOSABLE),
#undef TEST
#undef ROOT_TEST
};

static uint32_t offered(void)
{
    uint32_t capabilities = fixture.storage.driver->capabilities;
    return capabilities | (capabilities & STORAGE_DATASETS ? 0 : NO_DATASETS) |
           (fixture.has_quotas || fixture.has_images ? QUOTAS : NO_QUOTAS) |
           (streq(fixture.file_system, "btrfs") ? BTRFS : 0) |
           (capabilities & STORAGE_ARRIVALS && fixture.storage.driver->arrivals->natives
                ? NATIVES
                : 0);
}

int main(int argc, char **argv)
{
    struct CMUnitTest chosen[ELEMENTS(tests)];
    size_t n = 0;
    if (argc < 3) {
        (void)fprintf(stderr, "usage: storage DRIVER ext4|xfs|btrfs|tmpfs|zfs[+quota|+image] "
                              "[PATTERN]\n");
        return 2;
    }
    if (geteuid() != 0) {
        (void)fprintf(stderr, "storage: skipped: needs root\n");
        return 77;
    }
    int r = fixture_open(argv[1], argv[2]);
    if (r != 0) {
        fixture_close();
        return r;
    }
    if (argc > 3)
        cmocka_set_test_filter(argv[3]);
    for (size_t i = 0; i < ELEMENTS(tests); i++)
        if ((offered() & tests[i].needs) == tests[i].needs &&
            (fixture.has_root || !tests[i].as_root))
            chosen[n++] = tests[i].test;
    cmocka_set_message_output(CM_OUTPUT_TAP);
    r = _cmocka_run_group_tests(argv[1], chosen, n, NULL, NULL);
    fixture_close();
    return r;
}
