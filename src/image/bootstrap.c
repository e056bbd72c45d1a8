/* SPDX-License-Identifier: Apache-2.0 */
/* Templates of Debian and Ubuntu by mmdebstrap(1). Runs in isolate-image as root, inside the
 * mount and pid namespace that isolated has made for it: mmdebstrap mounts, and executes the
 * packages' own scripts in its temporary directory (below TMPDIR). What it makes comes as a tar
 * stream into the confined unpacker, so that nothing that packages contain is ever written by
 * path into storage, and a bootstrap that breaks off leaves no half of a mount or process
 * there. */
#include "image/bootstrap.h"

#include "image/image.h"
#include "image/progress.h"
#include "sys/fd.h"
#include "sys/process.h"
#include "sys/program.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>

#define CONFIG_MAX      (4 * 1024 * 1024)
#define LOG_MAX         (64 * 1024 * 1024)
#define STOP_TIMEOUT_MS 10000

/* The arguments of mmdebstrap, which point into `text`. */
struct arguments {
    struct buffer text; /* each argument with its NUL */
    const char **list;
};

static void arguments_clear(struct arguments *arguments)
{
    buffer_clear(&arguments->text);
    freep(&arguments->list);
}

static const char *distribution_name(const struct image_source *source)
{
    return source->kind == IMAGE_SOURCE_UBUNTU ? "ubuntu" : "debian";
}

/* Where apt has no source of the distribution, mmdebstrap's own mirror is used and is trusted
 * by the distribution's keyring alone. */
static int check_keyring(const struct image_source *source, struct error *err)
{
    bool ubuntu = source->kind == IMAGE_SOURCE_UBUNTU;
    static const char *const endings[] = {"gpg", "pgp"};
    for (size_t i = 0; i < ELEMENTS(endings); i++) {
        char path[128];
        (void)snprintf(path, sizeof(path), "/usr/share/keyrings/%s-archive-keyring.%s",
                       distribution_name(source), endings[i]);
        if (access(path, R_OK) == 0)
            return 0;
    }
    return fail(err, ERROR_NOT_FOUND, ENOENT,
                "source %s:%s: the keys of %s are not on this machine; install the package %s",
                distribution_name(source), source->suite, ubuntu ? "Ubuntu" : "Debian",
                ubuntu ? "ubuntu-keyring" : "debian-archive-keyring");
}

static void add(struct buffer *text, const char *argument)
{
    buffer_append(text, argument, strlen(argument) + 1);
}

/* The machine's proxies. They are removed from the template again by bootstrap_finish. */
static int add_proxies(struct buffer *text, struct error *err)
{
    static const char *const argv[] = {"apt-config", "dump", "Acquire", NULL};
    _cleanup_buffer_ struct buffer dump = {0};
    _cleanup_buffer_ struct buffer options = {0};
    int r = program_capture(argv, CONFIG_MAX, &dump, err);
    if (r < 0 && r != -ENOENT)
        return error_prefix(err, r, "ask apt for its proxies: ");
    apt_proxy_options(dump.data ? dump.data : "", &options);
    for (size_t at = 0; at < options.length; at += strlen(options.data + at) + 1) {
        buffer_append_text(text, "--aptopt=");
        add(text, options.data + at);
    }
    return 0;
}

static int build_arguments(const struct image_source *source, const struct apt_sources *mirrors,
                           struct arguments *ret, struct error *err)
{
    static const char *const fixed[] = {"mmdebstrap", "--mode=root", "--variant=minbase",
                                        "--format=tar", "--components=main"};
    struct buffer *text = &ret->text;
    for (size_t i = 0; i < ELEMENTS(fixed); i++)
        add(text, fixed[i]);
    int r = add_proxies(text, err);
    if (r < 0)
        return r;
    add(text, "--");
    add(text, source->suite);
    add(text, "-");
    for (size_t i = 0; i < mirrors->n; i++) {
        apt_source_line(&mirrors->items[i], true, text);
        buffer_append_char(text, '\0');
    }
    size_t n = 0;
    for (size_t i = 0; i < text->length; i++)
        n += text->data[i] == '\0';
    ret->list = calloc(n + 1, sizeof(*ret->list));
    if (text->failed || !ret->list)
        return fail(err, ERROR_SYSTEM, ENOMEM, "run mmdebstrap: ");
    const char *p = text->data;
    for (size_t i = 0; i < n; i++, p += strlen(p) + 1)
        ret->list[i] = p;
    return 0;
}

static int bootstrap_failed(const struct image_source *source, int log_fd,
                            const struct error *how, struct error *err)
{
    _cleanup_buffer_ struct buffer text = {0};
    char why[360] = "no reason given";
    if (lseek(log_fd, 0, SEEK_SET) == 0 && fd_read_all(log_fd, LOG_MAX, &text) == 0 &&
        text.data)
        program_complaint(text.data, why, sizeof(why));
    return fail(err, error_code_of_errno(strstr(why, "No space left") ? ENOSPC : EIO),
                strstr(why, "No space left") ? ENOSPC : EIO, "source %s:%s: %s: %s",
                distribution_name(source), source->suite, how->text, why);
}

/* Ends mmdebstrap, which removes its temporary directory when it is asked politely. */
static void stop(pid_t pid)
{
    _cleanup_close_ int pidfd = pidfd_open_pid(pid);
    if (pidfd < 0 || pidfd_signal(pidfd, SIGTERM) < 0)
        return;
    if (pidfd_wait(pidfd, STOP_TIMEOUT_MS) == 0)
        (void)!pidfd_signal(pidfd, SIGKILL);
}

static int run(const struct image_source *source, const char *const *argv, int target_fd,
               struct progress *progress, struct error *err)
{
    struct error theirs = {0};
    struct error ours = {0};
    int ends[2];
    pid_t pid = -1;
    _cleanup_close_ int log = memfd_create("mmdebstrap", MFD_CLOEXEC);
    if (log < 0 || pipe2(ends, O_CLOEXEC) < 0)
        return fail(err, ERROR_SYSTEM, errno, "run mmdebstrap: ");
    _cleanup_close_ int stream = ends[0];
    _cleanup_close_ int writing = ends[1];
    int r = program_start(argv, writing, log, &pid, err);
    if (r == -ENOENT)
        return fail(err, ERROR_NOT_FOUND, ENOENT,
                    "source %s:%s: mmdebstrap is not installed; apt-get install mmdebstrap",
                    distribution_name(source), source->suite);
    if (r < 0)
        return r;
    fd_closep(&writing);
    if (progress)
        progress->log_fd = log;
    int unpacked =
        image_extract(stream, "the output of mmdebstrap", target_fd, progress, &ours);
    fd_closep(&stream);
    if (progress)
        progress->log_fd = -EBADF;
    /* a stream that breaks off is mmdebstrap's failure, anything else is the unpacker's */
    if (unpacked < 0 && unpacked != -EBADMSG)
        stop(pid);
    int ended = program_wait(pid, "mmdebstrap", &theirs);
    if (ended < 0 && (unpacked == 0 || unpacked == -EBADMSG))
        return bootstrap_failed(source, log, &theirs, err);
    if (unpacked < 0 && err)
        *err = ours;
    return unpacked;
}

int image_bootstrap(const struct image_source *source, int target_fd, struct progress *progress,
                    struct error *err)
{
    _cleanup_apt_sources_ struct apt_sources mirrors = {.n = 0};
    _cleanup_(arguments_clear) struct arguments arguments = {0};
    progress_begin(progress, "bootstrap");
    int r = apt_sources_load(distribution_name(source), source->suite, &mirrors, err);
    if (r == 0 && mirrors.n == 0)
        r = check_keyring(source, err);
    if (r == 0)
        r = build_arguments(source, &mirrors, &arguments, err);
    if (r == 0)
        r = run(source, arguments.list, target_fd, progress, err);
    return r < 0 ? r : bootstrap_finish(target_fd, &mirrors, err);
}
