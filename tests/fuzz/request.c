/* SPDX-License-Identifier: Apache-2.0 */
/* spec/request.c, request_check.c, display.c, network.c, base64.c: the parameters of Run, as a
 * caller sends them. */
#include "target.h"

#include "base/text.h"
#include "spec/request.h"

#include <string.h>

const bool target_needs_walls = false;

#define N_FDS 3

/* What isolated goes on with relies on this. */
static void check(const struct run_request *request, bool runs)
{
    int sources = !!request->template_name + !!request->root + !!request->kept +
                  !!request->sandbox + request->host;
    MUST(sources == 1);
    MUST(!(request->root || request->host) || request->root_fd < N_FDS);
    MUST(!runs || request->detach || request->control < N_FDS);
    for (uint32_t i = 0; i < request->n_binds; i++) {
        MUST(request->binds[i].fd < N_FDS && request->binds[i].source);
        MUST(request->binds[i].target[0] == '/');
    }
    for (uint32_t i = 0; i < request->n_tmpfs; i++)
        MUST(request->tmpfs[i].target[0] == '/');
    for (uint32_t i = 0; i < request->n_argv; i++)
        MUST(request->argv[i]);
    MUST(!request->argv || !request->argv[request->n_argv]);
    for (uint32_t i = 0; i < request->n_env; i++)
        MUST(strchr(request->env[i], '=') && request->env[i][0] != '=');
    MUST(!request->workdir || request->workdir[0] == '/');
    MUST(request->host_network == (request->network.mode == NETWORK_HOST));
}

static void check_secrets(json_t *parameters)
{
    json_t *shown = run_display_without_secrets(parameters);
    MUST(shown && !json_object_get(json_object_get(shown, "display"), "files"));
    json_decref(shown);
}

/* With as many fds as it may name: each must be named. */
static int decode(const json_t *parameters, size_t n_fds, bool runs)
{
    struct error err = {0};
    struct run_request request = {0};
    int r = runs ? run_request_decode(parameters, n_fds, &request, &err)
                 : run_request_decode_asked(parameters, n_fds, &request, &err);
    MUST(r == 0 || (err.code != ERROR_NONE && *err.text));
    if (r == 0)
        check(&request, runs);
    run_request_clear(&request);
    return r;
}

void target_run(const uint8_t *data, size_t size)
{
    json_t *parameters = json_loadb((const char *)data, size, JSON_REJECT_DUPLICATES, NULL);
    for (size_t n_fds = 0; parameters && n_fds <= N_FDS; n_fds++) {
        int r = decode(parameters, n_fds, true);
        if (r == 0)
            check_secrets(parameters);
        int asked = decode(parameters, n_fds, false);
        MUST(asked == 0 || r < 0);
    }
    json_decref(parameters);
}
