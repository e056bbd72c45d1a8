/* SPDX-License-Identifier: Apache-2.0 */
/* Attack 23: write to the template through the clone. `template_write` changes what it can in
 * every way that the kernel has; each success is one inside the clone, and the test looks
 * whether the template or another clone shows it. `template_write PATH…` tries paths of the
 * host, too; `template_write --intact` waits for the end of its stdin and says whether its own
 * clone is as the template was. */
#include "attempt.h"

#include <linux/fs.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/xattr.h>

#define VICTIM "/attack/data/victim"

static long overwrite(void)
{
    int fd = open("/attack/data/overwrite", O_WRONLY | O_TRUNC);
    return fd < 0 ? -1 : write(fd, "ATTACKED", 8);
}

static long mapped(void)
{
    int fd = open("/attack/data/mapped", O_RDWR);
    char *map = fd < 0 ? MAP_FAILED : mmap(NULL, 8, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED)
        return -1;
    memcpy(map, "ATTACKED", 8);
    return msync(map, 8, MS_SYNC);
}

/* Mapped before the copy-up: the map of the template's page must not become writable. */
static long mapped_early(void)
{
    int reader = open("/attack/data/early", O_RDONLY);
    char *map = reader < 0 ? MAP_FAILED : mmap(NULL, 8, PROT_READ, MAP_SHARED, reader, 0);
    int writer = open("/attack/data/early", O_RDWR);
    if (map == MAP_FAILED || writer < 0)
        return -1;
    if (mprotect(map, 8, PROT_READ | PROT_WRITE) < 0)
        return -1;
    memcpy(map, "ATTACKED", 8);
    return 0;
}

static long reopened(void)
{
    char path[64];
    int fd = open("/attack/data/reopened", O_RDONLY);
    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    int writer = fd < 0 ? -1 : open(path, O_WRONLY);
    return writer < 0 ? -1 : write(writer, "ATTACKED", 8);
}

static long linked(void)
{
    if (link("/attack/data/linked", "/attack/data/second-name") < 0)
        return -1;
    int fd = open("/attack/data/second-name", O_WRONLY | O_TRUNC);
    return fd < 0 ? -1 : write(fd, "ATTACKED", 8);
}

static long attributes(void)
{
    const struct timeval zero[2] = {{0, 0}, {0, 0}};
    if (chmod(VICTIM, 0777) < 0 || chown(VICTIM, 1, 1) < 0)
        return -1;
    return utimes(VICTIM, zero);
}

static long remove_and_rename(void)
{
    if (unlink("/attack/data/removed") < 0)
        return -1;
    return rename("/attack/data/renamed", "/attack/data/renamed-away");
}

static long rename_directory(void)
{
    return rename("/attack/data/directory", "/attack/data/directory-away");
}

static long punch(void)
{
    int fd = open("/attack/data/punched", O_WRONLY);
    return fd < 0 ? -1 : ftruncate(fd, 1);
}

static long clone_range(void)
{
    int from = open("/attack/data/overwrite", O_RDONLY);
    int to = open("/attack/data/cloned", O_WRONLY);
    return from < 0 || to < 0 ? -1 : copy_file_range(from, NULL, to, NULL, 8, 0);
}

static long overlay_redirect(void)
{
    return setxattr("/attack/data", "trusted.overlay.redirect", "/../../../etc", 13, 0);
}

static long overlay_opaque(void)
{
    return setxattr("/attack/data", "user.overlay.opaque", "y", 1, 0);
}

static long file_flags(void)
{
    int flags = FS_IMMUTABLE_FL;
    int fd = open(VICTIM, O_RDONLY);
    return fd < 0 ? -1 : ioctl(fd, FS_IOC_SETFLAGS, &flags);
}

static long reconfigure(void)
{
    return mount(NULL, "/", NULL, MS_REMOUNT, "upperdir=/attack");
}

static long host_path(const void *data)
{
    char path[4200];
    (void)snprintf(path, sizeof(path), "%s/attacked", (const char *)data);
    int fd = open(path, O_WRONLY | O_CREAT, 0600);
    return fd;
}

static long is_intact(void)
{
    static const char *const names[] = {
        "victim",  "overwrite", "mapped",  "early",  "reopened",       "linked",
        "removed", "renamed",   "punched", "cloned", "directory/file",
    };
    char path[64];
    char text[9] = "";
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        (void)snprintf(path, sizeof(path), "/attack/data/%s", names[i]);
        int fd = open(path, O_RDONLY);
        if (fd < 0 || read(fd, text, 8) != 8 || strcmp(text, "ORIGINAL") != 0)
            return fail_with(EIO);
        (void)close(fd);
    }
    return 0;
}

static void wait_for_end(void)
{
    char byte = 0;
    while (read(0, &byte, 1) > 0)
        continue;
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "--intact") == 0) {
        (void)printf("ready: SUCCEEDED\n");
        (void)fflush(stdout);
        wait_for_end();
        attempt("intact", is_intact);
        return 0;
    }
    attempt("overwrite", overwrite);
    attempt("mapped", mapped);
    attempt("mapped_early", mapped_early);
    attempt("reopened", reopened);
    attempt("linked", linked);
    attempt("attributes", attributes);
    attempt("remove_and_rename", remove_and_rename);
    attempt("rename_directory", rename_directory);
    attempt("punch", punch);
    attempt("clone_range", clone_range);
    attempt("overlay_redirect", overlay_redirect);
    attempt("overlay_opaque", overlay_opaque);
    attempt("file_flags", file_flags);
    attempt("reconfigure", reconfigure);
    for (int i = 1; i < argc; i++)
        attempt_with("host_path", host_path, argv[i]);
    (void)printf("done: SUCCEEDED\n");
    (void)fflush(stdout);
    wait_for_end(); /* the test looks while this clone is still mounted */
    return 0;
}
