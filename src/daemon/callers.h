/* SPDX-License-Identifier: Apache-2.0 */
/* The event loop's order. What callers send comes last, and takes turns with everything else:
 * who sends without end must not keep anybody's sandbox from ending. */
#pragma once

#include "daemon/daemon.h"

/* Without one of these: 0. */
enum event_priority {
    PRIORITY_INIT = -10,           /* what init says, before what its caller asks for next */
    PRIORITY_ENDS = 10,            /* of processes: what they said comes first */
    PRIORITY_CALLERS = 20,         /* connections and calls */
    PRIORITY_ENDS_OF_CALLERS = 30, /* what they did comes first */
    PRIORITY_LAST = 40,
};

/* A connection was taken, or a message: after so many all callers rest until nothing else is
 * left to do. */
void callers_heard(struct daemon *daemon);
