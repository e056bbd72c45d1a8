/* SPDX-License-Identifier: Apache-2.0 */
/* Attack 20: what belongs to the host or to another sandbox. `reach offer NAME` makes objects
 * of every kind and keeps them until its stdin ends; `reach try NAME PID` looks for them:
 * abstract sockets, System V and POSIX objects, a TCP port, the process itself. */
#include "attempt.h"

#include <dirent.h>
#include <mqueue.h>
#include <netinet/in.h>
#include <stddef.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/un.h>

static const char *name;
static pid_t wanted_pid;

static key_t key(void)
{
    unsigned hash = 5381;
    for (const char *p = name; *p; p++)
        hash = hash * 33 + (unsigned char)*p;
    return (key_t)(hash | 1);
}

static struct sockaddr_un abstract_address(socklen_t *ret_length)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    (void)snprintf(address.sun_path + 1, sizeof(address.sun_path) - 1, "%s", name);
    *ret_length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(name));
    return address;
}

static struct sockaddr_in tcp_address(void)
{
    return (struct sockaddr_in){
        .sin_family = AF_INET,
        .sin_port = htons((unsigned short)(20000 + (unsigned)key() % 10000)),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
}

static void slash_name(char *out, size_t size)
{
    (void)snprintf(out, size, "/%s", name);
}

static int offer(void)
{
    socklen_t length = 0;
    char path[128];
    char byte = 0;
    struct sockaddr_un address = abstract_address(&length);
    struct sockaddr_in tcp = tcp_address();
    struct mq_attr attr = {.mq_maxmsg = 1, .mq_msgsize = 8};
    slash_name(path, sizeof(path));
    int listener = socket(AF_UNIX, SOCK_STREAM, 0);
    int port = socket(AF_INET, SOCK_STREAM, 0);
    int memory = shmget(key(), 4096, IPC_CREAT | 0666);
    int messages = msgget(key(), IPC_CREAT | 0666);
    int semaphores = semget(key(), 1, IPC_CREAT | 0666);
    mqd_t queue = mq_open(path, O_CREAT | O_RDWR, 0666, &attr);
    int posix = shm_open(path, O_CREAT | O_RDWR, 0666);
    int ready = bind(listener, (struct sockaddr *)&address, length) == 0 &&
                listen(listener, 4) == 0 &&
                bind(port, (struct sockaddr *)&tcp, sizeof(tcp)) == 0 && listen(port, 4) == 0 &&
                memory >= 0 && messages >= 0 && semaphores >= 0 && queue >= 0 && posix >= 0;
    (void)printf(ready ? "offered\n" : "failed %s\n", strerror(errno));
    (void)fflush(stdout);
    while (read(0, &byte, 1) > 0)
        continue;
    (void)shmctl(memory, IPC_RMID, NULL);
    (void)msgctl(messages, IPC_RMID, NULL);
    (void)semctl(semaphores, 0, IPC_RMID);
    (void)mq_unlink(path);
    (void)shm_unlink(path);
    return 0;
}

static long abstract_socket(void)
{
    socklen_t length = 0;
    struct sockaddr_un address = abstract_address(&length);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    return connect(fd, (struct sockaddr *)&address, length);
}

static long tcp_port(void)
{
    struct sockaddr_in address = tcp_address();
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    return connect(fd, (struct sockaddr *)&address, sizeof(address));
}

static long sysv_memory(void)
{
    return shmget(key(), 1, 0);
}

static long sysv_messages(void)
{
    return msgget(key(), 0);
}

static long sysv_semaphores(void)
{
    return semget(key(), 1, 0);
}

/* Any at all, by its index instead of its key. */
static long sysv_any(void)
{
    struct shmid_ds info;
    for (int i = 0; i < 256; i++)
        if (shmctl(i, SHM_STAT_ANY, &info) >= 0)
            return 0;
    return fail_with(ENOENT);
}

static long posix_queue(void)
{
    char path[128];
    slash_name(path, sizeof(path));
    return mq_open(path, O_RDWR);
}

static long posix_memory(void)
{
    char path[128];
    slash_name(path, sizeof(path));
    return shm_open(path, O_RDWR, 0);
}

static long signal_it(void)
{
    return kill(wanted_pid, 0);
}

static long signal_by_pidfd(void)
{
    return syscall(SYS_pidfd_open, wanted_pid, 0);
}

/* A process whose command line holds the name, other than this one's own family. */
static long see_it(void)
{
    DIR *proc = opendir("/proc");
    if (!proc)
        return -1;
    for (const struct dirent *entry = readdir(proc); entry; entry = readdir(proc)) {
        char path[300];
        char text[4096];
        (void)snprintf(path, sizeof(path), "/proc/%.200s/cmdline", entry->d_name);
        int fd = open(path, O_RDONLY);
        ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof(text));
        if (n > 0 && memmem(text, (size_t)n, "offer", 5) &&
            memmem(text, (size_t)n, name, strlen(name)))
            return 0;
        if (fd >= 0)
            (void)close(fd);
    }
    return fail_with(ENOENT);
}

static long unix_socket_list(void)
{
    char line[512];
    FILE *file = fopen("/proc/net/unix", "re");
    while (file && fgets(line, sizeof(line), file))
        if (strstr(line, name))
            return 0;
    return fail_with(file ? ENOENT : errno);
}

int main(int argc, char **argv)
{
    if (argc < 3)
        return 2;
    name = argv[2];
    if (strcmp(argv[1], "offer") == 0)
        return offer();
    wanted_pid = argc > 3 ? atoi(argv[3]) : 0;
    attempt("abstract_socket", abstract_socket);
    attempt("unix_socket_list", unix_socket_list);
    attempt("tcp_port", tcp_port);
    attempt("sysv_memory", sysv_memory);
    attempt("sysv_messages", sysv_messages);
    attempt("sysv_semaphores", sysv_semaphores);
    attempt("sysv_any", sysv_any);
    attempt("posix_queue", posix_queue);
    attempt("posix_memory", posix_memory);
    attempt("signal", signal_it);
    attempt("pidfd_open", signal_by_pidfd);
    attempt("see_process", see_it);
    return 0;
}
