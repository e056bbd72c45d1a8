/* SPDX-License-Identifier: Apache-2.0 */
/* What the host provides to a sandbox: hosts, localtime and, with a network that leads
 * outside, resolv.conf. Runs in isolated as root; reads only the host's own files in /etc. */
#include "base/text.h"
#include "daemon/daemon.h"
#include "daemon/pasta_argv.h"
#include "sys/fd.h"

#include <fcntl.h>
#include <string.h>

#define HOST_FILE_MAX 65536

static void add(json_t *list, const char *path, const char *content, bool is_symlink)
{
    /* a host file that is no UTF-8 is not provided */
    json_t *item = json_pack("{s:s, s:s, s:b}", "path", path, "content", content, "symlink",
                             (int)is_symlink);
    if (item)
        (void)json_array_append_new(list, item);
}

static void add_hosts(json_t *list, const char *hostname, bool host_network)
{
    _cleanup_buffer_ struct buffer text = {0};
    if (host_network && file_read_at(AT_FDCWD, "/etc/hosts", HOST_FILE_MAX, &text) < 0)
        buffer_clear(&text);
    if (text.length == 0)
        buffer_append_text(&text, "127.0.0.1 localhost\n"
                                  "::1 localhost ip6-localhost ip6-loopback\n");
    else if (text.data[text.length - 1] != '\n')
        buffer_append_char(&text, '\n');
    buffer_printf(&text, "127.0.1.1 %s\n", hostname);
    if (!text.failed)
        add(list, "/etc/hosts", text.data, false);
}

static void add_localtime(json_t *list)
{
    char target[256];
    ssize_t n = readlink("/etc/localtime", target, sizeof(target) - 1);
    if (n <= 0)
        return;
    target[n] = '\0';
    const char *zone = strstr(target, "/usr/share/zoneinfo/");
    if (!zone)
        zone = text_after(target, "..");
    if (zone && text_after(zone, "/usr/share/zoneinfo/") && !strstr(zone, "/.."))
        add(list, "/etc/localtime", zone, true);
}

static void add_resolv_conf(json_t *list, enum network_mode network)
{
    _cleanup_buffer_ struct buffer text = {0};
    _cleanup_buffer_ struct buffer of_sandbox = {0};
    char resolver[NETWORK_ADDRESS_SIZE];
    /* O_NOFOLLOW would refuse the usual symlink to systemd-resolved's file */
    _cleanup_close_ int fd = open("/etc/resolv.conf", O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 || fd_read_all(fd, HOST_FILE_MAX, &text) < 0 || !text.data)
        return;
    if (network == NETWORK_HOST) {
        add(list, "/etc/resolv.conf", text.data, false);
        return;
    }
    resolv_conf_of(text.data, network == NETWORK_NAT ? NAT_DNS4 : NULL, &of_sandbox, resolver);
    if (!of_sandbox.failed)
        add(list, "/etc/resolv.conf", of_sandbox.data ? of_sandbox.data : "", false);
}

json_t *provide_files(const char *hostname, enum network_mode network)
{
    json_t *list = json_array();
    if (!list)
        return NULL;
    add_hosts(list, hostname, network == NETWORK_HOST);
    add_localtime(list);
    if (network != NETWORK_NONE)
        add_resolv_conf(list, network);
    return list;
}

size_t provide_view(const json_t *list, struct provided_file *items, size_t max)
{
    size_t n = 0;
    size_t index = 0;
    const json_t *item = NULL;
    json_array_foreach((json_t *)list, index, item)
    {
        const char *path = json_string_value(json_object_get(item, "path"));
        const char *content = json_string_value(json_object_get(item, "content"));
        if (path && content && n < max)
            items[n++] = (struct provided_file){.path = path, .content = content};
    }
    return n;
}
