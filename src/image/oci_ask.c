/* SPDX-License-Identifier: Apache-2.0 */
/* The planner's questions to its parent. Runs in the confined planner; what comes through the
 * pipes is hostile, and so is all JSON. */
#include "image/oci.h"
#include "sys/fd.h"
#include "sys/socket.h"

#include <string.h>

const char *oci_text(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

bool oci_ask_is_ended(const struct oci_ask *ask)
{
    return memchr(ask->name, 0, sizeof(ask->name)) &&
           memchr(ask->digest, 0, sizeof(ask->digest)) &&
           memchr(ask->diff_digest, 0, sizeof(ask->diff_digest));
}

/* The parent's answer, with an fd where it gives one. */
static int answer(int socket_fd, int *ret_fd, struct error *err)
{
    struct error theirs = {0};
    _cleanup_fd_list_ struct fd_list fds = {0};
    ssize_t n = socket_receive(socket_fd, &theirs, sizeof(theirs), 0, &fds);
    if (n != (ssize_t)sizeof(theirs))
        return fail(err, ERROR_SYSTEM, n < 0 ? (int)n : EPROTO, "ask for a file: ");
    if (theirs.code != ERROR_NONE) {
        *err = theirs;
        return theirs.errnum > 0 ? -theirs.errnum : -EIO;
    }
    if (ret_fd && fds.n == 1)
        *ret_fd = TAKE_FD(fds.fds[0]);
    return ret_fd && *ret_fd < 0 ? fail(err, ERROR_SYSTEM, EPROTO, "ask for a file: ") : 0;
}

static int ask_and_wait(int socket_fd, const struct oci_ask *ask, int *ret_fd,
                        struct error *err)
{
    int r = socket_send(socket_fd, ask, sizeof(*ask), NULL, 0);
    return r < 0 ? fail(err, ERROR_SYSTEM, r, "ask for a file: ")
                 : answer(socket_fd, ret_fd, err);
}

/* The read end of a pipe, or -errno. */
static int ask_open(int socket_fd, const struct oci_ask *ask, struct error *err)
{
    int fd = -EBADF;
    int r = ask_and_wait(socket_fd, ask, &fd, err);
    return r < 0 ? r : fd;
}

int oci_ask_verdict(int socket_fd, struct error *err)
{
    const struct oci_ask ask = {.kind = OCI_ASK_VERDICT};
    return ask_and_wait(socket_fd, &ask, NULL, err);
}

json_t *oci_ask_json(int socket_fd, const struct oci_ask *ask, struct error *err)
{
    json_error_t why;
    struct error wrong = {0};
    _cleanup_buffer_ struct buffer text = {0};
    int fd = ask_open(socket_fd, ask, err);
    if (fd < 0)
        return NULL;
    int r = fd_read_all(fd, OCI_JSON_MAX, &text);
    fd_close(fd);
    if (oci_ask_verdict(socket_fd, &wrong) < 0 && r == 0) {
        *err = wrong;
        return NULL;
    }
    const char *what = *ask->name ? ask->name : ask->digest;
    if (r < 0) {
        (void)fail(err, r == -EFBIG ? ERROR_INVALID : ERROR_SYSTEM, r, "%s: read: ", what);
        return NULL;
    }
    json_t *value = json_loadb(text.data ? text.data : "", text.length, 0, &why);
    if (!value)
        (void)fail(err, ERROR_INVALID, EBADMSG, "%s: is no valid JSON (line %d: %.100s)", what,
                   why.line, why.text);
    return value;
}

json_t *oci_ask_described(int socket_fd, const json_t *descriptor, struct error *err)
{
    const char *digest = json_string_value(json_object_get(descriptor, "digest"));
    json_int_t size = json_integer_value(json_object_get(descriptor, "size"));
    struct oci_ask ask = {.kind = OCI_ASK_BLOB, .size = (uint64_t)size};
    if (!digest || !digest_is_valid(digest)) {
        (void)fail(err, ERROR_INVALID, EINVAL,
                   "the image names a part by no digest that can be checked (\"%.80s\"); only "
                   "sha256 is known",
                   digest ? digest : "none");
        return NULL;
    }
    if (size <= 0 || size > (json_int_t)OCI_JSON_MAX) {
        (void)fail(err, ERROR_INVALID, EFBIG, "%s: its size is given as %lld bytes; %u may be",
                   digest, (long long)size, OCI_JSON_MAX);
        return NULL;
    }
    (void)snprintf(ask.digest, sizeof(ask.digest), "%s", digest);
    return oci_ask_json(socket_fd, &ask, err);
}
