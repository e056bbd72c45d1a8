/* SPDX-License-Identifier: Apache-2.0 */
/* Images of containers: OCI layouts (image-spec 1.x) and the archives of `docker save`. Several
 * processes work on one, all of isolate-image, and none of them holds more than its part:
 *
 *   the parent   holds the layout's directory or the archive, and reads nothing of either
 *   a reader     one for each file: gets it as an fd, may open nothing, checks the digest of
 *                what is stored, decompresses it and writes it to a pipe
 *   the planner  reads all JSON, from such pipes, and says what layers there are; makes nothing
 *   a checker    one for each layer: checks the digest of what a reader writes on its way to
 *   a maker      one for each layer: locked into the target, unpacks what comes out of a pipe
 *
 * So what a layer's digest vouches for was read by nobody who has read anything else of the
 * image, but for the layers below it: whatever takes one of these processes over, a layer is
 * what its digest says, or its maker was taken over by that very layer or one below. The
 * planner asks the parent for files over a socket, of which both ends take only what is
 * declared here. */
#pragma once

#include "base/buffer.h"
#include "base/error.h"
#include "image/digest.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct image_child;
struct image_container;
struct progress;

#define OCI_NAME_SIZE    256        /* of a file in an archive */
#define OCI_JSON_MAX     (1U << 20) /* bytes of any JSON of an image */
#define OCI_LAYERS_MAX   512
#define OCI_DEFAULTS_MAX 60000 /* bytes of what the image says of its commands */

/* ---- what an image is, as the planner has read it ---- */

struct oci_layer {
    char name[OCI_NAME_SIZE];      /* in an archive of docker's; "" : by digest */
    char digest[DIGEST_TEXT];      /* of the layer as it is stored; "" : not known */
    char diff_digest[DIGEST_TEXT]; /* of the tar archive in it */
    uint64_t size;                 /* as it is stored; 0: not known */
};

struct oci_layers {
    struct oci_layer *items; /* the lowest first */
    size_t n;
};

struct oci_image {
    struct oci_layer layers[OCI_LAYERS_MAX]; /* the lowest first */
    size_t n_layers;
    json_t *config;
};

/* ---- between planner and parent ---- */

enum oci_ask_kind {
    OCI_ASK_FILE,     /* a file by its name: answered with a pipe */
    OCI_ASK_BLOB,     /* the same by its digest */
    OCI_ASK_VERDICT,  /* the last one has been read to its end: was it what it should be? */
    OCI_ASK_TOTAL,    /* no question: `size` bytes will have been read when all is done */
    OCI_ASK_LAYER,    /* no question: the next layer, the lowest first */
    OCI_ASK_WORKDIR,  /* no question: a path of `size` bytes follows, which is to be there */
    OCI_ASK_DEFAULTS, /* no question: `size` bytes of JSON follow */
    OCI_ASK_ARCHIVE, /* the parent's own: the archive itself, nothing if it is not compressed */
};

struct oci_ask {
    uint32_t kind;
    uint16_t is_layer;     /* to be decompressed; counts as progress */
    uint16_t is_as_stored; /* a layer that is not to be decompressed */
    uint64_t size;         /* BLOB, LAYER: its size, 0 not known; FILE: how large it may be */
    char name[OCI_NAME_SIZE];
    char digest[DIGEST_TEXT];
    char diff_digest[DIGEST_TEXT];
};

/* Whether the texts of a message end in it. Pure. */
bool oci_ask_is_ended(const struct oci_ask *ask);

/* oci_ask.c: the planner's side of the socket. */

/* A member that is a string; "" where there is none. Pure. */
const char *oci_text(const json_t *object, const char *key);
/* To be asked when the pipe is at its end: 0, or what was wrong. */
int oci_ask_verdict(int socket_fd, struct error *err) _must_check_;
/* A whole file of JSON; the caller's. NULL: err->errnum says why, ENOENT where there is no such
 * file. */
json_t *oci_ask_json(int socket_fd, const struct oci_ask *ask, struct error *err);
/* One that a descriptor names, with its digest and size. */
json_t *oci_ask_described(int socket_fd, const json_t *descriptor, struct error *err);

#define OCI_REF_NAME "org.opencontainers.image.ref.name" /* the annotation with a tag */
/* oci_index.c: finds the manifest of this machine's platform in an OCI layout. tag NULL: the
 * only image there is. */
json_t *oci_find_manifest(int socket_fd, json_t *take_layout, const char *tag,
                          struct error *err);
/* The machine's architecture as images call it. Pure. */
const char *oci_architecture(void);

/* oci_manifest.c: from what is in the layout or archive to layers and configuration. ret is to
 * be cleared in any case. */
int oci_read_image(int socket_fd, const char *tag, bool is_archive, struct oci_image *ret,
                   struct error *err) _must_check_;
void oci_image_clear(struct oci_image *image);

/* oci_config.c: what the configuration says of commands: {"entrypoint", "cmd", "env": [TEXT…],
 * "workdir", "user": TEXT}, without what it does not say. Pure. */
int oci_defaults(const json_t *config, json_t **ret, struct error *err) _must_check_;

/* oci_plan.c: the planner, already confined. */
int oci_plan(int socket_fd, const char *tag, bool is_archive, struct error *err) _must_check_;

/* oci_stream.c: a reader, already confined. file_fd is the file, or the archive that holds
 * ask->name. Returns when all is written to pipe_fd, or its other end is closed. */
int oci_stream(int file_fd, bool is_archive, const struct oci_ask *ask, int pipe_fd,
               struct progress *progress, struct error *err) _must_check_;

/* ---- the parent's parts ---- */

struct oci_files {
    const struct image_container *container;
    int root_fd; /* a directory, which children have as "/" that open nothing */
    struct progress *progress;
};

/* oci_files.c: starts the reader of a file: the read end of its pipe. -EPROTO for a question
 * that nobody may ask. */
int oci_files_read(const struct oci_files *files, const struct oci_ask *ask,
                   struct image_child *ret_reader, struct error *err) _must_check_;

/* oci_spool.c: 1 where the container is a compressed archive, *ret_fd is then what is in it, a
 * file of the root's file system; else 0. */
int oci_spool(const struct oci_files *files, int *ret_fd, struct error *err) _must_check_;

/* oci_layer.c: unpacks a layer into target_fd, over what is there (has_lower). Whatever takes
 * over whoever reads it: 0 only where what was unpacked has the diff_digest. */
int oci_layer_unpack(const struct oci_files *files, const struct oci_layer *layer,
                     int target_fd, bool has_lower, struct error *err) _must_check_;
/* Whether the image has the layer: 0 only where its file was read and has the digest, or where
 * that says nothing (!by_blob), what is in it has the diff_digest. */
int oci_layer_check(const struct oci_files *files, const struct oci_layer *layer, bool by_blob,
                    struct error *err) _must_check_;
/* Makes the directory of that path in a child, where it is missing. */
int oci_workdir_make(const struct oci_files *files, const char *path, int target_fd,
                     bool has_lower, struct error *err) _must_check_;

/* oci_stack.c: all layers, of which there is one at least, one by one into the storage of the
 * container's layers_fd; workdir may be NULL. -EXDEV where layers of a storage cannot be what
 * these would be in one tree. */
int oci_stack(const struct oci_files *files, const struct oci_layers *layers,
              const char *workdir, struct error *err) _must_check_;
