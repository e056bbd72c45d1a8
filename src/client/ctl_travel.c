/* SPDX-License-Identifier: Apache-2.0 */
/* Verbs by which templates go to other machines. Run as the caller, who opens the files; an
 * image worker of isolated's reads and writes them. */
#include "base/log.h"
#include "base/text.h"
#include "client/ctl.h"
#include "client/out_file.h"
#include "spec/names.h"
#include "sys/fd.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

/* The file, and where progress is shown. isolated takes open files from root alone, and says so
 * itself. */
static struct fd_list travel_fds(int fd, bool quiet)
{
    struct fd_list fds = {.n = 0};
    int progress = ctl_progress_fd(quiet);
    if (geteuid() != 0)
        return fds;
    fds.fds[fds.n++] = fd;
    if (progress >= 0)
        fds.fds[fds.n++] = progress;
    return fds;
}

#define TARGETS "use tar:FILE (tar:- is standard output) or oci:DIR[:TAG]"

/* Where an export goes: a file, or a directory and a tag in it. */
struct target {
    struct out_file file;
    char directory[PATH_MAX];
    const char *tag; /* NULL: it is a file */
    int layout_fd;
    bool made; /* the directory was not there before */
};

static void target_clear(struct target *target)
{
    out_file_clear(&target->file);
    target->layout_fd = fd_close(target->layout_fd);
    if (target->made) /* empty, because nothing came of it */
        (void)rmdir(target->directory);
}

/* DIR[:TAG]: what is behind the last ":" is the tag, unless it is a part of a path. */
static int open_layout(const char *text, struct target *target, struct error *err)
{
    const char *colon = strrchr(text, ':');
    bool has_tag = colon && !strchr(colon, '/');
    size_t length = has_tag ? (size_t)(colon - text) : strlen(text);
    target->tag = has_tag ? colon + 1 : "latest";
    if (length == 0 || length >= sizeof(target->directory))
        return fail(err, ERROR_INVALID, EINVAL,
                    "template export: --to \"oci:%.100s\" names no directory; " TARGETS, text);
    int r = name_check_tag(target->tag, err);
    if (r < 0)
        return r;
    (void)snprintf(target->directory, sizeof(target->directory), "%.*s", (int)length, text);
    target->made = mkdir(target->directory, 0700) == 0;
    target->layout_fd = open(target->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return target->layout_fd < 0 ? fail(err, errno == ENOENT ? ERROR_NOT_FOUND : ERROR_SYSTEM,
                                        errno, "write %.300s: ", target->directory)
                                 : 0;
}

static int target_open(const char *to, struct target *target, struct error *err)
{
    const char *file = to ? text_after(to, "tar:") : NULL;
    const char *layout = to ? text_after(to, "oci:") : NULL;
    if (file && *file)
        return out_file_open(file, &target->file, err);
    if (layout)
        return open_layout(layout, target, err);
    if (!to)
        return fail(err, ERROR_INVALID, EINVAL, "template export: --to is missing; " TARGETS);
    return fail(err, ERROR_INVALID, EINVAL,
                "template export: --to \"%.100s\" is unknown; " TARGETS, to);
}

static int target_keep(struct target *target, struct error *err)
{
    target->made = false;
    return target->tag ? 0 : out_file_keep(&target->file, err);
}

int ctl_template_export(int argc, char **argv)
{
    struct error err = {0};
    const char *generation = NULL;
    _cleanup_ctl_verb_ struct ctl_verb verb = {0};
    _cleanup_(target_clear) struct target target = {.file = OUT_FILE_NONE, .layout_fd = -EBADF};
    if (!ctl_verb_begin(&verb, "template export", argc, argv))
        return verb.status;
    ctl_split_generation(verb.operands[0], &generation);
    if (target_open(verb.options.to, &target, &err) < 0)
        return ctl_failed(&err);
    const struct fd_list fds =
        travel_fds(target.tag ? target.layout_fd : target.file.fd, verb.options.quiet);
    const struct ctl_call call = {
        .method = "TemplateExport",
        .parameters = json_pack("{s:s, s:s?, s:s?}", "name", verb.operands[0], "generation",
                                generation, "tag", target.tag),
        .fd = -EBADF,
        .fds = &fds,
    };
    if (!ctl_verb_call(&verb, &call))
        return verb.status;
    if (target_keep(&target, &err) < 0)
        return ctl_failed(&err);
    if (json_is_true(json_object_get(verb.reply, "defaults_left_out")))
        log_warning(
            "template \"%s\": its entrypoint, command, variables, directory and user are "
            "not part of an archive; --to oci:DIR keeps them",
            verb.operands[0]);
    log_note("template \"%s\": generation %s is written to %s", verb.operands[0],
             ctl_verb_text(&verb, "generation"), verb.options.to);
    return 0;
}

int ctl_template_send(int argc, char **argv)
{
    struct error err = {0};
    const char *generation = NULL;
    _cleanup_ctl_verb_ struct ctl_verb verb = {0};
    _cleanup_out_file_ struct out_file file = OUT_FILE_NONE;
    if (!ctl_verb_begin(&verb, "template send", argc, argv))
        return verb.status;
    ctl_split_generation(verb.operands[0], &generation);
    if (out_file_open("-", &file, &err) < 0)
        return ctl_failed(&err);
    const struct fd_list fds = travel_fds(file.fd, verb.options.quiet);
    const struct ctl_call call = {
        .method = "TemplateSend",
        .parameters = json_pack("{s:s, s:s?, s:s?, s:b}", "name", verb.operands[0],
                                "generation", generation, "since", verb.options.since, "native",
                                (int)verb.options.native),
        .fd = -EBADF,
        .fds = &fds,
    };
    return ctl_verb_call(&verb, &call) ? 0 : verb.status;
}

int ctl_template_receive(int argc, char **argv)
{
    struct error err = {0};
    _cleanup_ctl_verb_ struct ctl_verb verb = {0};
    if (!ctl_verb_begin(&verb, "template receive", argc, argv))
        return verb.status;
    if (isatty(STDIN_FILENO)) {
        (void)fail(&err, ERROR_INVALID, EINVAL,
                   "standard input is a terminal; redirect it from what `isolate template "
                   "send` wrote");
        return ctl_failed(&err);
    }
    const struct fd_list fds = travel_fds(STDIN_FILENO, verb.options.quiet);
    const struct ctl_call call = {
        .method = "TemplateReceive",
        .parameters =
            json_pack("{s:s, s:s?}", "name", verb.operands[0], "storage", verb.options.storage),
        .fd = -EBADF,
        .fds = &fds,
    };
    if (!ctl_verb_call(&verb, &call))
        return verb.status;
    ctl_warn_in_memory(&verb, verb.operands[0]);
    log_note("template \"%s\": generation %s is here (storage %s)", verb.operands[0],
             ctl_verb_text(&verb, "generation"), ctl_verb_text(&verb, "storage"));
    return 0;
}
