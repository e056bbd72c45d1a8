/* SPDX-License-Identifier: Apache-2.0 */
/* See journal.h. The fields: ISOLATE_SANDBOX, ISOLATE_NAME, ISOLATE_TEMPLATE,
 * ISOLATE_GENERATION, ISOLATE_CALLER_UID, ISOLATE_EVENT. All values have been checked; commands
 * are not logged: they may hold secrets. Runs in isolated. */
#include "daemon/journal.h"

#include <syslog.h>
#include <systemd/sd-journal.h>

void journal_sandbox(const struct sandbox *sandbox, const char *event)
{
    const struct record *record = &sandbox->body.record;
    if (!sandbox->body.daemon->resident || !getenv("JOURNAL_STREAM"))
        return;
    const char *template = *record->template_name ? record->template_name
                           : record->root         ? record->root
                                                  : "";
    if (sd_journal_send("MESSAGE=sandbox %s %s", record->id, event, "PRIORITY=%d", LOG_INFO,
                        "ISOLATE_SANDBOX=%s", record->id, "ISOLATE_NAME=%s", record->name,
                        "ISOLATE_TEMPLATE=%s", template, "ISOLATE_GENERATION=%s",
                        record->generation, "ISOLATE_CALLER_UID=%u", record->owner_uid,
                        "ISOLATE_EVENT=%s", event, NULL) < 0)
        errno = 0; /* a full journal is no reason to end anything */
}
