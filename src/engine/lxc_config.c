/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration of the engine lxc, and the arguments of lxc-start. The sandbox is what the
 * pod is already, ids, network and limits included: lxc makes a mount and a pid namespace in
 * it. Nothing of it was written by a caller. Pure; allocates. Source: lxc.container.conf(5),
 * lxc-start(1), version 5. */
#include "engine/order.h"

#include "spec/message.h"
#include "sys/caps.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define HARDENED "nosuid,nodev,noexec"

/* "CAP_SETUID" is "setuid" there. */
static void append_capabilities(struct buffer *text, uint64_t capabilities)
{
    buffer_append_text(text, "lxc.cap.keep =");
    for (unsigned i = 0; i < 64; i++) {
        const char *name = caps_name(i);
        if (!(capabilities & CAP_BIT(i)) || !name)
            continue;
        buffer_append_char(text, ' ');
        for (name += strlen("CAP_"); *name; name++)
            buffer_append_char(text, (char)tolower(*name));
    }
    buffer_append_char(text, '\n');
}

/* Places are below the root, without a slash in front. */
static void append_proc(struct buffer *text, const struct engine_plan *plan)
{
    buffer_append_text(text, "lxc.mount.entry = proc proc proc " HARDENED " 0 0\n");
    for (size_t i = 0; i < plan->n_read_only; i++)
        buffer_printf(text, "lxc.mount.entry = %s %s none bind,ro,relative," HARDENED " 0 0\n",
                      plan->read_only[i] + 1, plan->read_only[i] + 1);
    for (size_t i = 0; i < plan->n_hidden; i++) {
        const char *place = plan->hidden[i].path + 1;
        if (plan->hidden[i].is_directory)
            buffer_printf(
                text, "lxc.mount.entry = none %s tmpfs ro,mode=0555," HARDENED " 0 0\n", place);
        else
            buffer_printf(text, "lxc.mount.entry = /dev/null %s none bind,ro 0 0\n", place);
    }
}

static int make(const struct engine_plan *plan, const char *confinement,
                struct engine_order *ret)
{
    args_add(&ret->args, LXC_PROGRAM, "--foreground", "--quiet");
    args_add(&ret->args, "--lxcpath=/run", "--rcfile=" ENGINE_FILES "/lxc.conf", NULL);
    /* of its abstract socket, too: with the host's network any user of the machine could have
     * one of a name that is known, and lxc-start would wait for that user's answers */
    (void)snprintf(ret->name, sizeof(ret->name), "--name=" ENGINE_NAME "-%016" PRIx64,
                   plan->chance);
    args_add(&ret->args, ret->name, NULL, NULL);
    ret->flags = START_ENGINE_SYSTEM | START_ENGINE_FILLS_DEV;
    ret->file = ENGINE_FILES "/lxc.conf";
    buffer_append_text(&ret->text, confinement);
    buffer_append_text(
        &ret->text, "lxc.rootfs.path = dir:" ENGINE_ROOT "\n"
                    "lxc.namespace.clone = mnt pid\n"
                    "lxc.net.0.type = none\n"
                    "lxc.autodev = 0\n"
                    "lxc.console.path = none\n"
                    /* lxc takes what is at /dev/pts away, whatever it is to put there */
                    "lxc.mount.entry = " ENGINE_ROOT "/dev/pts dev/pts none bind,optional 0 0\n"
                    "lxc.init.cmd = " ENGINE_INNER " " ENGINE_INNER_ARGUMENT "\n");
    if (!plan->host_network) {
        /* its command socket is out of the sandbox's reach */
        ret->flags |= START_ENGINE_APART;
        buffer_append_text(&ret->text, "lxc.namespace.share.net = " ENGINE_NETWORK "\n");
    }
    append_capabilities(&ret->text, plan->capabilities);
    append_proc(&ret->text, plan);
    return ret->text.failed ? -ENOMEM : 0;
}

int lxc_order(const struct engine_plan *plan, struct engine_order *ret)
{
    return make(plan, "lxc.apparmor.profile = unconfined\nlxc.no_new_privs = 1\n", ret);
}

/* The inner init sets no_new_privs, behind the change of profile, which the kernel may refuse
 * to who has it. That the kernel's AppArmor knows of mounts LXC cannot see in the pod. */
int lxc_order_confined(const struct engine_plan *plan, struct engine_order *ret)
{
    int r = make(plan,
                 "lxc.apparmor.profile = " LXC_PROFILE "\nlxc.apparmor.allow_incomplete = 1\n",
                 ret);
    ret->flags |= START_ENGINE_PROFILE;
    return r;
}
