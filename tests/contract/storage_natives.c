/* SPDX-License-Identifier: Apache-2.0 */
/* Streams of a driver's own: what its program writes becomes the same generation, to which the
 * next one fits; nothing else becomes anything. */
#include "storage_fixture.h"

#include "base/text.h"
#include "storage/arrival.h"
#include "sys/fd.h"
#include "sys/program.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define STREAM_MAX (64U << 20)

static const struct storage_natives *natives(void)
{
    return fixture.storage.driver->arrivals->natives;
}

static void generation_of(const char *name, const char *id, struct generation *ret)
{
    _cleanup_generations_ struct generation_list list = {0};
    assert_ok(fixture.storage.driver->generations(&fixture.storage, name, &list, &err));
    for (size_t i = 0; i < list.n; i++)
        if (id ? streq(list.items[i].id, id) : list.items[i].current) {
            *ret = list.items[i];
            return;
        }
    fail_msg("%s has no such generation", name);
}

static size_t count_generations(const char *name)
{
    _cleanup_generations_ struct generation_list list = {0};
    if (fixture.storage.driver->generations(&fixture.storage, name, &list, NULL) < 0)
        return 0;
    return list.n;
}

static void send(const char *generation, const char *base, struct buffer *ret)
{
    struct storage_native_program program = {0};
    assert_ok(natives()->program(&fixture.storage, TEMPLATE, generation, base, &program, &err));
    assert_ok(program_capture(program.argv, STREAM_MAX, ret, &err));
    assert_true(ret->length > 300);
}

/* The base template gets a second generation; *ret_first is the one before. */
static void change(struct generation *ret_first, struct generation *ret_second)
{
    char name[CLONE_NAME_SIZE];
    char generation[GENERATION_SIZE];
    struct template_info info = {.source = "test"};
    (void)snprintf(info.name, sizeof(info.name), "%s", TEMPLATE);
    generation_of(TEMPLATE, NULL, ret_first);
    assert_ok(clone_make(TEMPLATE, NULL, 0, name, &err));
    assert_int_equal(clone_shell(0, "rm etc/resolv.conf; echo more > etc/more; mkdir etc/d"),
                     0);
    assert_ok(
        fixture.storage.driver->commit(&fixture.storage, name, NULL, &info, generation, &err));
    generation_of(TEMPLATE, NULL, ret_second);
    assert_string_equal(ret_second->id, generation);
}

static struct generation_arrival arrival_of(const struct generation *generation,
                                            const char *base)
{
    struct generation_arrival arrival = {.pinned = true, .created = generation->created};
    memcpy(arrival.id, generation->id, sizeof(arrival.id));
    memcpy(arrival.identity, generation->identity, sizeof(arrival.identity));
    (void)snprintf(arrival.base, sizeof(arrival.base), "%s", base);
    return arrival;
}

static int receive(const char *name, const struct buffer *stream,
                   const struct generation_arrival *arrival, struct error *err)
{
    int payload = -EBADF;
    struct storage_import import = {.tree_fd = -EBADF};
    struct template_info info = {.source = "elsewhere"};
    (void)snprintf(info.name, sizeof(info.name), "%s", name);
    int r = natives()->begin(&fixture.storage, arrival->base, &import, &payload, err);
    if (r < 0)
        return r;
    r = fd_write_all(payload, stream->data, stream->length);
    fd_close(import.tree_fd);
    if (r == 0)
        r = natives()->publish(&fixture.storage, &import, payload, &info, arrival, err);
    fd_close(payload);
    if (r < 0 && fixture.storage.driver->abort(&fixture.storage, import.key, NULL) < 0)
        fail_msg("abort failed");
    return r;
}

static void check_same(const char *name, const struct generation *generation)
{
    struct generation now;
    _cleanup_buffer_ struct buffer here = {0};
    _cleanup_buffer_ struct buffer there = {0};
    generation_of(name, NULL, &now);
    assert_string_equal(now.id, generation->id);
    assert_string_equal(now.identity, generation->identity);
    assert_int_equal(now.created, generation->created);
    assert_true(now.pinned);
    template_list_tree(TEMPLATE, generation->id, &there);
    template_list_tree(name, now.id, &here);
    assert_string_equal(here.data, there.data);
}

/* Two generations, and the streams of the first one and of what follows it. */
struct sent {
    struct generation first;
    struct generation second;
    struct buffer whole;
    struct buffer next;
    struct generation_arrival one;
    struct generation_arrival two;
};

static void sent_make(struct sent *ret)
{
    change(&ret->first, &ret->second);
    send(ret->first.id, NULL, &ret->whole);
    send(ret->second.id, ret->first.id, &ret->next);
    ret->one = arrival_of(&ret->first, "");
    ret->two = arrival_of(&ret->second, ret->first.id);
}

static void sent_clear(struct sent *sent)
{
    buffer_clear(&sent->whole);
    buffer_clear(&sent->next);
}

void native_whole_and_next(void **state)
{
    _cleanup_(sent_clear) struct sent sent = {0};
    sent_make(&sent);
    assert_ok(receive("copy", &sent.whole, &sent.one, &err));
    check_same("copy", &sent.first);
    assert_ok(receive("copy", &sent.next, &sent.two, &err));
    check_same("copy", &sent.second);
    assert_int_equal(count_generations("copy"), 2);
    /* it can be started, changed and rolled back as any other */
    assert_ok(fixture.storage.driver->rollback(&fixture.storage, "copy", sent.first.id, &err));
    assert_ok(clone_make("copy", sent.second.id, 1, NULL, &err));
    assert_int_equal(clone_shell(1, "test -e etc/more && ! test -e etc/resolv.conf"), 0);
}

static void expect_refused(const char *name, const struct buffer *stream,
                           const struct generation_arrival *arrival, int errnum)
{
    struct error refusal = {0};
    size_t before = count_generations(name);
    assert_int_equal(receive(name, stream, arrival, &refusal), -errnum);
    assert_true(*refusal.text);
    assert_int_equal(count_generations(name), before);
}

static void run(const char *command, struct buffer *ret)
{
    const char *const argv[] = {"sh", "-c", command, NULL};
    assert_ok(program_capture(argv, STREAM_MAX, ret, &err));
}

void native_refused(void **state)
{
    char command[256];
    _cleanup_(sent_clear) struct sent sent = {0};
    _cleanup_buffer_ struct buffer package = {0};
    _cleanup_buffer_ struct buffer nothing = {0};
    const struct buffer garbage = {.data = (char[]){"this is no stream of anything at all, but "
                                                    "long enough to hold the beginning of one"},
                                   .length = 80};
    sent_make(&sent);
    expect_refused("copy", &garbage, &sent.one, EBADMSG);
    /* datasets with their properties, which would be set here */
    (void)snprintf(command, sizeof(command), "zfs send -R contract/" TEMPLATE "@%s",
                   sent.first.id);
    run(command, &package);
    expect_refused("copy", &package, &sent.one, EBADMSG);
    expect_refused("copy", &sent.next, &sent.one, EBADMSG);
    /* one that breaks off where the digest of who has sent it was right */
    sent.whole.length -= sent.whole.length / 3;
    struct error refusal = {0};
    assert_true(receive("copy", &sent.whole, &sent.one, &refusal) < 0);
    assert_int_equal(count_generations("copy"), 0);
    sent.whole.length = 0;
    send(sent.first.id, NULL, &sent.whole);
    assert_ok(receive("copy", &sent.whole, &sent.one, &err));
    expect_refused("copy", &sent.whole, &sent.two, EBADMSG);
    /* nothing later than the base is lost, whoever has made it */
    (void)snprintf(command, sizeof(command), "zfs snapshot contract/copy@somebodys");
    run(command, &nothing);
    expect_refused("copy", &sent.next, &sent.two, ESTALE);
    run("zfs destroy contract/copy@somebodys", &nothing);
    assert_ok(receive("copy", &sent.next, &sent.two, &err));
    assert_ok(fixture.storage.driver->collect(&fixture.storage, &err));
}

struct step {
    const char *name;
    const struct buffer *stream;
    const struct generation_arrival *arrival;
};

static int step_receive(void *data)
{
    struct error err = {0};
    const struct step *step = data;
    int r = receive(step->name, step->stream, step->arrival, &err);
    if (r < 0)
        (void)fprintf(stderr, "receive: %s\n", err.text);
    return r;
}

static void remove_copy(void)
{
    assert_ok(fixture.storage.driver->remove_template(&fixture.storage, "copy", &err));
    assert_ok(fixture.storage.driver->collect(&fixture.storage, &err));
}

void crash_native(void **state)
{
    _cleanup_(sent_clear) struct sent sent = {0};
    sent_make(&sent);
    struct step steps[] = {{"copy", &sent.whole, &sent.one}, {"copy", &sent.next, &sent.two}};
    for (size_t i = 0; i < ELEMENTS(steps); i++) {
        bool complete = false;
        for (unsigned n = 0; !complete && n < CRASH_STEPS_MAX; n += crash_every()) {
            if (i > 0 && count_generations("copy") == 0)
                assert_ok(receive("copy", &sent.whole, &sent.one, &err));
            complete = killed_at(n, step_receive, &steps[i]);
            assert_ok(fixture.storage.driver->collect(&fixture.storage, &err));
            size_t after = count_generations("copy");
            assert_true(after == i + 1 || (after == i && !complete));
            if (after > i)
                remove_copy();
        }
        assert_true(complete);
    }
}
