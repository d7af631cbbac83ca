/* kt run: runs a user's script. */
#include "cli/flags.h"
#include "cli/start.h"
#include "cli/verb.h"

static const char help[] =
    "usage: kt run [OPTION...] SCRIPT [ARG...]\n"
    "\n"
    "Run a Lua script that describes a tunnel. It begins with: local kt = require \"kt\"\n"
    "ARGs arrive in the script's `...`. SIGHUP, or kt reload, loads the script again: open connections\n"
    "survive, and a script with a mistake changes nothing. SIGUSR1 writes the counters to the log.\n"
    "SIGUSR2 writes a line to the log file, creating it if it was renamed.\n"
    "\n"
    "      --unsafe            give the script Lua's os and io\n"
    "      --path DIR          look in DIR for modules that are not beside the script\n"
    "      --allow-read DIR    let kt.file read in DIR, besides the script's folder; may be repeated\n"
    "      --allow-write DIR   let kt.append write in DIR; may be repeated\n"
    "      --env NAME          let the script read kt.env.NAME, an environment variable; may be repeated\n"
    "      --memory SIZE       memory limit of the script: 64MiB, 1GiB, or none (default 256MiB)\n"
    "      --log FILE          append the log to FILE instead of stderr\n"
    "      --log-format KIND   text, json, or journald, which sends the log to systemd's journal\n"
    "                          (default text)\n"
    "      --log-level LEVEL   debug, info, warn, error or quiet (default info)\n"
    "      --pid-file FILE     write the process id to FILE, and the outcome of reloads to FILE.reload\n"
    "      --control PATH      create the control socket at PATH; none: no socket (default NAME.sock\n"
    "                          in $XDG_RUNTIME_DIR/kt, else /run/kt; kt list shows it)\n"
    "      --watch             reload when the script or a module of its own changes\n"
    "      --allow-eval        let the control socket run code in the script (kt repl)\n"
    "      --http ADDR         serve metrics and a status page at ADDR: 127.0.0.1:9100, unix:/path; see\n"
    "                          docs/monitoring.md\n"
    "      --http-token FILE   require the token in FILE; mandatory unless ADDR is a loopback address\n"
    "                          or a unix socket\n"
    "  -h, --help              show this help\n";

int kt_verb_run(int argc, char **argv, const struct kt_verb *verbs)
{
    (void)verbs;
    struct kt_start start = {.level = KT_LOG_INFO, .memory = KT_START_MEMORY, .serves = true};
    const struct kt_flag flags[] = {{"--unsafe", KT_FLAG_ON, &start.unsafe},
        {"--path", KT_FLAG_TEXT, &start.path}, {"--allow-read", KT_FLAG_LIST, &start.allow_read},
        {"--allow-write", KT_FLAG_LIST, &start.allow_write}, {"--env", KT_FLAG_LIST, &start.env},
        {"--memory", KT_FLAG_MEMORY, &start.memory}, {"--log", KT_FLAG_TEXT, &start.log_file},
        {"--log-format", KT_FLAG_FORMAT, &start.log_format}, {"--log-level", KT_FLAG_LEVEL, &start.level},
        {"--pid-file", KT_FLAG_TEXT, &start.pid_file}, {"--control", KT_FLAG_TEXT, &start.control},
        {"--watch", KT_FLAG_ON, &start.watch}, {"--allow-eval", KT_FLAG_ON, &start.allow_eval},
        {"--http", KT_FLAG_TEXT, &start.http}, {"--http-token", KT_FLAG_TEXT, &start.http_token},
        {NULL, KT_FLAG_ON, NULL}};
    int code;
    const int script = kt_flags_read(help, flags, argc, argv, &code);
    if (script < 0) return code;
    start.name = start.file = argv[script];
    start.argc = argc - script - 1;
    start.argv = argv + script + 1;
    return kt_start(&start);
}
