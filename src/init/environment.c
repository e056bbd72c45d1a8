/* SPDX-License-Identifier: Apache-2.0 */
/* The command's environment: nothing is inherited. Runs in init; names and values are the
 * caller's, the account is the sandbox's. */
#include "base/text.h"
#include "init/init.h"

#include <stdlib.h>
#include <string.h>

#define DEFAULT_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

/* What the engine says that it is: by this an init knows that it has no machine of its own. */
#define CONTAINER "container"

/* Length of the name in NAME=VALUE, the '=' included. */
static size_t name_length(const char *variable)
{
    return strcspn(variable, "=") + 1;
}

/* Puts a consumed variable into the array of n, in place of one of the same name. */
static size_t put(char **variables, size_t n, char *take_variable)
{
    if (!take_variable)
        return n;
    for (size_t i = 0; i < n; i++)
        if (strncmp(variables[i], take_variable, name_length(take_variable)) == 0) {
            free(variables[i]);
            variables[i] = take_variable;
            return n;
        }
    variables[n] = take_variable;
    return n + 1;
}

static char *variable(const char *name, const char *value)
{
    char *text = NULL;
    return asprintf(&text, "%s=%s", name, value) < 0 ? NULL : text;
}

char **init_environment(const struct start *start, const struct account *account)
{
    enum { DEFAULTS = 6 };
    const char *container = getenv(CONTAINER);
    char **variables = calloc(start->n_env + DEFAULTS + 1, sizeof(*variables));
    if (!variables)
        return NULL;
    size_t n = 0;
    n = put(variables, n, variable("PATH", DEFAULT_PATH));
    n = put(variables, n, variable("HOME", account->home));
    n = put(variables, n, variable("SHELL", account->shell));
    if (*account->name) {
        n = put(variables, n, variable("USER", account->name));
        n = put(variables, n, variable("LOGNAME", account->name));
    }
    if ((start->flags & START_BOOT) && container)
        n = put(variables, n, variable(CONTAINER, container));
    for (uint32_t i = 0; i < start->n_env; i++)
        n = put(variables, n, strdup(start->env[i]));
    return variables;
}
