/* SPDX-License-Identifier: Apache-2.0 */
/* From manifest and configuration to the layers of an image: OCI's (image-spec: manifest.md,
 * config.md), docker's schema 2, and the manifest.json of `docker save`. Runs in the confined
 * planner; all JSON is hostile. */
#include "base/text.h"
#include "image/beneath.h"
#include "image/oci.h"

#include <string.h>

void oci_image_clear(struct oci_image *image)
{
    json_decref(image->config);
    image->config = NULL;
}

static int check_layer_type(const char *type, struct error *err)
{
    static const char *const known[] = {
        "application/vnd.oci.image.layer.v1.tar",
        "application/vnd.oci.image.layer.v1.tar+gzip",
        "application/vnd.oci.image.layer.v1.tar+zstd",
        "application/vnd.docker.image.rootfs.diff.tar",
        "application/vnd.docker.image.rootfs.diff.tar.gzip",
        "application/vnd.docker.image.rootfs.diff.tar.zstd",
    };
    for (size_t i = 0; i < ELEMENTS(known); i++)
        if (streq(type, known[i]))
            return 0;
    if (strstr(type, "foreign") || strstr(type, "nondistributable"))
        return fail(err, ERROR_UNSUPPORTED, EOPNOTSUPP,
                    "it is a foreign layer (\"%.100s\"), whose content is somewhere else; make "
                    "the image anew without it",
                    type);
    if (strstr(type, "encrypted"))
        return fail(err, ERROR_UNSUPPORTED, EOPNOTSUPP,
                    "it is encrypted (\"%.100s\"); decrypt the image first, with `skopeo copy "
                    "--decryption-key`",
                    type);
    return fail(err, ERROR_UNSUPPORTED, EOPNOTSUPP,
                "it is of a kind that is not known (\"%.100s\")", type);
}

static int check_config(const json_t *config, struct error *err)
{
    const char *os = oci_text(config, "os");
    const char *architecture = oci_text(config, "architecture");
    char made_for[96];
    char escaped[128];
    (void)snprintf(made_for, sizeof(made_for), "%.40s/%.40s", os, architecture);
    text_escape(escaped, sizeof(escaped), made_for);
    if (!streq(os, "linux") || !streq(architecture, oci_architecture()))
        return fail(err, ERROR_UNSUPPORTED, ENOEXEC,
                    "the image is for %s, and this machine is linux/%s", escaped,
                    oci_architecture());
    if (!streq(oci_text(json_object_get(config, "rootfs"), "type"), "layers"))
        return fail(err, ERROR_UNSUPPORTED, EOPNOTSUPP,
                    "the image's configuration: its rootfs is not made of layers");
    return 0;
}

/* The digests of what is in the layers, of which there must be as many. */
static int take_diff_digests(struct oci_image *image, struct error *err)
{
    size_t index = 0;
    const json_t *item = NULL;
    const json_t *digests =
        json_object_get(json_object_get(image->config, "rootfs"), "diff_ids");
    if (json_array_size(digests) != image->n_layers)
        return fail(err, ERROR_INVALID, EINVAL,
                    "the image has %zu layers, and its configuration %zu", image->n_layers,
                    json_array_size(digests));
    json_array_foreach((json_t *)digests, index, item)
    {
        const char *digest = json_string_value(item);
        if (!digest || !digest_is_valid(digest))
            return fail(err, ERROR_INVALID, EINVAL,
                        "the image's configuration names a layer by no digest that can be "
                        "checked; only sha256 is known");
        (void)snprintf(image->layers[index].diff_digest, DIGEST_TEXT, "%s", digest);
    }
    return 0;
}

static int take_configuration(struct oci_image *image, json_t *take_config, struct error *err)
{
    image->config = take_config;
    if (!take_config)
        return -EBADMSG; /* said already */
    int r = check_config(image->config, err);
    return r < 0 ? r : take_diff_digests(image, err);
}

/* ---- OCI, docker's schema 2 ---- */

static int take_layer(const json_t *descriptor, struct oci_layer *ret, struct error *err)
{
    const char *digest = oci_text(descriptor, "digest");
    json_int_t size = json_integer_value(json_object_get(descriptor, "size"));
    int r = check_layer_type(oci_text(descriptor, "mediaType"), err);
    if (r < 0)
        return r;
    if (!digest_is_valid(digest))
        return fail(err, ERROR_INVALID, EINVAL,
                    "it has no digest that can be checked (\"%.80s\"); only sha256 is known",
                    digest);
    if (size <= 0)
        return fail(err, ERROR_INVALID, EINVAL, "its size is not given");
    ret->size = (uint64_t)size;
    (void)snprintf(ret->digest, sizeof(ret->digest), "%s", digest);
    return 0;
}

static int take_layers(const json_t *layers, struct oci_image *image, struct error *err)
{
    size_t n = json_array_size(layers);
    if (!json_is_array(layers) || n > OCI_LAYERS_MAX)
        return fail(err, ERROR_INVALID, E2BIG,
                    "the image's manifest: \"layers\" must be a list of at most %d",
                    OCI_LAYERS_MAX);
    for (image->n_layers = 0; image->n_layers < n; image->n_layers++) {
        int r = take_layer(json_array_get(layers, image->n_layers),
                           &image->layers[image->n_layers], err);
        if (r < 0)
            return error_prefix(err, r, "layer %zu of %zu: ", image->n_layers + 1, n);
    }
    return 0;
}

static int take_manifest(int socket_fd, const json_t *manifest, struct oci_image *image,
                         struct error *err)
{
    const json_t *config = json_object_get(manifest, "config");
    const char *type = oci_text(config, "mediaType");
    if (json_integer_value(json_object_get(manifest, "schemaVersion")) != 2)
        return fail(err, ERROR_UNSUPPORTED, EOPNOTSUPP,
                    "the image's manifest is not of schema 2; copy the image with a newer "
                    "`skopeo copy`");
    if (!streq(type, "application/vnd.oci.image.config.v1+json") &&
        !streq(type, "application/vnd.docker.container.image.v1+json"))
        return fail(err, ERROR_UNSUPPORTED, EOPNOTSUPP,
                    "it is no image of a system: its configuration is of the kind \"%.100s\"",
                    type);
    int r = take_layers(json_object_get(manifest, "layers"), image, err);
    return r < 0 ? r
                 : take_configuration(image, oci_ask_described(socket_fd, config, err), err);
}

/* ---- docker save ---- */

/* Without the host and the path that are left out where a name is short. */
static const char *short_name(const char *name)
{
    static const char *const hosts[] = {"docker.io/library/", "docker.io/", "localhost/"};
    for (size_t i = 0; i < ELEMENTS(hosts); i++) {
        const char *rest = text_after(name, hosts[i]);
        if (rest)
            return rest;
    }
    return name;
}

/* Each means the same with and without what it is short for. */
static bool names_are_same(const char *saved, const char *wanted)
{
    const char *rest = text_after(short_name(saved), short_name(wanted));
    return rest && (!*rest || streq(rest, ":latest"));
}

static bool is_tagged(const json_t *item, const char *tag)
{
    size_t index = 0;
    const json_t *one = NULL;
    json_array_foreach(json_object_get(item, "RepoTags"), index, one)
    {
        const char *text = json_string_value(one);
        if (text && names_are_same(text, tag))
            return true;
    }
    return false;
}

/* The names that there are, for a message. */
static void list_names(const json_t *list, char *out, size_t size)
{
    size_t n = 0;
    *out = '\0';
    for (size_t i = 0; i < json_array_size(list); i++) {
        char escaped[160];
        const json_t *names = json_object_get(json_array_get(list, i), "RepoTags");
        const char *name = json_string_value(json_array_get(names, 0));
        text_escape(escaped, sizeof(escaped), name ? name : "(none)");
        int added = snprintf(out + n, size - n, "%s%s", n ? ", " : "", escaped);
        if (added < 0 || (size_t)added >= size - n) {
            out[n] = '\0';
            return;
        }
        n += (size_t)added;
    }
}

static const json_t *find_saved(const json_t *list, const char *tag, struct error *err)
{
    size_t index = 0;
    const json_t *item = NULL;
    char names[200];
    size_t n = json_array_size(list);
    if (n == 0) {
        (void)fail(err, ERROR_NOT_FOUND, ENOENT, "there is no image in it");
        return NULL;
    }
    if (!tag && n == 1)
        return json_array_get(list, 0);
    json_array_foreach((json_t *)list, index, item)
    {
        if (tag && is_tagged(item, tag))
            return item;
    }
    list_names(list, names, sizeof(names));
    if (tag)
        (void)fail(err, ERROR_NOT_FOUND, ENOENT,
                   "there is no image \"%.100s\" in it; there is: %s", tag, names);
    else
        (void)fail(err, ERROR_INVALID, EINVAL,
                   "there are %zu images in it; say which one with :NAME[:TAG]: %s", n, names);
    return NULL;
}

static int take_name(const json_t *value, char ret[static OCI_NAME_SIZE], struct error *err)
{
    const char *text = json_string_value(value);
    if (!text || strlen(text) >= OCI_NAME_SIZE || !*text)
        return fail(err, ERROR_INVALID, EINVAL,
                    "manifest.json: a file's name is missing or has more than %d bytes",
                    OCI_NAME_SIZE - 1);
    int r = beneath_normalize(text, ret, err);
    return r < 0 ? error_prefix(err, r, "manifest.json: \"%.100s\": ", text) : 0;
}

/* The configuration is named by its digest: ID.json, or blobs/sha256/ID. */
static void digest_of_name(const char *name, char ret[static DIGEST_TEXT])
{
    const char *slash = strrchr(name, '/');
    (void)snprintf(ret, DIGEST_TEXT, "sha256:%.64s", slash ? slash + 1 : name);
    if (!digest_is_valid(ret))
        *ret = '\0';
}

static int take_saved(int socket_fd, const json_t *item, struct oci_image *image,
                      struct error *err)
{
    struct oci_ask config = {.kind = OCI_ASK_FILE, .size = OCI_JSON_MAX};
    const json_t *layers = json_object_get(item, "Layers");
    size_t n = json_array_size(layers);
    int r = take_name(json_object_get(item, "Config"), config.name, err);
    if (r == 0 && n > OCI_LAYERS_MAX)
        r = fail(err, ERROR_INVALID, E2BIG, "manifest.json: more than %d layers",
                 OCI_LAYERS_MAX);
    for (image->n_layers = 0; r == 0 && image->n_layers < n; image->n_layers++)
        r = take_name(json_array_get(layers, image->n_layers),
                      image->layers[image->n_layers].name, err);
    if (r < 0)
        return r;
    digest_of_name(config.name, config.digest);
    return take_configuration(image, oci_ask_json(socket_fd, &config, err), err);
}

static json_t *ask_file(int socket_fd, const char *name, struct error *err)
{
    struct oci_ask ask = {.kind = OCI_ASK_FILE, .size = OCI_JSON_MAX};
    (void)snprintf(ask.name, sizeof(ask.name), "%s", name);
    return oci_ask_json(socket_fd, &ask, err);
}

/* Of `docker save`, by its list. */
static int read_saved(int socket_fd, json_t *take_list, const char *tag, struct oci_image *ret,
                      struct error *err)
{
    const json_t *item = find_saved(take_list, tag, err);
    int r = item ? take_saved(socket_fd, item, ret, err) : -err->errnum;
    json_decref(take_list);
    return r;
}

static int read_layout(int socket_fd, json_t *take_layout, const char *tag,
                       struct oci_image *ret, struct error *err)
{
    json_t *manifest = oci_find_manifest(socket_fd, take_layout, tag, err);
    int r = manifest ? take_manifest(socket_fd, manifest, ret, err) : -err->errnum;
    json_decref(manifest);
    return r;
}

/* An archive is of the one kind or of the other, and says so by the file that it has. */
static int read_archive(int socket_fd, const char *tag, struct oci_image *ret,
                        struct error *err)
{
    struct error other = {0};
    json_t *file = ask_file(socket_fd, "manifest.json", err);
    if (file)
        return read_saved(socket_fd, file, tag, ret, err);
    if (err->errnum != ENOENT)
        return -err->errnum;
    file = ask_file(socket_fd, "oci-layout", &other);
    if (file)
        return read_layout(socket_fd, file, tag, ret, err);
    if (other.errnum != ENOENT)
        *err = other;
    return -err->errnum;
}

int oci_read_image(int socket_fd, const char *tag, bool is_archive, struct oci_image *ret,
                   struct error *err)
{
    json_t *layout = is_archive ? NULL : ask_file(socket_fd, "oci-layout", err);
    int r = is_archive ? read_archive(socket_fd, tag, ret, err)
            : layout   ? read_layout(socket_fd, layout, tag, ret, err)
                       : -err->errnum;
    return r;
}
