/* SPDX-License-Identifier: Apache-2.0 */
/* See target.h. Runs as whoever fuzzes, often root: so what a bug could do is bounded first. */
#include "target.h"

#include "base/text.h"
#include "sys/fd.h"
#include "sys/tree.h"

#include <fcntl.h>
#include <linux/landlock.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#define FDS_MAX           1024
#define FILE_BYTES_MAX    (64U << 20)
#define EXIT_SKIPPED      33
#define LANDLOCK_TRUNCATE (1ULL << 14) /* LANDLOCK_ACCESS_FS_TRUNCATE, of ABI 3 */

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char directory[256];
static int directory_fd = -EBADF;
static pid_t owner;

static const char *parent_directory(void)
{
    const char *parent = getenv("TMPDIR");
    return parent ? parent : "/var/tmp";
}

/* ---- the walls ---- */

static const uint64_t reads_file = LANDLOCK_ACCESS_FS_READ_FILE;
static const uint64_t reads = LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR;
static const uint64_t writes = LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR |
                               LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_MAKE_CHAR |
                               LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_MAKE_REG |
                               LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_MAKE_FIFO |
                               LANDLOCK_ACCESS_FS_MAKE_BLOCK | LANDLOCK_ACCESS_FS_MAKE_SYM;

static void allow(int rules, const char *path, uint64_t access)
{
    _cleanup_close_ int fd = open(path, O_PATH | O_CLOEXEC);
    const struct landlock_path_beneath_attr rule = {.allowed_access = access, .parent_fd = fd};
    if (fd >= 0)
        (void)syscall(SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
}

/* What libFuzzer is to read and write: its corpora, a dictionary, and where it leaves what it
 * finds. With -merge=1 it runs itself by a shell, within the same walls, and reads from a file
 * there what else it is to read. */
static void allow_arguments(int rules, int argc, char **argv, uint64_t all)
{
    for (int i = 1; i < argc; i++) {
        const char *value = strchr(argv[i], '=');
        const char *path = *argv[i] != '-' ? argv[i] : value ? value + 1 : "";
        struct stat st;
        if (streq(argv[i], "-merge=1")) {
            allow(rules, parent_directory(), all);
            allow(rules, "/proc/self/exe", LANDLOCK_ACCESS_FS_EXECUTE);
            allow(rules, "/bin/sh", reads_file | LANDLOCK_ACCESS_FS_EXECUTE);
        }
        if (text_after(argv[i], "-merge_control_file=")) {
            allow(rules, parent_directory(), all);
            allow(rules, "/", reads);
        }
        if (stat(path, &st) == 0)
            allow(rules, path, S_ISDIR(st.st_mode) ? all : reads_file);
    }
}

static bool raise_walls(int argc, char **argv)
{
    long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    uint64_t all = reads | writes | (abi >= 3 ? LANDLOCK_TRUNCATE : 0);
    const struct landlock_ruleset_attr wanted = {
        .handled_access_fs = all | LANDLOCK_ACCESS_FS_EXECUTE,
    };
    _cleanup_close_ int rules = abi < 1 ? -EBADF
                                        : (int)syscall(SYS_landlock_create_ruleset, &wanted,
                                                       sizeof(wanted.handled_access_fs), 0);
    if (rules < 0)
        return false;
    allow(rules, directory, all);
    allow(rules, "/dev/null", reads | LANDLOCK_ACCESS_FS_WRITE_FILE);
    allow(rules, "/proc", reads);
    allow(rules, "/proc/self/exe", reads_file);
    /* what writes the report of a finding */
    allow(rules, "/usr/bin/llvm-symbolizer", LANDLOCK_ACCESS_FS_EXECUTE);
    allow(rules, "/lib64", LANDLOCK_ACCESS_FS_EXECUTE | reads);
    allow(rules, "/usr/lib", LANDLOCK_ACCESS_FS_EXECUTE | reads);
    if (!target_needs_walls)
        allow(rules, "/", reads);
    allow_arguments(rules, argc, argv, all);
    return syscall(SYS_landlock_restrict_self, rules, 0) == 0;
}

/* ---- the target's directory ---- */

static void remove_directory(void)
{
    if (getpid() != owner)
        return;
    target_sweep();
    (void)rmdir(directory);
}

static void make_directory(void)
{
    (void)snprintf(directory, sizeof(directory), "%.200s/isolate-fuzz-XXXXXX",
                   parent_directory());
    if (!mkdtemp(directory) ||
        (directory_fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
        abort();
    owner = getpid();
    (void)atexit(remove_directory);
}

int target_directory_fd(void)
{
    return directory_fd;
}

const char *target_directory(void)
{
    return directory;
}

void target_write(const char *name, const void *data, size_t size)
{
    _cleanup_close_ int fd =
        openat(directory_fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || fd_write_all(fd, data, size) < 0)
        abort();
}

void target_sweep(void)
{
    int fd = dir_open_at(directory_fd, ".");
    _cleanup_closedir_ DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    for (struct dirent *entry = dir ? readdir(dir) : NULL; entry; entry = readdir(dir))
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            (void)!tree_remove(directory_fd, entry->d_name);
}

/* ---- the input ---- */

uint8_t input_byte(struct input *input)
{
    if (input->left == 0)
        return 0;
    input->left--;
    return *input->at++;
}

uint32_t input_u32(struct input *input)
{
    uint32_t value = 0;
    for (int i = 0; i < 4; i++)
        value = value << 8 | input_byte(input);
    return value;
}

size_t input_below(struct input *input, size_t n)
{
    return input_byte(input) % n;
}

const uint8_t *input_bytes(struct input *input, size_t n, size_t *ret_length)
{
    const uint8_t *bytes = input->at;
    *ret_length = n < input->left ? n : input->left;
    input->at += *ret_length;
    input->left -= *ret_length;
    return bytes;
}

static char *copy(const uint8_t *bytes, size_t length)
{
    char *text = malloc(length + 1);
    if (!text)
        abort();
    if (length > 0)
        memcpy(text, bytes, length);
    text[length] = '\0';
    return text;
}

char *input_text(struct input *input)
{
    size_t length = strnlen((const char *)input->at, input->left);
    char *text = copy(input->at, length);
    input->at += length;
    input->left -= length;
    (void)input_byte(input);
    return text;
}

char *input_rest(struct input *input)
{
    char *text = input_text(input);
    input->left = 0;
    return text;
}

char **input_texts(struct input *input, size_t max, size_t *ret_n)
{
    char **texts = calloc(max + 1, sizeof(*texts));
    if (!texts)
        abort();
    for (*ret_n = 0; *ret_n < max && input->left > 0; (*ret_n)++)
        texts[*ret_n] = input_text(input);
    return texts;
}

void texts_free(char **texts)
{
    for (size_t i = 0; texts[i]; i++)
        free(texts[i]);
    free(texts);
}

/* ---- the process ---- */

static const char untouched[] = "as it was";

void target_make_outside(void)
{
    target_write(TARGET_OUTSIDE, untouched, sizeof(untouched));
}

void target_check_outside(void)
{
    _cleanup_buffer_ struct buffer text = {0};
    struct stat st;
    MUST(file_read_at(target_directory_fd(), TARGET_OUTSIDE, 4096, &text) == 0);
    MUST(text.length == sizeof(untouched) && memcmp(text.data, untouched, text.length) == 0);
    MUST(fstatat(target_directory_fd(), TARGET_OUTSIDE, &st, AT_SYMLINK_NOFOLLOW) == 0);
    MUST((st.st_mode & 07777) == 0600 && st.st_nlink == 1);
}

size_t target_count_fds(void)
{
    struct pollfd fds[FDS_MAX];
    size_t n = 0;
    for (int i = 0; i < FDS_MAX; i++)
        fds[i] = (struct pollfd){.fd = i};
    if (poll(fds, FDS_MAX, 0) < 0)
        abort();
    for (int i = 0; i < FDS_MAX; i++)
        n += !(fds[i].revents & POLLNVAL);
    return n;
}

void target_broken(const char *what, const char *file, int line)
{
    (void)fprintf(stderr, "%s:%d: must be so, and is not: %s\n", file, line, what);
    abort();
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    const struct rlimit fds = {FDS_MAX, FDS_MAX};
    const struct rlimit bytes = {FILE_BYTES_MAX, FILE_BYTES_MAX};
    make_directory();
    (void)signal(SIGXFSZ, SIG_IGN);
    (void)signal(SIGPIPE, SIG_IGN);
    if (setrlimit(RLIMIT_NOFILE, &fds) < 0 || setrlimit(RLIMIT_FSIZE, &bytes) < 0 ||
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        abort();
    if (!raise_walls(*argc, *argv) && target_needs_walls) {
        (void)fprintf(stderr, "this kernel has no Landlock, without which it is not run\n");
        exit(EXIT_SKIPPED);
    }
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    target_run(data, size);
    return 0;
}
