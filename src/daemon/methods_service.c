/* SPDX-License-Identifier: Apache-2.0 */
/* org.varlink.service: what this service is and which interfaces it has. Anybody who may
 * connect may ask. Source: varlink.org/Service. */
#include "base/text.h"
#include "daemon/methods.h"
#include "idl.h"
#include "paths.h"

#include <ctype.h>
#include <string.h>

static const char service_idl[] =
    "interface org.varlink.service\n\n"
    "method GetInfo() -> (vendor: string, product: string, version: string, url: string, "
    "interfaces: []string)\n"
    "method GetInterfaceDescription(interface: string) -> (description: string)\n"
    "error InterfaceNotFound (interface: string)\n"
    "error MethodNotFound (method: string)\n"
    "error MethodNotImplemented (method: string)\n"
    "error InvalidParameter (parameter: string)\n";

/* Whether "method NAME(a: TYPE, b: (c: TYPE)) -> …" has such a parameter. */
static bool declares(const char *idl, const char *method, const char *parameter)
{
    char head[64];
    size_t length = strlen(parameter);
    (void)snprintf(head, sizeof(head), "\nmethod %.48s(", method);
    const char *p = strstr(idl, head);
    bool at_name = true;
    int depth = 1;
    for (p = p ? p + strlen(head) : ""; *p && depth > 0; p++) {
        if (at_name && !isspace((unsigned char)*p)) {
            if (strncmp(p, parameter, length) == 0 && p[length] == ':')
                return true;
            at_name = false;
        }
        depth += (*p == '(') - (*p == ')');
        at_name = at_name || (*p == ',' && depth == 1);
    }
    return false;
}

int methods_check_names(const struct call *call, struct error *err)
{
    static const char prefix[] = "io.isolate.";
    size_t length = strlen(prefix);
    const char *name = NULL;
    json_t *value = NULL;
    if (strncmp(call->method, prefix, length) != 0)
        return 0;
    json_object_foreach(
        call->parameters, name,
        value) if (name[strspn(name, "abcdefghijklmnopqrstuvwxyz_")] != '\0' ||
                   !declares(io_isolate_idl, call->method + length,
                             name)) return fail(err, ERROR_INVALID, EINVAL,
                                                "%s: there is no parameter \"%.80s\"; is the "
                                                "client of another version?",
                                                call->method, name);
    return 0;
}

int method_get_info(struct call *call, struct error *err)
{
    return call_done(call,
                     json_pack("{s:s, s:s, s:s, s:s, s:[s, s]}", "vendor", "isolate", "product",
                               "isolated", "version", ISOLATE_VERSION, "url", "", "interfaces",
                               "org.varlink.service", "io.isolate"),
                     err);
}

int method_get_interface(struct call *call, struct error *err)
{
    const char *name = NULL;
    int r = call_need_text(call, "interface", &name, err);
    if (r < 0)
        return r;
    const char *text = streq(name, "io.isolate")            ? io_isolate_idl
                       : streq(name, "org.varlink.service") ? service_idl
                                                            : NULL;
    if (!text) {
        session_error(call->session, "org.varlink.service.InterfaceNotFound",
                      json_pack("{s:s}", "interface", name));
        return 0;
    }
    return call_done(call, json_pack("{s:s}", "description", text), err);
}
