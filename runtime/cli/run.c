/* kt run: a script of the user's own. */
#include <stdio.h>
#include <string.h>
#include "cli/start.h"
#include "cli/verb.h"

static const char help[] =
    "usage: kt run [OPTION...] SCRIPT [ARG...]\n"
    "\n"
    "Run a Lua script that describes a tunnel. It begins with: local kt = require \"kt\"\n"
    "ARGs arrive in the script's `...`. SIGHUP, or kt reload, loads the script again: open connections\n"
    "survive, and a script with a mistake changes nothing. SIGUSR1 writes the counters to the log.\n"
    "\n"
    "      --unsafe            give the script Lua's os and io\n"
    "      --memory SIZE       memory limit of the script: 64MiB, 1GiB, or none (default 256MiB)\n"
    "      --log FILE          append the log to FILE instead of stderr\n"
    "      --log-level LEVEL   debug, info, warn, error or quiet (default info)\n"
    "      --pid-file FILE     write the process id to FILE, and the outcome of reloads to FILE.reload\n"
    "  -h, --help              show this help\n";

static int misuse(const char *what, const char *arg)
{
    fprintf(stderr, "kt run: %s%s\n%s", what, arg, help);
    return 1;
}

int kt_verb_run(int argc, char **argv, const struct kt_verb *verbs)
{
    (void)verbs;
    struct kt_start start = {.level = KT_LOG_INFO, .memory = KT_MEMORY_DEFAULT, .serves = true};
    int i = 1;
    for (; i < argc && argv[i][0] == '-' && argv[i][1]; i++) {
        if (strcmp(argv[i], "-h") == 0 || strcmp(argv[i], "--help") == 0) {
            fputs(help, stdout);
            return 0;
        } else if (strcmp(argv[i], "--") == 0) {
            i++;
            break;
        } else if (strcmp(argv[i], "--unsafe") == 0) {
            start.unsafe = true;
        } else if (strcmp(argv[i], "--memory") == 0 && i + 1 < argc) {
            if (!kt_memory_parse(argv[++i], &start.memory))
                return misuse("--memory wants a size with its unit, such as 64MiB, or none, not ", argv[i]);
        } else if (strcmp(argv[i], "--log") == 0 && i + 1 < argc) {
            start.log_file = argv[++i];
        } else if (strcmp(argv[i], "--pid-file") == 0 && i + 1 < argc) {
            start.pid_file = argv[++i];
        } else if (strcmp(argv[i], "--log-level") == 0 && i + 1 < argc) {
            if (!kt_log_level_parse(argv[++i], &start.level)) return misuse("no such log level: ", argv[i]);
        } else {
            return misuse("bad option: ", argv[i]);
        }
    }
    if (i >= argc) return misuse("no script given", "");
    start.name = start.file = argv[i];
    start.argc = argc - i - 1;
    start.argv = argv + i + 1;
    return kt_start(&start);
}
