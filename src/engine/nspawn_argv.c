/* SPDX-License-Identifier: Apache-2.0 */
/* The arguments of systemd-nspawn, which makes mount, pid, ipc and uts namespaces of its own in
 * the pod, and a sandbox whose /dev and /run it makes, too: those of the pod are bound
 * over them, because what the caller wants is there. The inner init gets its fds as sockets of
 * a service do. Pure; allocates. Source: systemd-nspawn(1), version 252, and
 * docs/ENVIRONMENT.md of systemd. */
#include "engine/order.h"

#include "spec/message.h"
#include "sys/caps.h"

#include <string.h>

#define VIEW(directory) "--bind=" ENGINE_VIEW directory ":" directory

/* Comma-separated names of what is in the set, behind `option`, with a NUL at the end. */
static void append_names(struct buffer *text, const char *option, uint64_t capabilities)
{
    const char *separator = "";
    buffer_append_text(text, option);
    for (unsigned i = 0; i < 64; i++) {
        if (!(capabilities & CAP_BIT(i)) || !caps_name(i))
            continue;
        buffer_printf(text, "%s%s", separator, caps_name(i));
        separator = ",";
    }
    buffer_append_char(text, '\0');
}

/* Its strings are in text, which may move as it grows: places first. */
static void append_text(struct buffer *text, const struct engine_plan *plan)
{
    buffer_printf(text, "--hostname=%s", plan->hostname);
    buffer_append_char(text, '\0');
    /* the inner init unmounts ENGINE_PINNED_PROC; it drops what the start does not have */
    uint64_t capabilities = plan->capabilities | caps_default() | caps_from_name("SYS_ADMIN");
    append_names(text, "--capability=", capabilities);
    append_names(text, "--drop-capability=", caps_all() & ~capabilities);
    for (size_t i = 0; i < plan->n_hidden; i++) {
        bool is_directory = plan->hidden[i].is_directory;
        buffer_printf(text, "%s%s%s",
                      is_directory ? "--tmpfs=" : "--bind-ro=/dev/null:", plan->hidden[i].path,
                      is_directory ? ":ro,mode=0555" : "");
        buffer_append_char(text, '\0');
    }
}

int nspawn_order(const struct engine_plan *plan, struct engine_order *ret)
{
    static const char *const environment[] = {"SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1",
                                              "SYSTEMD_NSPAWN_TMPFS_TMP=0", NULL};
    struct args *args = &ret->args;
    append_text(&ret->text, plan);
    if (ret->text.failed)
        return -ENOMEM;
    args_add(args, NSPAWN_PROGRAM, "--quiet", "--settings=no");
    args_add(args, "--register=no", "--keep-unit", "--directory=" ENGINE_ROOT);
    args_add(args, "--machine=" ENGINE_NAME, "--console=pipe", "--no-new-privileges=yes");
    /* not its choice of system calls, which lacks what the inner init confines with */
    args_add(args, "--system-call-filter=@known", NULL, NULL);
    args_add(args, "--resolv-conf=off", "--timezone=off", "--link-journal=no");
    args_add(args, VIEW("/dev"), VIEW("/run"), NULL);
    for (size_t at = 0; at < ret->text.length; at += strlen(ret->text.data + at) + 1)
        args_add(args, ret->text.data + at, NULL, NULL);
    args_add(args, "--", ENGINE_INNER, ENGINE_INNER_ARGUMENT);
    ret->environment = environment;
    ret->flags =
        START_ENGINE_SYSTEM | START_ENGINE_LISTEN | START_ENGINE_VIEW | START_ENGINE_FILLS_DEV;
    return 0;
}
