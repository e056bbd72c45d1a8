/* SPDX-License-Identifier: Apache-2.0 */
/* Verbs and options. A pure table. */
#include "client/options.h"

#define HELP                                                                                   \
    {                                                                                          \
        OPTION_HELP, 'h', "help", NULL, "show this help", NULL, COMPLETE_NONE, NULL            \
    }
#define END                                                                                    \
    {                                                                                          \
        OPTION_END, 0, NULL, NULL, NULL, NULL, COMPLETE_NONE, NULL                             \
    }
#define QUIET                                                                                  \
    {                                                                                          \
        OPTION_QUIET, 'q', "quiet", NULL, "say nothing but errors and warnings", NULL,         \
            COMPLETE_NONE, NULL                                                                \
    }
#define JSON                                                                                   \
    {                                                                                          \
        OPTION_JSON, 0, "json", NULL, "print JSON instead of a table", NULL, COMPLETE_NONE,    \
            NULL                                                                               \
    }

#define TTY_OPTIONS                                                                            \
    {OPTION_INTERACTIVE,                                                                       \
     'i',                                                                                      \
     "interactive",                                                                            \
     NULL,                                                                                     \
     "with -t: send standard input to the terminal even if it is none",                        \
     "Without *-t* standard input is the command's own in any case.",                          \
     COMPLETE_NONE,                                                                            \
     NULL},                                                                                    \
    {                                                                                          \
        OPTION_TTY, 't', "tty", NULL, "give the command a terminal of the sandbox's own",      \
            "Window size and job control work as usual. Standard output and standard error "   \
            "are then "                                                                        \
            "one stream.",                                                                     \
            COMPLETE_NONE, NULL                                                                \
    }

#define RECEIPT                                                                                \
    {                                                                                          \
        OPTION_RECEIPT, 0, "receipt", "FILE", "write what came of the run to FILE as JSON",    \
            "Exit kind and code, times, resources, template and generation.", COMPLETE_FILE,   \
            NULL                                                                               \
    }

#define MEMORY                                                                                 \
    {                                                                                          \
        OPTION_MEMORY, 0, "memory", "SIZE",                                                    \
            "limit of memory (4M to 8192T); without --swap no swap",                           \
            "Files in memory (/tmp, /run, /dev/shm) count. Where it is not enough, the "       \
            "kernel kills a process of the sandbox.",                                          \
            COMPLETE_NONE, NULL                                                                \
    }
#define SWAP                                                                                   \
    {                                                                                          \
        OPTION_SWAP, 0, "swap", "SIZE", "limit of swap (0 to 8192T)", NULL, COMPLETE_NONE,     \
            NULL                                                                               \
    }
#define CPUS                                                                                   \
    {                                                                                          \
        OPTION_CPUS, 0, "cpus", "N", "limit of processor time (0.01 to 8192 processors)",      \
            "_0.5_ is half the time of one processor.", COMPLETE_NONE, NULL                    \
    }
#define PIDS                                                                                   \
    {                                                                                          \
        OPTION_PIDS, 0, "pids", "N", "limit of processes and threads (2 to 4194304)",          \
            "The sandbox's own init is one of them.", COMPLETE_NONE, NULL                      \
    }

#define CPU_TIME                                                                               \
    {                                                                                          \
        OPTION_CPU_TIME, 0, "cpu-time", "TIME",                                                \
            "end the command after TIME of processors in all: status 124",                     \
            "What all processes of the sandbox have used of them together, those that have "   \
            "ended included. TERM first, KILL 10 seconds later.",                              \
            COMPLETE_NONE, NULL                                                                \
    }
#define CPUSET                                                                                 \
    {                                                                                          \
        OPTION_CPUSET, 0, "cpuset", "LIST", "run on these processors only (0-3,5)",            \
            "All of them must be there for sandboxes.", COMPLETE_NONE, NULL                    \
    }
#define IO_WEIGHT                                                                              \
    {                                                                                          \
        OPTION_IO_WEIGHT, 0, "io-weight", "N",                                                 \
            "share of disks that are busy (1 to 10000; without: 100)",                         \
            "More than 100 is for root. Counts on disks whose scheduler is _bfq_, or for "     \
            "which io.cost.qos is enabled.",                                                   \
            COMPLETE_NONE, NULL                                                                \
    }
#define ULIMIT                                                                                 \
    {                                                                                          \
        OPTION_ULIMIT, 0, "ulimit", "NAME=SOFT[:HARD]",                                        \
            "limit of each process (nofile=64:64)",                                            \
            "The names of *setrlimit*(2) in lower case, without RLIMIT_. Values are in its "   \
            "units, or with a suffix (64M, 90s); *unlimited*. See *Limits*.",                  \
            COMPLETE_WORDS,                                                                    \
            "as= core= cpu= data= fsize= locks= memlock= msgqueue= nice= nofile= nproc= rss= " \
            "rtprio= rttime= sigpending= stack="                                               \
    }

#define HOOKS                                                                                  \
    {OPTION_PRE_HOOK,                                                                          \
     0,                                                                                        \
     "pre-hook",                                                                               \
     "COMMAND",                                                                                \
     "run COMMAND on the host, as you, before the command starts",                             \
     "It has the sandbox's root at $ROOTFS. Where it fails nothing is started: status 125. "   \
     "See *Hooks*.",                                                                           \
     COMPLETE_NONE,                                                                            \
     NULL},                                                                                    \
    {                                                                                          \
        OPTION_POST_HOOK, 0, "post-hook", "COMMAND",                                           \
            "run COMMAND on the host, as you, when the command has ended",                     \
            "$ISOLATE_STATUS is the command's exit status, which stays isolate's own "         \
            "whatever becomes of the hook. See *Hooks*.",                                      \
            COMPLETE_NONE, NULL                                                                \
    }

static const struct option run_options[] = {
    TTY_OPTIONS,
    {OPTION_DETACH, 'd', "detach", NULL, "print the sandbox's id and leave it running",
     "Its output goes into a log of bounded size (*isolate logs*, *isolate attach*); with *-i* "
     "its standard input waits for who attaches. Needs the resident daemon.",
     COMPLETE_NONE, NULL},
    {OPTION_ENV, 'e', "env", "NAME[=VALUE]", "set a variable; without =VALUE copy the caller's",
     "Nothing else of the caller's environment is passed on.", COMPLETE_NONE, NULL},
    {OPTION_ENV_FILE, 0, "env-file", "FILE", "read variables from FILE, one NAME=VALUE a line",
     "Empty lines and lines that begin with # are skipped.", COMPLETE_FILE, NULL},
    {OPTION_BIND, 'v', "bind", "SRC:DST[:OPTIONS]", "show the host's SRC at DST in the sandbox",
     "OPTIONS are *ro* and *rbind* (with submounts), joined by commas. DST is absolute, is "
     "made where it is missing, and may lead through symbolic links of the sandbox's own root: "
     "see *Binds*. Files made there belong to the caller; files of others are seen as "
     "nobody's.",
     COMPLETE_FILE, NULL},
    {OPTION_HERE, 0, "here", NULL, "bind the current directory at the same path and work there",
     "The command runs with the caller's uid, which gets a passwd entry in the sandbox.",
     COMPLETE_NONE, NULL},
    {OPTION_TMPFS, 0, "tmpfs", "DST[:SIZE]", "mount an empty file system in memory at DST",
     NULL, COMPLETE_NONE, NULL},
    {OPTION_WORKDIR, 'w', "workdir", "DIR", "start in DIR (default: the user's home, else /)",
     NULL, COMPLETE_NONE, NULL},
    {OPTION_USER, 'u', "user", "NAME|UID[:GROUP]",
     "run as this user of the sandbox (default: root)",
     "Names are those of the sandbox's own passwd and group files.", COMPLETE_NONE, NULL},
    {OPTION_OWNER, 0, "owner", "USER",
     "root only: files made in binds belong to this host user",
     "With *--here* the command also runs with that user's uid.", COMPLETE_NONE, NULL},
    {OPTION_FIRST_ID, 0, "first-id", "ID",
     "root only: host id of the sandbox's 0 (65536 to 4294901758)",
     "The next 65535 are those of its 1 to 65535. They must be in no file of users and groups "
     "or "
     "their subordinate ids, not among those that isolate gives out itself, and not in use.",
     COMPLETE_NONE, NULL},
    {OPTION_HOSTNAME, 0, "hostname", "NAME", "host name inside (default: the template's name)",
     NULL, COMPLETE_NONE, NULL},
    {OPTION_NETWORK, 0, "network", "MODE",
     "none (default: loopback only), nat, bridge=NAME or host",
     "*nat* leads outside by *pasta*(1), without the machine's loopback: see *NETWORKS* in "
     "*isolate*(1). *host* shares the machine's network, and its abstract sockets where "
     "Landlock does not close them. Both provide "
     "resolv.conf.",
     COMPLETE_WORDS, "none nat host"},
    {OPTION_PUBLISH, 'p', "publish", "[ADDRESS:]PORT:PORT[/udp]",
     "with --network nat: the machine's PORT leads to the sandbox's",
     "ADDRESS is one of the machine's (default: 127.0.0.1; 0.0.0.0: all). Ranges are written "
     "8000-8009:80-89. Ports below 1024 are for root.",
     COMPLETE_NONE, NULL},
    {OPTION_DEVICE, 0, "device", "PATH[:TARGET]",
     "give the command a character device of the machine's",
     "TARGET, below /dev, is PATH unless it is given. The node in the sandbox belongs to the "
     "user "
     "of the command. For root, and for members where *Devices=* of their policy lists it and "
     "they can open it: *isolated.conf*(5).",
     COMPLETE_FILE, NULL},
    {OPTION_GPU, 0, "gpu", NULL, "the same of all graphics processors (/dev/dri/renderD*)",
     NULL, COMPLETE_NONE, NULL},
    {OPTION_X11, 0, "x11", NULL, "hand over the X display, as a client that it does not trust",
     "With a cookie of the sandbox's own (by *xauth*). See *DISPLAY AND SOUND*.", COMPLETE_NONE,
     NULL},
    {OPTION_X11_TRUSTED, 0, "x11-trusted", NULL,
     "hand over the X display with all that you may do there",
     "The command can see and control every window, and read what is typed.", COMPLETE_NONE,
     NULL},
    {OPTION_WAYLAND, 0, "wayland", NULL, "hand over the Wayland display",
     "See *DISPLAY AND SOUND*.", COMPLETE_NONE, NULL},
    {OPTION_AUDIO, 0, "audio", NULL, "hand over sound: PulseAudio, PipeWire, or both",
     "The command can play and record. See *DISPLAY AND SOUND*.", COMPLETE_NONE, NULL},
    {OPTION_READ_ONLY, 0, "read-only", NULL, "make the root read-only for the command",
     "/tmp, /run, /dev/shm and binds stay writable.", COMPLETE_NONE, NULL},
    {OPTION_TIMEOUT, 0, "timeout", "TIME",
     "end the command after TIME (90s, 5m, 1h30m): status 124",
     "TERM first, KILL 10 seconds later.", COMPLETE_NONE, NULL},
    CPU_TIME,
    MEMORY,
    SWAP,
    CPUS,
    CPUSET,
    PIDS,
    IO_WEIGHT,
    ULIMIT,
    {OPTION_DISK, 0, "disk", "SIZE", "limit of disk space (1M to 8192T) beyond the template",
     "Needs quotas of the storage's file system; a kept sandbox keeps it.", COMPLETE_NONE,
     NULL},
    {OPTION_CAP_ADD, 0, "cap-add", "CAP", "give uid 0 of the sandbox one capability more", NULL,
     COMPLETE_NONE, NULL},
    {OPTION_CAP_DROP, 0, "cap-drop", "CAP", "take a capability away; ALL takes all",
     "Dropped before added, in whatever order they are given.", COMPLETE_NONE, NULL},
    {OPTION_SECCOMP, 0, "seccomp", "FILTER",
     "which system calls: default, strict, nested, or a profile FILE",
     "See *System calls* in *isolate*(1).", COMPLETE_WORDS, "default strict nested"},
    {OPTION_PERSONALITY, 0, "personality", "ABI",
     "whose system calls: native (default), or 32bit: those of 32-bit programs, too",
     "See *System calls* in *isolate*(1).", COMPLETE_WORDS, "native 32bit"},
    {OPTION_NAME, 0, "name", "NAME", "name the sandbox", NULL, COMPLETE_NONE, NULL},
    {OPTION_KEEP, 0, "keep", NULL, "keep the clone when the command ends",
     "See *isolate ps -a*, *start*, *diff*, *commit* and *rm*.", COMPLETE_NONE, NULL},
    RECEIPT,
    HOOKS,
    QUIET,
    {OPTION_ENGINE, 0, "engine", "ENGINE", "isolation engine (default: native)",
     "See *isolate engines*, and *ENGINES* in *isolate*(1).", COMPLETE_WORDS,
     "native bwrap lxc nspawn oci chroot"},
    {OPTION_BOOT, 0, "boot", NULL, "start the template's own init in place of a command",
     "With *--engine nspawn*. It has a terminal as its console. See *BOOT* below.",
     COMPLETE_NONE, NULL},
    {OPTION_ENTRYPOINT, 0, "entrypoint", "PROGRAM",
     "what the command's arguments are given to, in place of the template's (\"\": nothing)",
     "Of a template that was made of an image. It also takes the image's own command away. See "
     "*IMAGES* in *isolate-template*(1).",
     COMPLETE_NONE, NULL},
    {OPTION_STORAGE, 0, "storage", "DRIVER",
     "for a directory or @host: overlay (default) or dir",
     "*overlay* runs on a throwaway clone. *dir* runs on the directory itself: changes "
     "persist.",
     COMPLETE_WORDS, "overlay dir"},
    {OPTION_EXPLAIN, 0, "explain", NULL, "say what would happen, and do nothing",
     "What would be refused is refused with the same error. See *EXPLAIN* below.",
     COMPLETE_NONE, NULL},
    {OPTION_JSON, 0, "json", NULL, "with --explain: JSON, whose \"spec\" can be saved", NULL,
     COMPLETE_NONE, NULL},
    {OPTION_SPEC, 0, "spec", "FILE", "run what --explain --json has saved (-: standard input)",
     "In place of TEMPLATE, COMMAND and the options of a run. See *EXPLAIN* below.",
     COMPLETE_FILE, NULL},
    HELP,
    END,
};

static const struct option exec_options[] = {
    TTY_OPTIONS,
    {OPTION_ENV, 'e', "env", "NAME[=VALUE]", "set a variable; without =VALUE copy the caller's",
     NULL, COMPLETE_NONE, NULL},
    {OPTION_ENV_FILE, 0, "env-file", "FILE", "read variables from FILE, one NAME=VALUE a line",
     NULL, COMPLETE_FILE, NULL},
    {OPTION_WORKDIR, 'w', "workdir", "DIR", "working directory in the sandbox", NULL,
     COMPLETE_NONE, NULL},
    {OPTION_USER, 'u', "user", "NAME|UID[:GID]", "run as this user of the sandbox",
     "The default is who its command runs as.", COMPLETE_NONE, NULL},
    {OPTION_CAP_DROP, 0, "cap-drop", "NAME", "take a capability away (ALL: every one)", NULL,
     COMPLETE_NONE, NULL},
    QUIET,
    HELP,
    END,
};

static const struct option kill_options[] = {
    {OPTION_SIGNAL, 's', "signal", "SIGNAL", "a name or a number (default: TERM)", NULL,
     COMPLETE_WORDS, "TERM KILL INT HUP QUIT USR1 USR2 STOP CONT"},
    HELP,
    END,
};

static const struct option stop_options[] = {
    {OPTION_SECONDS, 't', "time", "SECONDS", "from TERM to KILL (default: 10)", NULL,
     COMPLETE_NONE, NULL},
    HELP,
    END,
};

static const struct option attach_options[] = {
    {OPTION_DETACH_KEYS, 0, "detach-keys", "KEYS", "what detaches (default: ctrl-p,ctrl-q)",
     "Letters, or ctrl- and a letter, separated by commas.", COMPLETE_NONE, NULL},
    {OPTION_NO_STDIN, 0, "no-stdin", NULL, "send nothing, only look", NULL, COMPLETE_NONE,
     NULL},
    QUIET,
    HELP,
    END,
};

static const struct option logs_options[] = {
    {OPTION_FOLLOW, 'f', "follow", NULL, "go on until the sandbox ends", NULL, COMPLETE_NONE,
     NULL},
    HELP,
    END,
};

static const struct option start_options[] = {
    TTY_OPTIONS, CPU_TIME, MEMORY,  SWAP,  CPUS,  CPUSET, PIDS,
    IO_WEIGHT,   ULIMIT,   RECEIPT, HOOKS, QUIET, HELP,   END,
};

static const struct option ps_options[] = {
    {OPTION_ALL, 'a', "all", NULL, "kept sandboxes that do not run, too", NULL, COMPLETE_NONE,
     NULL},
    {OPTION_FILTER, 0, "filter", "KEY=VALUE", "only those whose KEY is VALUE",
     "KEY is *id*, *name*, *state*, *template* or *owner* (a uid). Several must all hold.",
     COMPLETE_WORDS, "id= name= state= template= owner="},
    JSON,
    HELP,
    END,
};

static const struct option json_options[] = {JSON, HELP, END};
static const struct option policy_options[] = {
    {OPTION_FOR, 0, "for", "USER", "what another user of the machine may do; for root only",
     NULL, COMPLETE_NONE, NULL},
    JSON,
    HELP,
    END,
};
static const struct option plain_options[] = {HELP, END};

static const struct option create_options[] = {
    {OPTION_FROM, 0, "from", "SOURCE",
     "debian, ubuntu, dir:, tar:, oci:, docker-archive:, docker://",
     "*debian*[:suite] or *ubuntu*[:suite] (by mmdebstrap, from the machine's own mirror), "
     "*dir:PATH* (a copy of a directory), *tar:FILE* (any compression), *oci:DIR[:TAG]* (an "
     "image in an OCI layout), *docker-archive:FILE[:NAME]* (what `docker save` has written), "
     "*docker://NAME[:TAG]* (from a registry, by skopeo). "
     "See "
     "*IMAGES*.",
     COMPLETE_WORDS, "debian ubuntu dir: tar: oci: docker-archive: docker://"},
    {OPTION_STORAGE, 0, "storage", "PLACE",
     "where it is kept: DRIVER, DRIVER:LOCATION or LOCATION",
     "*overlay*, *btrfs* or *reflink*, below the state directory, or below LOCATION, an "
     "absolute "
     "path; or *zfs:POOL/DATASET*. A LOCATION alone: the best driver for its file system, "
     "which "
     "is *zfs*, then *btrfs*, *overlay*, *reflink*. See *STORAGE* in *isolate-template*(1).",
     COMPLETE_WORDS, "overlay btrfs reflink zfs:"},
    QUIET,
    HELP,
    END,
};

static const struct option update_options[] = {
    TTY_OPTIONS,
    {OPTION_ENV, 'e', "env", "NAME[=VALUE]", "set a variable; without =VALUE copy the caller's",
     NULL, COMPLETE_NONE, NULL},
    {OPTION_BIND, 'v', "bind", "SRC:DST[:OPTIONS]", "show the host's SRC at DST in the session",
     NULL, COMPLETE_FILE, NULL},
    {OPTION_NETWORK, 0, "network", "MODE", "host (default), nat, bridge=NAME or none", NULL,
     COMPLETE_WORDS, "none nat host"},
    {OPTION_TIMEOUT, 0, "timeout", "TIME", "end the command after TIME", NULL, COMPLETE_NONE,
     NULL},
    QUIET,
    HELP,
    END,
};

static const struct option inspect_options[] = {
    {OPTION_HASH, 0, "hash", NULL, "print the SHA-256 of the generation's whole tree",
     "Names, types, modes, owners, times, attributes and contents.", COMPLETE_NONE, NULL},
    JSON,
    HELP,
    END,
};

static const struct option export_options[] = {
    {OPTION_TO, 0, "to", "TARGET", "tar:FILE (tar:- is standard output) or oci:DIR[:TAG]",
     "FILE is replaced when all is written; it is readable by root alone, because it holds "
     "what "
     "only root may read. In the OCI image layout DIR, which may be new, a new image gets TAG "
     "(default: latest).",
     COMPLETE_WORDS, "tar: oci:"},
    QUIET,
    HELP,
    END,
};

static const struct option send_options[] = {
    {OPTION_SINCE, 0, "since", "GENERATION", "only what has changed since that generation",
     "It must be the current one where the stream is received.", COMPLETE_NONE, NULL},
    {OPTION_NATIVE, 0, "native", NULL, "the file system's own stream (zfs, btrfs)",
     "Only the same storage driver receives it.", COMPLETE_NONE, NULL},
    QUIET,
    HELP,
    END,
};

static const struct option receive_options[] = {
    {OPTION_STORAGE, 0, "storage", "PLACE", "of a new template: as with template create", NULL,
     COMPLETE_WORDS, "overlay btrfs reflink"},
    QUIET,
    HELP,
    END,
};

static const struct option prune_options[] = {
    {OPTION_KEPT, 0, "kept", NULL, "kept sandboxes that do not run, too", NULL, COMPLETE_NONE,
     NULL},
    HELP,
    END,
};

const struct verb verbs[] = {
    {"run", "[OPTIONS] TEMPLATE [--] [COMMAND [ARG…]]",
     "run a command in a fresh clone of a template", run_options, COMPLETE_TEMPLATE, true, 1,
     -1},
    {"start", "[OPTIONS] SANDBOX [--] [COMMAND [ARG…]]",
     "run a kept sandbox again, with its own command or another", start_options, COMPLETE_NONE,
     true, 1, -1},
    {"shell", "[OPTIONS] TEMPLATE [--] [COMMAND [ARG…]]",
     "the same as run, with a terminal where standard input is one", run_options,
     COMPLETE_TEMPLATE, true, 1, -1},
    {"exec", "[OPTIONS] SANDBOX [--] [COMMAND [ARG…]]",
     "run one more command in a sandbox that runs", exec_options, COMPLETE_NONE, true, 1, -1},
    {"attach", "[OPTIONS] SANDBOX", "watch a detached sandbox and type to it", attach_options,
     COMPLETE_NONE, false, 1, 1},
    {"logs", "[OPTIONS] SANDBOX", "print the last output of a detached sandbox", logs_options,
     COMPLETE_NONE, false, 1, 1},
    {"kill", "[OPTIONS] SANDBOX…", "send a signal to the command of sandboxes", kill_options,
     COMPLETE_NONE, false, 1, -1},
    {"stop", "[OPTIONS] SANDBOX…", "end sandboxes: TERM, and KILL for those that do not",
     stop_options, COMPLETE_NONE, false, 1, -1},
    {"wait", "SANDBOX…", "wait for the end of sandboxes and print their exit statuses",
     plain_options, COMPLETE_NONE, false, 1, -1},
    {"cp", "SRC DST", "copy files out of (SANDBOX:PATH) or into a sandbox that runs",
     plain_options, COMPLETE_NONE, false, 2, 2},
    {"stats", "[OPTIONS] [SANDBOX…]", "what running sandboxes use", json_options, COMPLETE_NONE,
     false, 0, -1},
    {"engines", "[OPTIONS]", "show the isolation engines and what each can do", json_options,
     COMPLETE_NONE, false, 0, 0},
    {"policy", "[OPTIONS] [TEMPLATE]", "show what you may do, and why", policy_options,
     COMPLETE_TEMPLATE, false, 0, 1},
    {"pool", "[OPTIONS]", "show what is kept ready", json_options, COMPLETE_NONE, false, 0, 0},
    {"pool set", "TEMPLATE N|auto", "how many sandboxes of a template are kept ready",
     plain_options, COMPLETE_TEMPLATE, false, 2, 2},
    {"pool refresh", "[TEMPLATE…]", "replace what is kept ready", plain_options,
     COMPLETE_TEMPLATE, false, 0, -1},
    {"pool drain", "[TEMPLATE…]",
     "take away what is kept ready, and keep nothing ready until "
     "it is set again",
     plain_options, COMPLETE_TEMPLATE, false, 0, -1},
    {"ps", "[OPTIONS]", "list sandboxes", ps_options, COMPLETE_NONE, false, 0, 0},
    {"inspect", "SANDBOX", "show all that is known of a sandbox, as JSON", plain_options,
     COMPLETE_NONE, false, 1, 1},
    {"diff", "[OPTIONS] SANDBOX", "list what a kept sandbox added, changed and deleted",
     json_options, COMPLETE_NONE, false, 1, 1},
    {"commit", "SANDBOX TEMPLATE",
     "make a kept sandbox a template, or a new generation of its own", plain_options,
     COMPLETE_NONE, false, 2, 2},
    {"rm", "SANDBOX…", "remove kept sandboxes", plain_options, COMPLETE_NONE, false, 1, -1},
    {"prune", "[OPTIONS]", "remove whatever is left over and belongs to nobody", prune_options,
     COMPLETE_NONE, false, 0, 0},
    {"template create", "NAME --from SOURCE [--storage PLACE]", "make a template",
     create_options, COMPLETE_NONE, false, 1, 1},
    {"template ls", "[OPTIONS]", "list templates", json_options, COMPLETE_NONE, false, 0, 0},
    {"template inspect", "[OPTIONS] NAME[@GENERATION]",
     "show a template and its generations, or one of them", inspect_options, COMPLETE_TEMPLATE,
     false, 1, 1},
    {"template update", "[OPTIONS] NAME [-- COMMAND [ARG…]]",
     "change a template in a session on a copy", update_options, COMPLETE_TEMPLATE, true, 1,
     -1},
    {"template snapshot", "NAME", "keep the current state as a generation of its own",
     plain_options, COMPLETE_TEMPLATE, false, 1, 1},
    {"template rollback", "NAME GENERATION", "make an older generation the current one",
     plain_options, COMPLETE_TEMPLATE, false, 2, 2},
    {"template export", "NAME[@GENERATION] --to TARGET",
     "write the tree of a template into an archive or image", export_options, COMPLETE_TEMPLATE,
     false, 1, 1},
    {"template send", "[OPTIONS] NAME[@GENERATION]",
     "write a generation to standard output, for another machine", send_options,
     COMPLETE_TEMPLATE, false, 1, 1},
    {"template receive", "[OPTIONS] NAME",
     "make a template, or its next generation, of what send wrote", receive_options,
     COMPLETE_TEMPLATE, false, 1, 1},
    {"template rm", "NAME[@GENERATION]…", "remove templates, or single generations",
     plain_options, COMPLETE_TEMPLATE, false, 1, -1},
    {"storage ls", "[OPTIONS]", "list the places of templates, and whether they can be used",
     json_options, COMPLETE_NONE, false, 0, 0},
    {"storage forget", "STORAGE",
     "take a place that is empty, or gone for good, out of that list", plain_options,
     COMPLETE_NONE, false, 1, 1},
    {"doctor", "[OPTIONS]", "check this machine and look for leftovers", json_options,
     COMPLETE_NONE, false, 0, 0},
    {"completion", "bash|zsh|fish", "print the completions for a shell", plain_options,
     COMPLETE_NONE, false, 1, 1},
    {"version", "", "print the version", plain_options, COMPLETE_NONE, false, 0, 0},
    {"help", "[VERB]", "show help", plain_options, COMPLETE_NONE, false, 0, 2},
    {NULL, NULL, NULL, NULL, COMPLETE_NONE, false, 0, 0},
};

const struct verb_group verb_groups[] = {
    {"template", "make and change templates"},
    {"storage", "see and forget the places of templates"},
    {NULL, NULL},
};
