/* SPDX-License-Identifier: Apache-2.0 */
/* isolate-generate: run by the build to make the option sections of the man pages and the
 * shells' completions. Not installed. Runs as whoever builds; no input but its one argument. */
#include "base/log.h"
#include "base/text.h"
#include "client/generate.h"

#include <string.h>

static void man_run(FILE *out)
{
    generate_man(NULL, out);
}

static void man_template(FILE *out)
{
    generate_man("template", out);
    generate_man("storage", out);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*generate)(FILE *out);
    } outputs[] = {
        {"man-run", man_run},  {"man-template", man_template}, {"bash", generate_bash},
        {"zsh", generate_zsh}, {"fish", generate_fish},
    };
    for (size_t i = 0; argc == 2 && i < ELEMENTS(outputs); i++) {
        if (!streq(argv[1], outputs[i].name))
            continue;
        outputs[i].generate(stdout);
        if (fflush(stdout) == 0 && !ferror(stdout))
            return 0;
        log_error("isolate-generate %s: write: %s", argv[1], strerror(errno));
        return 1;
    }
    log_error("usage: isolate-generate man-run|man-template|bash|zsh|fish");
    return 1;
}
