/* SPDX-License-Identifier: Apache-2.0 */
/* From an OCI layout's index to the manifest for this machine (image-spec: image-layout.md,
 * image-index.md). Runs in the confined planner; all JSON is hostile. */
#include "base/text.h"
#include "image/oci.h"

#include <string.h>
#include <sys/utsname.h>

#define INDEX_DEPTH_MAX 4 /* indexes of indexes */

const char *oci_architecture(void)
{
    static const struct {
        const char *machine; /* uname -m */
        const char *name;    /* GOARCH */
    } known[] = {
        {"x86_64", "amd64"},
        {"aarch64", "arm64"},
        {"armv7l", "arm"},
        {"armv6l", "arm"},
        {"i686", "386"},
        {"i586", "386"},
        {"ppc64le", "ppc64le"},
        {"s390x", "s390x"},
        {"riscv64", "riscv64"},
        {"mips64", "mips64le"},
        {"loongarch64", "loong64"},
    };
    static struct utsname name;
    if (uname(&name) < 0)
        return "unknown";
    for (size_t i = 0; i < ELEMENTS(known); i++)
        if (streq(name.machine, known[i].machine))
            return known[i].name;
    return name.machine;
}

static bool is_index(const char *type)
{
    return streq(type, "application/vnd.oci.image.index.v1+json") ||
           streq(type, "application/vnd.docker.distribution.manifest.list.v2+json");
}

static bool is_manifest(const char *type)
{
    return streq(type, "application/vnd.oci.image.manifest.v1+json") ||
           streq(type, "application/vnd.docker.distribution.manifest.v2+json");
}

/* How well a descriptor fits this machine: 0 not at all. Without a platform it may be anything;
 * of several variants the plain one runs everywhere. */
static int fitness(const json_t *descriptor)
{
    const json_t *platform = json_object_get(descriptor, "platform");
    if (!json_is_object(platform))
        return 1;
    if (!streq(oci_text(platform, "os"), "linux") ||
        !streq(oci_text(platform, "architecture"), oci_architecture()))
        return 0;
    const char *variant = oci_text(platform, "variant");
    return !*variant || streq(variant, "v8") ? 4 : streq(variant, "v1") ? 3 : 2;
}

/* The list of what is there, for a message. */
static void list_platforms(const json_t *manifests, char *out, size_t size)
{
    size_t index = 0;
    size_t length = 0;
    const json_t *item = NULL;
    *out = '\0';
    json_array_foreach((json_t *)manifests, index, item)
    {
        char one[96];
        char escaped[128];
        const json_t *platform = json_object_get(item, "platform");
        (void)snprintf(one, sizeof(one), "%.40s/%.40s", oci_text(platform, "os"),
                       oci_text(platform, "architecture"));
        text_escape(escaped, sizeof(escaped), one);
        int n = snprintf(out + length, size - length, "%s%s", length ? ", " : "", escaped);
        if (n < 0 || (size_t)n >= size - length)
            return;
        length += (size_t)n;
    }
}

/* Of those of a tag (NULL: any) the one that fits best. */
static const json_t *best_of(const json_t *manifests, const char *tag)
{
    size_t index = 0;
    int best = 0;
    const json_t *item = NULL;
    const json_t *found = NULL;
    json_array_foreach((json_t *)manifests, index, item)
    {
        int fits = fitness(item);
        const char *name = oci_text(json_object_get(item, "annotations"), OCI_REF_NAME);
        if (fits <= best || (tag && !streq(name, tag)))
            continue;
        best = fits;
        found = item;
    }
    return found;
}

static json_t *find_in_index(int socket_fd, const json_t *index, const char *tag, int depth,
                             struct error *err)
{
    const json_t *manifests = json_object_get(index, "manifests");
    const json_t *found = best_of(manifests, tag);
    char platforms[200];
    if (!found) {
        list_platforms(manifests, platforms, sizeof(platforms));
        (void)fail(err, ERROR_UNSUPPORTED, ENOEXEC,
                   "the image is for other machines (%s); this one is linux/%s",
                   *platforms ? platforms : "none at all", oci_architecture());
        return NULL;
    }
    const char *type = oci_text(found, "mediaType");
    if (!is_index(type) && !is_manifest(type)) {
        (void)fail(err, ERROR_UNSUPPORTED, EOPNOTSUPP,
                   "the image is of a kind that is not known (\"%.100s\")", type);
        return NULL;
    }
    json_t *value = oci_ask_described(socket_fd, found, err);
    if (!value || is_manifest(type))
        return value;
    json_t *manifest = NULL;
    if (depth >= INDEX_DEPTH_MAX)
        (void)fail(err, ERROR_INVALID, ELOOP,
                   "the image has more than %d indexes in each other", INDEX_DEPTH_MAX);
    else
        manifest = find_in_index(socket_fd, value, NULL, depth + 1, err);
    json_decref(value);
    return manifest;
}

/* The tags that there are, for a message; how many different ones. */
static size_t list_tags(const json_t *manifests, char *out, size_t size)
{
    size_t index = 0;
    size_t n = 0;
    size_t length = 0;
    const char *last = NULL;
    const json_t *item = NULL;
    *out = '\0';
    json_array_foreach((json_t *)manifests, index, item)
    {
        char escaped[160];
        const char *name = oci_text(json_object_get(item, "annotations"), OCI_REF_NAME);
        if (last && streq(last, name))
            continue;
        last = name;
        n++;
        text_escape(escaped, sizeof(escaped), *name ? name : "(none)");
        int added = snprintf(out + length, size - length, "%s%s", length ? ", " : "", escaped);
        if (added > 0 && (size_t)added < size - length)
            length += (size_t)added;
        else
            out[length] = '\0';
    }
    return n;
}

static bool has_tag(const json_t *manifests, const char *tag)
{
    size_t index = 0;
    const json_t *item = NULL;
    json_array_foreach((json_t *)manifests, index, item)
    {
        if (streq(oci_text(json_object_get(item, "annotations"), OCI_REF_NAME), tag))
            return true;
    }
    return false;
}

static int check_tag(const json_t *index, const char *tag, struct error *err)
{
    char tags[200];
    const json_t *manifests = json_object_get(index, "manifests");
    size_t n = list_tags(manifests, tags, sizeof(tags));
    if (!json_is_array(manifests) || n == 0)
        return fail(err, ERROR_NOT_FOUND, ENOENT, "there is no image in it");
    if (tag && !has_tag(manifests, tag))
        return fail(err, ERROR_NOT_FOUND, ENOENT,
                    "there is no tag \"%.100s\" in it; there is: %s", tag, tags);
    if (!tag && n > 1)
        return fail(err, ERROR_INVALID, EINVAL,
                    "there are several images in it; say which one with :TAG: %s", tags);
    return 0;
}

json_t *oci_find_manifest(int socket_fd, json_t *take_layout, const char *tag,
                          struct error *err)
{
    const struct oci_ask index = {
        .kind = OCI_ASK_FILE, .size = OCI_JSON_MAX, .name = "index.json"};
    bool known = text_after(oci_text(take_layout, "imageLayoutVersion"), "1.");
    json_decref(take_layout);
    if (!known) {
        (void)fail(err, ERROR_UNSUPPORTED, EOPNOTSUPP,
                   "its oci-layout is of a version that is not known; 1.0.0 is");
        return NULL;
    }
    json_t *value = oci_ask_json(socket_fd, &index, err);
    if (!value)
        return NULL;
    json_t *manifest = NULL;
    if (check_tag(value, tag, err) == 0)
        manifest = find_in_index(socket_fd, value, tag, 0, err);
    json_decref(value);
    return manifest;
}
