/* SPDX-License-Identifier: Apache-2.0 */
/* See program.h. Runs in isolate-init and, with the command's rights and filter, in what was to
 * become the command; the files are hostile. */
#include "init/program.h"

#include "base/cleanup.h"
#include "base/text.h"

#include <fcntl.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#define SEGMENTS_MAX 64
#define HASHBANG_MAX 256 /* of a script's first line, as the kernel reads it: execve(2) */

int program_open(const char *path, struct stat *ret)
{
    /* O_NONBLOCK: a fifo in its place must not stop us */
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0 || fstat(fd, ret) < 0)
        return -errno;
    return S_ISREG(ret->st_mode) ? TAKE_FD(fd) : -EINVAL;
}

static bool read_at(int fd, uint64_t offset, void *data, size_t length)
{
    return offset <= INT32_MAX && pread(fd, data, length, (off_t)offset) == (ssize_t)length;
}

static bool read_header(int fd, ElfW(Ehdr) * ret)
{
    return read_at(fd, 0, ret, sizeof(*ret)) && memcmp(ret->e_ident, ELFMAG, SELFMAG) == 0;
}

bool program_linker(const char *path, char ret[static PATH_MAX])
{
    struct stat st;
    ElfW(Ehdr) header;
    ElfW(Phdr) segment;
    _cleanup_close_ int fd = program_open(path, &st);
    if (fd < 0 || !read_header(fd, &header) || header.e_phentsize != sizeof(segment) ||
        header.e_phnum > SEGMENTS_MAX)
        return false;
    for (unsigned i = 0; i < header.e_phnum; i++) {
        if (!read_at(fd, header.e_phoff + i * sizeof(segment), &segment, sizeof(segment)))
            return false;
        if (segment.p_type != PT_INTERP)
            continue;
        return segment.p_filesz > 1 && segment.p_filesz <= PATH_MAX &&
               read_at(fd, segment.p_offset, ret, segment.p_filesz) && *ret == '/' &&
               ret[segment.p_filesz - 1] == '\0';
    }
    return false;
}

/* Where execvp found the file: itself, or the first of PATH. */
static bool find(const char *file, char ret[static PATH_MAX])
{
    const char *path = strchr(file, '/') ? "" : getenv("PATH");
    struct stat st;
    for (; path; path = strchr(path, ':') ? strchr(path, ':') + 1 : NULL) {
        int length = (int)strcspn(path, ":");
        int n = snprintf(ret, PATH_MAX, "%.*s%s%s", length, path, length > 0 ? "/" : "", file);
        if (n < PATH_MAX && stat(ret, &st) == 0 && S_ISREG(st.st_mode))
            return true;
    }
    return false;
}

/* The interpreter that a script names in its first line. */
static bool script_interpreter(int fd, char ret[static HASHBANG_MAX + 1])
{
    char line[HASHBANG_MAX + 1] = "";
    if (pread(fd, line, HASHBANG_MAX, 0) < 2 || !text_after(line, "#!"))
        return false;
    const char *begin = line + 2 + strspn(line + 2, " \t");
    (void)snprintf(ret, HASHBANG_MAX + 1, "%.*s", (int)strcspn(begin, " \t\r\n"), begin);
    return true;
}

static int missing_interpreter(const char *path, struct error *err)
{
    char script[HASHBANG_MAX + 1] = "";
    char linker[PATH_MAX] = "";
    struct stat st;
    _cleanup_close_ int fd = program_open(path, &st);
    bool known = (fd >= 0 && script_interpreter(fd, script)) || program_linker(path, linker);
    const char *name = *script ? script : linker;
    return fail(err, ERROR_NOT_EXECUTABLE, ENOENT,
                "%s: cannot be executed: its interpreter%s%.256s is not in the sandbox", path,
                known ? " " : "", name);
}

static const char *machine_name(unsigned machine)
{
    static const struct {
        unsigned machine;
        const char *name;
    } machines[] = {
        {EM_386, "i386"},        {EM_X86_64, "x86_64"}, {EM_ARM, "arm"},
        {EM_AARCH64, "aarch64"}, {EM_RISCV, "riscv"},   {EM_PPC, "powerpc"},
        {EM_PPC64, "powerpc64"}, {EM_S390, "s390"},     {EM_MIPS, "mips"},
        {EM_SPARCV9, "sparc64"},
    };
    for (size_t i = 0; i < sizeof(machines) / sizeof(*machines); i++)
        if (machines[i].machine == machine)
            return machines[i].name;
    return NULL;
}

/* ENOEXEC. */
static int no_program(const char *path, struct error *err)
{
    ElfW(Ehdr) header;
    struct stat st;
    struct utsname host = {0};
    _cleanup_close_ int fd = program_open(path, &st);
    if (fd < 0 || !read_header(fd, &header))
        return fail(err, ERROR_NOT_EXECUTABLE, ENOEXEC,
                    "%s: cannot be executed: neither a program nor a script that begins "
                    "with #!",
                    path);
    (void)uname(&host);
    const char *machine = machine_name(header.e_machine);
    if (machine && streq(machine, host.machine))
        return fail(err, ERROR_NOT_EXECUTABLE, ENOEXEC,
                    "%s: cannot be executed: the program is damaged", path);
    return fail(err, ERROR_NOT_EXECUTABLE, ENOEXEC,
                "%s: cannot be executed: a program for %s, and this machine is %s; install "
                "qemu-user-static, which registers an emulator with binfmt_misc",
                path, machine ? machine : "an unknown architecture", host.machine);
}

int program_refused(const char *file, int errnum, struct error *err)
{
    char path[PATH_MAX];
    bool found = find(file, path);
    if (found && errnum == ENOENT)
        return missing_interpreter(path, err);
    if (errnum == ENOENT || errnum == ENOTDIR)
        return fail(err, ERROR_NO_COMMAND, errnum, "%s: no such command in the sandbox", file);
    if (found && errnum == ENOEXEC)
        return no_program(path, err);
    return fail(err, ERROR_NOT_EXECUTABLE, errnum, "%s: cannot be executed: ", file);
}
