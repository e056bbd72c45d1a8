/* SPDX-License-Identifier: Apache-2.0 */
/* A tree as an image of one layer in an OCI image layout (image-layout.md and manifest.md of
 * the OCI image specification 1.0). Runs in isolate-image as root; the tree is hostile, the
 * layout is the caller's, who is root, and what is in it is believed no more than that it is
 * the index of a layout. */
#include "base/text.h"
#include "image/blob.h"
#include "image/export.h"
#include "image/oci.h"
#include "image/progress.h"
#include "sys/fd.h"

#include <fcntl.h>
#include <jansson.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>

#define MANIFEST  "application/vnd.oci.image.manifest.v1+json"
#define CONFIG    "application/vnd.oci.image.config.v1+json"
#define LAYER     "application/vnd.oci.image.layer.v1.tar+gzip"
#define LAYOUT    "{\"imageLayoutVersion\":\"1.0.0\"}"
#define INDEX_MAX (4U << 20)

static int oci_failed(const char *what, int errnum, struct error *err)
{
    return fail(err, error_code_of_errno(errnum < 0 ? -errnum : errnum), errnum,
                "OCI layout: %s: ", what);
}

static json_t *descriptor(const char *type, const struct blob *blob)
{
    return json_pack("{s:s, s:s, s:I}", "mediaType", type, "digest", blob->digest, "size",
                     (json_int_t)blob->size);
}

/* A JSON document as a blob. */
static int json_blob(int blobs_fd, json_t *take_value, struct blob *ret, struct error *err)
{
    char *text = take_value ? json_dumps(take_value, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
    json_decref(take_value);
    if (!text)
        return oci_failed("write JSON", ENOMEM, err);
    int r = blob_of(blobs_fd, text, strlen(text), ret, err);
    free(text);
    return r;
}

struct image {
    const struct image_oci *about;
    int blobs_fd;
    struct blob layer;
    struct blob config;
    struct blob manifest;
    char diff_id[DIGEST_TEXT];
};

static int write_layer(struct image *image, int root_fd, struct progress *progress,
                       struct error *err)
{
    _cleanup_gzip_ struct gzip_sink gzip = {0};
    int r = blob_begin(&image->layer, image->blobs_fd, err);
    if (r == 0)
        r = gzip_begin(&gzip, &image->layer.sink, err);
    if (r == 0)
        r = image_export_layer(root_fd, &gzip.sink, progress, err);
    if (r == 0)
        r = gzip_end(&gzip, err);
    if (r == 0) {
        digest_text(&gzip.plain, image->diff_id);
        blob_end(&image->layer);
    }
    return r;
}

/* What oci_defaults takes from an image, as one has it. NULL: no memory, or no defaults. */
static json_t *config_of(const char *defaults)
{
    static const char *const names[][2] = {{"entrypoint", "Entrypoint"},
                                           {"cmd", "Cmd"},
                                           {"env", "Env"},
                                           {"workdir", "WorkingDir"},
                                           {"user", "User"}};
    json_t *config = json_object();
    json_t *from = json_loads(defaults, 0, NULL);
    bool good = config && json_is_object(from);
    for (size_t i = 0; good && i < ELEMENTS(names); i++) {
        json_t *value = json_object_get(from, names[i][0]);
        good = !value || json_object_set(config, names[i][1], value) == 0;
    }
    json_decref(from);
    if (good)
        return config;
    json_decref(config);
    return NULL;
}

static int write_config(struct image *image, struct error *err)
{
    char created[32];
    struct tm time = {0};
    time_t seconds = (time_t)image->about->created;
    if (!gmtime_r(&seconds, &time) ||
        !strftime(created, sizeof(created), "%Y-%m-%dT%H:%M:%SZ", &time))
        return oci_failed("time of creation", EOVERFLOW, err);
    return json_blob(image->blobs_fd,
                     json_pack("{s:s, s:s, s:s, s:o, s:{s:s, s:[s]}, s:[{s:s, s:s}]}",
                               "created", created, "architecture", oci_architecture(), "os",
                               "linux", "config", config_of(image->about->defaults), "rootfs",
                               "type", "layers", "diff_ids", image->diff_id, "history",
                               "created", created, "created_by", "isolate template export"),
                     &image->config, err);
}

static int write_manifest(struct image *image, struct error *err)
{
    return json_blob(image->blobs_fd,
                     json_pack("{s:i, s:s, s:o, s:[o]}", "schemaVersion", 2, "mediaType",
                               MANIFEST, "config", descriptor(CONFIG, &image->config), "layers",
                               descriptor(LAYER, &image->layer)),
                     &image->manifest, err);
}

/* The index that is there, or a new one. */
static int read_index(int layout_fd, json_t **ret, struct error *err)
{
    _cleanup_buffer_ struct buffer text = {0};
    int r = file_read_at(layout_fd, "index.json", INDEX_MAX, &text);
    json_t *index = r == -ENOENT ? json_pack("{s:i, s:[]}", "schemaVersion", 2, "manifests")
                    : r < 0      ? NULL
                                 : json_loadb(text.data ? text.data : "", text.length, 0, NULL);
    if (r < 0 && r != -ENOENT)
        return oci_failed("index.json", r, err);
    if (!json_is_array(json_object_get(index, "manifests"))) {
        json_decref(index);
        return fail(err, ERROR_INVALID, EINVAL,
                    "OCI layout: its index.json is no index of images; choose another "
                    "directory");
    }
    *ret = index;
    return 0;
}

/* One tag is of one image: an older one is no longer called so, and the same one is there once.
 */
static void forget_tag(json_t *manifests, const char *tag, const char *digest)
{
    for (size_t i = json_array_size(manifests); i > 0; i--) {
        const json_t *entry = json_array_get(manifests, i - 1);
        json_t *annotations = json_object_get(entry, "annotations");
        if (!streq(oci_text(annotations, OCI_REF_NAME), tag))
            continue;
        if (streq(oci_text(entry, "digest"), digest))
            (void)json_array_remove(manifests, i - 1);
        else
            (void)json_object_del(annotations, OCI_REF_NAME);
    }
}

/* For those who could read the old one. */
static int replace_index(int layout_fd, const char *text)
{
    struct stat old;
    bool is_there = fstatat(layout_fd, "index.json", &old, AT_SYMLINK_NOFOLLOW) == 0;
    int r = file_replace_at(layout_fd, "index.json", text, strlen(text), true);
    if (r == 0 && is_there &&
        (fchownat(layout_fd, "index.json", old.st_uid, old.st_gid, AT_SYMLINK_NOFOLLOW) < 0 ||
         fchmodat(layout_fd, "index.json", old.st_mode & 0777, 0) < 0))
        r = -errno;
    return r;
}

static int make_mark(int layout_fd)
{
    int r = file_exists_at(layout_fd, "oci-layout");
    return r != 0 ? (r < 0 ? r : 0)
                  : file_replace_at(layout_fd, "oci-layout", LAYOUT, strlen(LAYOUT), true);
}

static int write_index(const struct image *image, int layout_fd, struct error *err)
{
    json_t *index = NULL;
    int r = read_index(layout_fd, &index, err);
    if (r < 0)
        return r;
    json_t *manifests = json_object_get(index, "manifests");
    json_t *entry = descriptor(MANIFEST, &image->manifest);
    forget_tag(manifests, image->about->tag, image->manifest.digest);
    bool good = entry &&
                json_object_set_new(entry, "annotations",
                                    json_pack("{s:s}", OCI_REF_NAME, image->about->tag)) == 0 &&
                json_object_set_new(entry, "platform",
                                    json_pack("{s:s, s:s}", "architecture", oci_architecture(),
                                              "os", "linux")) == 0 &&
                json_array_append(manifests, entry) == 0;
    json_decref(entry);
    char *text = good ? json_dumps(index, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
    json_decref(index);
    r = text ? make_mark(layout_fd) : -ENOMEM;
    if (r == 0)
        r = replace_index(layout_fd, text);
    free(text);
    return r < 0 ? oci_failed("index.json", r, err) : 0;
}

/* blobs is ours, or of an export that was killed. */
static int check_is_new(int layout_fd, struct error *err)
{
    _cleanup_closedir_ DIR *dir = dir_stream(dir_open_at(layout_fd, "."));
    struct dirent *entry = NULL;
    if (!dir)
        return oci_failed("read the directory", -errno, err);
    int r = dir_next(dir, &entry);
    for (; r > 0; r = dir_next(dir, &entry))
        if (!streq(entry->d_name, "blobs"))
            return fail(err, ERROR_INVALID, ENOTEMPTY,
                        "OCI layout: the directory is neither a layout nor empty: it holds "
                        "\"%.200s\"; choose another",
                        entry->d_name);
    return r < 0 ? oci_failed("read the directory", r, err) : 0;
}

/* A layout that is there, or an empty directory to make one in. */
static int check_layout(int layout_fd, struct error *err)
{
    _cleanup_buffer_ struct buffer text = {0};
    int r = file_read_at(layout_fd, "oci-layout", 65536, &text);
    if (r == -ENOENT)
        return check_is_new(layout_fd, err);
    if (r < 0)
        return oci_failed("oci-layout", r, err);
    json_t *value = json_loadb(text.data ? text.data : "", text.length, 0, NULL);
    const char *version = json_string_value(json_object_get(value, "imageLayoutVersion"));
    if (!version || !streq(version, "1.0.0"))
        r = fail(err, ERROR_UNSUPPORTED, 0,
                 "OCI layout: its version is not 1.0.0 but \"%.40s\"; choose another "
                 "directory",
                 version ? version : "unknown");
    json_decref(value);
    return r;
}

static int open_blobs(int layout_fd, struct error *err)
{
    _cleanup_close_ int blobs = dir_make_at(layout_fd, "blobs", 0755);
    _cleanup_close_ int sha256 = blobs < 0 ? blobs : dir_make_at(blobs, "sha256", 0755);
    int fd = sha256 < 0 ? sha256 : dir_open_at(sha256, ".");
    return fd < 0 ? oci_failed("blobs/sha256", fd, err) : fd;
}

/* Of a layout that did not come to be. */
static void remove_empty(int layout_fd)
{
    (void)unlinkat(layout_fd, "blobs/sha256", AT_REMOVEDIR);
    (void)unlinkat(layout_fd, "blobs", AT_REMOVEDIR);
}

static int write_image(struct image *image, int root_fd, int layout_fd,
                       struct progress *progress, struct error *err)
{
    json_t *index = NULL;
    int r = read_index(layout_fd, &index, err); /* before the long part */
    json_decref(index);
    if (r == 0)
        r = write_layer(image, root_fd, progress, err);
    if (r == 0)
        r = write_config(image, err);
    if (r == 0)
        r = write_manifest(image, err);
    /* each of them may be what the disk has no room for: so none has its name before */
    if (r == 0)
        r = blob_keep(&image->layer, err);
    if (r == 0)
        r = blob_keep(&image->config, err);
    if (r == 0)
        r = blob_keep(&image->manifest, err);
    return r == 0 ? write_index(image, layout_fd, err) : r;
}

int image_export_oci(int root_fd, int layout_fd, const struct image_oci *about,
                     struct progress *progress, struct error *err)
{
    struct image *image = calloc(1, sizeof(*image));
    if (!image)
        return oci_failed("write", ENOMEM, err);
    image->about = about;
    progress_begin(progress, "export");
    image_expect(root_fd, progress);
    _cleanup_close_ int layout = dir_open_at(layout_fd, "."); /* with a lock of our own */
    int r = layout < 0 ? layout : flock(layout, LOCK_EX) < 0 ? -errno : 0;
    r = r < 0 ? oci_failed("open", r, err) : check_layout(layout, err);
    image->blobs_fd = r < 0 ? r : open_blobs(layout, err);
    r = image->blobs_fd < 0 ? image->blobs_fd
                            : write_image(image, root_fd, layout, progress, err);
    blob_clear(&image->layer);
    blob_clear(&image->config);
    blob_clear(&image->manifest);
    fd_close(image->blobs_fd);
    if (r < 0 && layout >= 0)
        remove_empty(layout);
    free(image);
    return r;
}
