/* SPDX-License-Identifier: Apache-2.0 */
/* Options that people know from elsewhere (docker, podman, bwrap, systemd-nspawn) and what says
 * the same here. Pure. */
#include "client/options.h"

#include "base/text.h"

const char *option_known_elsewhere(const char *verb, const char *word)
{
    static const struct {
        const char *verb; /* NULL: any */
        const char *word;
        const char *here;
    } words[] = {
        {NULL, "rm", "a sandbox goes when its command has ended; --keep keeps it"},
        {NULL, "volume", "-v SOURCE:TARGET[:ro], or --bind"},
        {NULL, "mount", "-v SOURCE:TARGET[:ro], or --tmpfs"},
        {NULL, "ro-bind", "-v SOURCE:TARGET:ro"},
        {NULL, "cwd", "-w DIRECTORY, or --here"},
        {NULL, "chdir", "-w DIRECTORY, or --here"},
        {NULL, "net", "--network"},
        {NULL, "unshare-net", "a sandbox has no network unless --network gives it one"},
        {NULL, "unshare-all", "a sandbox has namespaces of its own as it is"},
        {NULL, "die-with-parent", "a sandbox ends with the client that started it, but for -d"},
        {NULL, "privileged", "there is none; see --cap-add, --seccomp nested and --device"},
        {NULL, "security-opt", "--seccomp"},
        {NULL, "init", "a sandbox has one as it is; --boot starts the template's own"},
        {NULL, "restart", "there is none: a service manager runs `isolate run` again"},
        {"logs", "tail", "isolate logs NAME | tail"},
    };
    for (size_t i = 0; i < ELEMENTS(words); i++)
        if (streq(words[i].word, word) && (!words[i].verb || streq(words[i].verb, verb)))
            return words[i].here;
    return NULL;
}
