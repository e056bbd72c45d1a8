/* SPDX-License-Identifier: Apache-2.0 */
/* Orders to take a sandbox away whose processes are killed but not gone: those that the kernel
 * holds, because a file system that their owner serves does not answer, must not hold up the
 * one process that takes away everybody's. For builder.c alone. */
#pragma once

#include "daemon/builder_job.h"

/* Kills what is left of the order's body, and calls over when nothing of it runs any more, or
 * after 5 s, and then body->hangs. False where there is nothing to wait for, or no way to: over
 * is not called. */
bool drain_first(const struct job *order, void (*over)(const struct job *order));
/* At isolated's end: who comes next recovers them. */
void drains_forget(struct daemon *daemon);
