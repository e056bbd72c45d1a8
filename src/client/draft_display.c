/* SPDX-License-Identifier: Apache-2.0 */
/* The display and sound of a request: what --x11, --wayland and --audio make of it. Runs as the
 * caller. */
#include "client/run.h"

#include "base/text.h"
#include "client/display.h"

#include <string.h>

static const struct {
    enum option_id id;
    enum display_kind kind;
    const char *name;
} kinds[] = {
    {OPTION_X11, DISPLAY_X11, "x11"},
    {OPTION_X11_TRUSTED, DISPLAY_X11_TRUSTED, "x11-trusted"},
    {OPTION_WAYLAND, DISPLAY_WAYLAND, "wayland"},
    {OPTION_AUDIO, DISPLAY_AUDIO, "audio"},
};

bool run_draft_display_option(struct run_draft *draft, enum option_id id)
{
    for (size_t i = 0; i < ELEMENTS(kinds); i++) {
        if (kinds[i].id != id)
            continue;
        draft->display_kinds |= kinds[i].kind;
        return true;
    }
    return false;
}

bool run_draft_display_kind(struct run_draft *draft, const char *name)
{
    for (size_t i = 0; i < ELEMENTS(kinds); i++)
        if (streq(kinds[i].name, name))
            return run_draft_display_option(draft, kinds[i].id);
    return false;
}

/* What the directory is called: the uid where it is known here, else the user's name. */
static void directory_name(const struct run_draft *draft, char ret[static DISPLAY_NAME_MAX + 1])
{
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-";
    const char *json = run_draft_value(draft, "user");
    size_t n = json && *json == '"' ? strspn(json + 1, letters) : 0;
    bool plain = n > 0 && n <= DISPLAY_NAME_MAX && (json[1 + n] == '"' || json[1 + n] == ':');
    if (plain)
        (void)snprintf(ret, DISPLAY_NAME_MAX + 1, "%.*s", (int)n, json + 1);
    else if (json || run_draft_has(draft, "owner"))
        (void)snprintf(ret, DISPLAY_NAME_MAX + 1, "command");
    else
        (void)snprintf(ret, DISPLAY_NAME_MAX + 1, "%u",
                       run_draft_has(draft, "here") ? (unsigned)getuid() : 0);
}

static void describe(struct run_draft *draft)
{
    const struct display *display = draft->display;
    const char *separator = "";
    struct buffer *out = run_draft_member(draft, "display");
    buffer_append_text(out, "{\"kinds\":[");
    for (size_t i = 0; i < ELEMENTS(kinds); i++) {
        if (!(display->kinds & kinds[i].kind))
            continue;
        buffer_printf(out, "%s\"%s\"", separator, kinds[i].name);
        separator = ",";
    }
    buffer_printf(out, "],\"directory\":\"%s\",\"files\":[", display->directory);
    for (size_t i = 0; i < display->n_secrets; i++) {
        const struct display_secret *secret = &display->secrets[i];
        buffer_printf(out, "%s{\"name\":\"%s\",\"hex\":\"", i > 0 ? "," : "", secret->name);
        for (size_t k = 0; k < secret->content.length; k++)
            buffer_printf(out, "%02x", (unsigned char)secret->content.data[k]);
        buffer_append_text(out, "\"}");
    }
    buffer_append_text(out, "]}");
}

int run_draft_display(struct run_draft *draft, struct error *err)
{
    char name[DISPLAY_NAME_MAX + 1];
    if (draft->display_kinds == 0)
        return 0;
    if (draft->display_kinds & DISPLAY_X11 && draft->display_kinds & DISPLAY_X11_TRUSTED)
        return fail(err, ERROR_INVALID, EINVAL,
                    "--x11 and --x11-trusted exclude each other: the second one gives the "
                    "command all that you may do on the display");
    directory_name(draft, name);
    enum display_reach reach = draft->detach                   ? DISPLAY_REACH_ALONE
                               : run_draft_has(draft, "owner") ? DISPLAY_REACH_OWNER
                                                               : DISPLAY_REACH_CLIENT;
    int r = display_open(draft->display_kinds, name, reach, &draft->display, err);
    if (r < 0)
        return r;
    for (size_t i = 0; i < draft->display->n_sockets && r == 0; i++) {
        struct display_socket *socket = &draft->display->sockets[i];
        r = run_draft_socket(draft, TAKE_FD(socket->fd), socket->source, socket->target, err);
    }
    describe(draft);
    run_draft_env_first(draft, &draft->display->env);
    return r;
}
