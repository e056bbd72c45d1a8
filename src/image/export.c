/* SPDX-License-Identifier: Apache-2.0 */
/* A tree as one archive. Runs in isolate-image as root; the tree is hostile. */
#include "image/export.h"

#include "base/text.h"
#include "image/progress.h"
#include "image/tar_write.h"

#include <fcntl.h>
#include <unistd.h>

static int export_entry(void *data, const struct walk_entry *entry, struct error *err)
{
    return tar_write_entry(data, entry, -EBADF, err);
}

static int export_enter(void *data, const struct walk_entry *entry, int directory_fd,
                        struct error *err)
{
    return tar_write_entry(data, entry, directory_fd, err);
}

static int check_name(const char *path, struct error *err)
{
    const char *slash = strrchr(path, '/');
    return text_after(slash ? slash + 1 : path, ".wh.")
               ? fail(err, ERROR_UNSUPPORTED, EINVAL,
                      "\"%.300s\" cannot be in an image, where its name means that something "
                      "is deleted; rename it, or export to tar:",
                      path)
               : 0;
}

static int layer_entry(void *data, const struct walk_entry *entry, struct error *err)
{
    int r = check_name(entry->path, err);
    return r < 0 ? r : tar_write_entry(data, entry, -EBADF, err);
}

static int layer_enter(void *data, const struct walk_entry *entry, int directory_fd,
                       struct error *err)
{
    int r = check_name(entry->path, err);
    return r < 0 ? r : tar_write_entry(data, entry, directory_fd, err);
}

struct measure {
    uint64_t bytes;
};

static int measure_entry(void *data, const struct walk_entry *entry, struct error *err)
{
    struct measure *measure = data;
    if (S_ISREG(entry->mode) && !entry->is_mount_point)
        measure->bytes += entry->size / (entry->links ? entry->links : 1);
    return 0;
}

static int measure_enter(void *data, const struct walk_entry *entry, int directory_fd,
                         struct error *err)
{
    return 0;
}

void image_expect(int root_fd, struct progress *progress)
{
    struct measure measure = {0};
    const struct walk_visitor visitor = {
        .entry = measure_entry, .enter = measure_enter, .data = &measure};
    /* what cannot be read is said by who needs it */
    if (progress && progress->draws && walk_tree(root_fd, &visitor, NULL) == 0)
        progress_expect(progress, measure.bytes);
}

static int export_by(struct walk_visitor visitor, int root_fd, struct tar_writer *writer,
                     struct error *err)
{
    _cleanup_close_ int cwd = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    visitor.data = writer;
    int r = walk_tree(root_fd, &visitor, err);
    if (r == 0)
        r = tar_write_end(writer, err);
    if (cwd >= 0 && fchdir(cwd) < 0 && r == 0)
        r = fail(err, ERROR_SYSTEM, errno, "return to the working directory: ");
    return r;
}

int image_export(int root_fd, struct sink *sink, struct progress *progress, struct error *err)
{
    _cleanup_tar_writer_ struct tar_writer writer = {0};
    const struct walk_visitor visitor = {.entry = export_entry, .enter = export_enter};
    int r = tar_writer_init(&writer, sink, progress, err);
    return r < 0 ? r : export_by(visitor, root_fd, &writer, err);
}

int image_export_layer(int root_fd, struct sink *sink, struct progress *progress,
                       struct error *err)
{
    _cleanup_tar_writer_ struct tar_writer writer = {0};
    const struct walk_visitor visitor = {.entry = layer_entry, .enter = layer_enter};
    int r = tar_writer_init(&writer, sink, progress, err);
    writer.no_holes = true;
    return r < 0 ? r : export_by(visitor, root_fd, &writer, err);
}

int image_export_tar(int root_fd, int out_fd, struct progress *progress, struct error *err)
{
    struct sink_fd out = sink_fd(out_fd, "write the archive");
    progress_begin(progress, "export");
    image_expect(root_fd, progress);
    return image_export(root_fd, &out.sink, progress, err);
}
