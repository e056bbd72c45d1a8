/* SPDX-License-Identifier: Apache-2.0 */
/* org.varlink.service: what this service is and which interfaces it has. Anybody who may
 * connect may ask. Source: varlink.org/Service. */
#include "base/text.h"
#include "daemon/methods.h"
#include "idl.h"
#include "paths.h"

static const char service_idl[] =
    "interface org.varlink.service\n\n"
    "method GetInfo() -> (vendor: string, product: string, version: string, url: string, "
    "interfaces: []string)\n"
    "method GetInterfaceDescription(interface: string) -> (description: string)\n"
    "error InterfaceNotFound (interface: string)\n"
    "error MethodNotFound (method: string)\n"
    "error MethodNotImplemented (method: string)\n"
    "error InvalidParameter (parameter: string)\n";

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
