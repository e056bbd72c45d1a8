/* SPDX-License-Identifier: Apache-2.0 */
/* Verbs by which templates go to other machines. Run as the caller, who opens the files; an
 * image worker of isolated's reads and writes them. */
#include "base/log.h"
#include "base/text.h"
#include "client/ctl.h"
#include "client/out_file.h"

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

static int check_target(const char *to, const char **ret_path, struct error *err)
{
    *ret_path = to ? text_after(to, "tar:") : NULL;
    if (*ret_path && **ret_path)
        return 0;
    if (!to)
        return fail(err, ERROR_INVALID, EINVAL,
                    "template export: --to is missing: tar:FILE, or tar:- for standard output");
    return fail(err, ERROR_INVALID, EINVAL,
                "template export: --to \"%.100s\" is unknown; use tar:FILE, or tar:- for "
                "standard output",
                to);
}

int ctl_template_export(int argc, char **argv)
{
    struct error err = {0};
    const char *path = NULL;
    const char *generation = NULL;
    _cleanup_ctl_verb_ struct ctl_verb verb = {0};
    _cleanup_out_file_ struct out_file file = OUT_FILE_NONE;
    if (!ctl_verb_begin(&verb, "template export", argc, argv))
        return verb.status;
    ctl_split_generation(verb.operands[0], &generation);
    int r = check_target(verb.options.to, &path, &err);
    if (r == 0)
        r = out_file_open(path, &file, &err);
    if (r < 0)
        return ctl_failed(&err);
    const struct fd_list fds = travel_fds(file.fd, verb.options.quiet);
    const struct ctl_call call = {
        .method = "TemplateExport",
        .parameters =
            json_pack("{s:s, s:s?}", "name", verb.operands[0], "generation", generation),
        .fd = -EBADF,
        .fds = &fds,
    };
    if (!ctl_verb_call(&verb, &call))
        return verb.status;
    if (out_file_keep(&file, &err) < 0)
        return ctl_failed(&err);
    log_note("template \"%s\": generation %s is written to %s", verb.operands[0],
             ctl_verb_text(&verb, "generation"), verb.options.to);
    return 0;
}
