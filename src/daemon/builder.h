/* SPDX-License-Identifier: Apache-2.0 */
/* The builder: bodies are made and taken away here, so that the event loop waits for no file
 * system. A resident isolated has processes for it; a one-shot does it itself, at once. */
#pragma once

#include "daemon/body.h"

/* Called when it is done, in the one-shot before the call returns. The error is the callee's to
 * read until it returns. */
typedef void (*builder_done)(void *data, int result, struct error *err);

/* Builds a body up to the message BUILD (see body_build). The body is not to be touched until
 * then, but must stay where it is. */
void builder_build(struct body *body, int one_off_root, builder_done done, void *data);
/* Settles and destroys a body whose processes have ended. */
void builder_destroy(struct body *body, builder_done done, void *data);
