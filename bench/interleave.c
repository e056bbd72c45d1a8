/* SPDX-License-Identifier: Apache-2.0 */
/* Times several commands, one after the other in one loop (A B C A B C …), so that what the
 * machine does meanwhile hits all of them alike. A time is that of a whole process: from before
 * posix_spawn to after wait4. Runs as whoever calls it; needs nothing of the project.
 *
 * A command may leave processes behind that still work after it has ended (isolate's one-shot
 * destroys the clone after its client has gone). They are adopted and waited for before the
 * next command, so that nobody pays for them but "gone": the time until the last of them has
 * ended.
 *
 * --burst N starts each command N times back to back when it is its turn: what a start leaves
 * to be done is then in the way of the next one, and only the last one's "gone" is known.
 * --every N before a command gives it only one turn in N, for those that take long.
 * --served NAME FD is a start that another program makes, at the other end of a socket: it gets
 * a byte and answers with a line of two numbers, the ns until the end and until "gone". */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define COMMANDS_MAX 32
#define LIMIT_S      60 /* a command that takes longer hangs */

extern char **environ;

/* set by SIGINT and SIGTERM: the command that runs is the last one */
static volatile sig_atomic_t stopped;

/* set by SIGALRM: the command that runs, or what it left, hangs */
static volatile sig_atomic_t expired;

struct samples {
    uint64_t *ns;
    size_t n;
};

struct command {
    const char *name;
    char **argv;
    char **environment;
    int served_fd;        /* another program makes the start; 0: none */
    uint32_t every;       /* one round in so many */
    struct samples ended; /* until wait4 of the command itself */
    struct samples gone;  /* until the last process that it left has ended */
};

struct options {
    uint32_t rounds;
    uint32_t warmup;
    uint32_t pause_us;
    uint32_t burst;
    uint32_t every; /* of the next command */
    const char *baseline;
    bool json;
    struct command commands[COMMANDS_MAX];
    size_t n_commands;
};

static int usage(void)
{
    (void)fprintf(
        stderr, "usage: interleave [--rounds N] [--warmup N] [--pause-us N] [--baseline NAME] "
                "[--json]\n"
                "                  [--burst N] {[--every N] --command NAME [VARIABLE=VALUE…] "
                "PROGRAM [ARG…] --end |\n"
                "                  [--every N] --served NAME FD} …\n");
    return 2;
}

static void stop(int number)
{
    stopped = number;
}

static void expire(int number)
{
    expired = number;
}

static uint64_t now_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000ULL + (uint64_t)now.tv_nsec;
}

/* The environment with the VARIABLE=VALUE words that stand before the program. */
static char **make_environment(char **words, size_t n_words)
{
    size_t n = 0;
    while (environ[n])
        n++;
    char **result = calloc(n + n_words + 1, sizeof(*result));
    if (!result)
        return NULL;
    memcpy(result, environ, n * sizeof(*result));
    for (size_t w = 0; w < n_words; w++) {
        size_t name_length = (size_t)(strchr(words[w], '=') - words[w]) + 1;
        size_t at = 0;
        while (at < n && strncmp(result[at], words[w], name_length) != 0)
            at++;
        result[at] = words[w];
        n += at == n;
    }
    return result;
}

/* NAME [VARIABLE=VALUE…] PROGRAM [ARG…] --end; returns the index behind --end, 0 on a mistake.
 */
static int take_command(int argc, char **argv, int at, struct options *options)
{
    int end = at;
    while (end < argc && strcmp(argv[end], "--end") != 0)
        end++;
    if (end == argc || options->n_commands == COMMANDS_MAX)
        return 0;
    struct command *command = &options->commands[options->n_commands++];
    int program = at + 1;
    while (program < end && strchr(argv[program], '='))
        program++;
    if (program >= end)
        return 0;
    argv[end] = NULL;
    *command = (struct command){
        .name = argv[at],
        .every = options->every,
        .argv = argv + program,
        .environment = make_environment(argv + at + 1, (size_t)(program - at - 1)),
    };
    options->every = 1;
    return command->environment ? end + 1 : 0;
}

/* NAME FD; returns the index behind it, 0 on a mistake. */
static int take_served(int argc, char **argv, int at, struct options *options)
{
    if (at + 2 > argc || options->n_commands == COMMANDS_MAX)
        return 0;
    int fd = (int)strtol(argv[at + 1], NULL, 10);
    if (fd < 3 || fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
        return 0;
    options->commands[options->n_commands++] = (struct command){
        .name = argv[at],
        .served_fd = fd,
        .every = options->every,
    };
    options->every = 1;
    return at + 2;
}

static bool take_number(int argc, char **argv, int at, const char *name, uint32_t *ret)
{
    if (strcmp(argv[at], name) != 0 || at + 1 >= argc)
        return false;
    char *end = NULL;
    unsigned long value = strtoul(argv[at + 1], &end, 10);
    if (end == argv[at + 1] || *end || value > 100000000) {
        (void)fprintf(stderr, "interleave: %s: not a number: %s\n", name, argv[at + 1]);
        exit(2);
    }
    *ret = (uint32_t)value;
    return true;
}

static bool take_options(int argc, char **argv, struct options *options)
{
    for (int at = 1; at < argc;) {
        if (strcmp(argv[at], "--json") == 0) {
            options->json = true;
            at++;
        } else if (strcmp(argv[at], "--command") == 0) {
            at = take_command(argc, argv, at + 1, options);
            if (at == 0)
                return false;
        } else if (strcmp(argv[at], "--served") == 0) {
            at = take_served(argc, argv, at + 1, options);
            if (at == 0)
                return false;
        } else if (strcmp(argv[at], "--baseline") == 0 && at + 1 < argc) {
            options->baseline = argv[at + 1];
            at += 2;
        } else if (take_number(argc, argv, at, "--rounds", &options->rounds) ||
                   take_number(argc, argv, at, "--warmup", &options->warmup) ||
                   take_number(argc, argv, at, "--pause-us", &options->pause_us) ||
                   take_number(argc, argv, at, "--burst", &options->burst) ||
                   take_number(argc, argv, at, "--every", &options->every)) {
            at += 2;
        } else {
            return false;
        }
    }
    return options->n_commands > 0 && options->rounds > 0 && options->burst > 0;
}

/* stdin and stdout are /dev/null; stderr is memory, to say why a command failed. */
static int spawn(const struct command *command, int null_fd, int stderr_fd, pid_t *ret)
{
    posix_spawn_file_actions_t actions;
    (void)posix_spawn_file_actions_init(&actions);
    (void)posix_spawn_file_actions_adddup2(&actions, null_fd, 0);
    (void)posix_spawn_file_actions_adddup2(&actions, null_fd, 1);
    (void)posix_spawn_file_actions_adddup2(&actions, stderr_fd, 2);
    int r = posix_spawnp(ret, command->argv[0], &actions, NULL, command->argv,
                         command->environment);
    (void)posix_spawn_file_actions_destroy(&actions);
    return r;
}

static int complain(const struct command *command, int status, int stderr_fd)
{
    char text[4096];
    ssize_t n = pread(stderr_fd, text, sizeof(text) - 1, 0);
    text[n > 0 ? n : 0] = '\0';
    (void)fprintf(stderr, "interleave: %s: ", command->name);
    if (expired)
        (void)fprintf(stderr, "it or a process of it still runs after %d s\n%s", LIMIT_S, text);
    else if (WIFSIGNALED(status))
        (void)fprintf(stderr, "ended by signal %d\n%s", WTERMSIG(status), text);
    else
        (void)fprintf(stderr, "exit status %d\n%s", WEXITSTATUS(status), text);
    return -1;
}

/* Waits for one child (-1: for all that are left) until the alarm. */
static int wait_for(pid_t pid, int *ret_status)
{
    for (;;) {
        pid_t ended = wait4(pid, ret_status, 0, NULL);
        if (ended > 0 && pid > 0)
            return 0;
        if (ended < 0 && errno == ECHILD)
            return 0;
        if (ended < 0 && expired)
            return -1;
    }
}

static void set_alarm(struct itimerval timer)
{
    (void)setitimer(ITIMER_REAL, &timer, NULL);
}

/* The same by the program at the other end of the socket. */
static int serve_once(const struct command *command, uint64_t *ret_ended, uint64_t *ret_gone)
{
    char line[128];
    unsigned long long ended = 0;
    unsigned long long gone = 0;
    const struct timeval limit = {.tv_sec = LIMIT_S};
    (void)setsockopt(command->served_fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    ssize_t n = write(command->served_fd, "\n", 1);
    n = n == 1 ? read(command->served_fd, line, sizeof(line) - 1) : -1;
    line[n > 0 ? n : 0] = '\0';
    if (n <= 0 || sscanf(line, "%llu %llu", &ended, &gone) != 2) {
        (void)fprintf(stderr, "interleave: %s: no answer\n", command->name);
        return -1;
    }
    *ret_ended = ended;
    *ret_gone = gone;
    return 0;
}

/* Once: the two times, or -1 with a message. What it leaves is waited for only where it is the
 * last of its burst. */
static int run_once(const struct command *command, int null_fd, bool last, uint64_t *ret_ended,
                    uint64_t *ret_gone)
{
    if (command->served_fd > 0)
        return serve_once(command, ret_ended, ret_gone);
    int stderr_fd = memfd_create("stderr", MFD_CLOEXEC);
    pid_t pid = 0;
    int status = 0;
    if (stderr_fd < 0)
        return -1;
    uint64_t start = now_ns();
    int r = spawn(command, null_fd, stderr_fd, &pid);
    if (r != 0) {
        (void)fprintf(stderr, "interleave: %s: %s: %s\n", command->name, command->argv[0],
                      strerror(r));
        (void)close(stderr_fd);
        return -1;
    }
    /* again every second, so that no wait4 misses it */
    set_alarm((struct itimerval){.it_value.tv_sec = LIMIT_S, .it_interval.tv_sec = 1});
    if (wait_for(pid, &status) < 0)
        (void)kill(pid, SIGKILL);
    *ret_ended = now_ns() - start;
    if (last)
        (void)wait_for(-1, NULL);
    *ret_gone = now_ns() - start;
    set_alarm((struct itimerval){0});
    r = status == 0 && !expired ? 0 : complain(command, status, stderr_fd);
    (void)close(stderr_fd);
    return r;
}

/* One turn of a command: a burst of starts. */
static int take_turn(const struct options *options, struct command *command, int null_fd,
                     bool counts)
{
    if (options->pause_us > 0)
        (void)usleep(options->pause_us);
    for (uint32_t i = 0; i < options->burst; i++) {
        bool last = i + 1 == options->burst;
        uint64_t ended = 0;
        uint64_t gone = 0;
        if (run_once(command, null_fd, last, &ended, &gone) < 0 || stopped)
            return -1;
        if (counts)
            command->ended.ns[command->ended.n++] = ended;
        if (counts && last)
            command->gone.ns[command->gone.n++] = gone;
    }
    return 0;
}

static int measure(struct options *options)
{
    int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null_fd < 0)
        return -1;
    for (size_t c = 0; c < options->n_commands; c++) {
        struct command *command = &options->commands[c];
        command->ended.ns = calloc((size_t)options->rounds * options->burst, sizeof(uint64_t));
        command->gone.ns = calloc(options->rounds, sizeof(uint64_t));
        if (!command->ended.ns || !command->gone.ns)
            return -1;
    }
    for (uint32_t round = 0; round < options->warmup + options->rounds; round++) {
        bool counts = round >= options->warmup;
        uint32_t number = counts ? round - options->warmup : round;
        for (size_t c = 0; c < options->n_commands; c++) {
            struct command *command = &options->commands[c];
            if (number % command->every == 0 &&
                take_turn(options, command, null_fd, counts) < 0)
                return -1;
        }
    }
    (void)close(null_fd);
    return 0;
}

static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static double quantile_us(const struct samples *sorted, unsigned percent)
{
    size_t at = (sorted->n - 1) * percent / 100;
    return (double)sorted->ns[at] / 1000;
}

static void print_table(const struct options *options, const struct command *baseline)
{
    (void)printf("%-24s %9s %9s %9s %9s %9s   %s %s\n", "µs", "min", "p50", "p90", "p99",
                 "gone", "p50 ÷", baseline->name);
    for (size_t c = 0; c < options->n_commands; c++) {
        const struct command *command = &options->commands[c];
        (void)printf("%-23s %9.0f %9.0f %9.0f %9.0f %9.0f   %.2f\n", command->name,
                     quantile_us(&command->ended, 0), quantile_us(&command->ended, 50),
                     quantile_us(&command->ended, 90), quantile_us(&command->ended, 99),
                     quantile_us(&command->gone, 50),
                     quantile_us(&command->ended, 50) / quantile_us(&baseline->ended, 50));
    }
}

static void print_json(const struct options *options, const struct command *baseline)
{
    (void)printf("{\"rounds\": %u, \"baseline\": \"%s\", \"commands\": [", options->rounds,
                 baseline->name);
    for (size_t c = 0; c < options->n_commands; c++) {
        const struct command *command = &options->commands[c];
        (void)printf("%s\n  {\"name\": \"%s\", \"min_us\": %.1f, \"p50_us\": %.1f, "
                     "\"p90_us\": %.1f, \"p99_us\": %.1f, \"gone_p50_us\": %.1f, "
                     "\"ratio\": %.3f, \"starts\": %zu}",
                     c == 0 ? "" : ",", command->name, quantile_us(&command->ended, 0),
                     quantile_us(&command->ended, 50), quantile_us(&command->ended, 90),
                     quantile_us(&command->ended, 99), quantile_us(&command->gone, 50),
                     quantile_us(&command->ended, 50) / quantile_us(&baseline->ended, 50),
                     command->ended.n);
    }
    (void)printf("\n]}\n");
}

int main(int argc, char **argv)
{
    struct options options = {.rounds = 200, .warmup = 10, .burst = 1, .every = 1};
    if (!take_options(argc, argv, &options))
        return usage();
    const struct command *baseline = options.baseline ? NULL : &options.commands[0];
    for (size_t c = 0; options.baseline && c < options.n_commands; c++)
        if (strcmp(options.commands[c].name, options.baseline) == 0)
            baseline = &options.commands[c];
    if (!baseline) {
        (void)fprintf(stderr, "interleave: --baseline %s: no command of that name\n",
                      options.baseline);
        return 2;
    }
    (void)prctl(PR_SET_CHILD_SUBREAPER, 1);
    (void)signal(SIGINT, stop);
    (void)signal(SIGTERM, stop);
    /* without SA_RESTART: wait4 is to return */
    const struct sigaction alarm_action = {.sa_handler = expire};
    (void)sigaction(SIGALRM, &alarm_action, NULL);
    if (measure(&options) < 0)
        return 1;
    for (size_t c = 0; c < options.n_commands; c++) {
        struct command *command = &options.commands[c];
        qsort(command->ended.ns, command->ended.n, sizeof(uint64_t), compare);
        qsort(command->gone.ns, command->gone.n, sizeof(uint64_t), compare);
    }
    if (options.json)
        print_json(&options, baseline);
    else
        print_table(&options, baseline);
    return 0;
}
