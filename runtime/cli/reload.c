/* kt reload: makes a running kt load its script again. */
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "cli/attach.h"
#include "cli/flags.h"
#include "cli/pidfile.h"
#include "cli/verb.h"

#define WAIT_MS 15000 /* a main chunk may take 5 s, and another reload may be in progress */
#define LOOK_MS 20

static const char help[] =
    "usage: kt reload [NAME|PID]\n"
    "       kt reload --control PATH\n"
    "       kt reload --pid-file FILE\n"
    "\n"
    "Make a running kt load its script, or the JSON file of kt client -c, again. Open connections\n"
    "survive, and a file with a mistake changes nothing. kt reload waits for the outcome, prints it, and\n"
    "exits with 0 if the script was loaded, otherwise with 1. It uses the control socket, or the pid file\n"
    "of kt run --pid-file. A PID without a control socket gets SIGHUP; the outcome is in its log.\n"
    "If several instances run, name one, or give its process id; kt list shows them.\n"
    "\n"
    "      --control PATH    the control socket, instead of looking for a NAME\n"
    "      --pid-file FILE   read the process id from FILE\n"
    "  -h, --help            show this help\n";

static int misuse(const char *what, const char *arg)
{
    fprintf(stderr, "kt reload: %s%s\n%s", what, arg, help);
    return 1;
}

static int complain(const char *text)
{
    fprintf(stderr, "kt reload: %s\n", text);
    return 1;
}

static int ask(pid_t pid)
{
    char text[96];
    if (kill(pid, 0) != 0 && errno == ESRCH)
        snprintf(text, sizeof text, "no process %ld", (long)pid);
    else if (!kt_pid_is_kt(pid)) /* nor may we inspect another user's */
        snprintf(text, sizeof text, "process %ld is not a kt, or another user's", (long)pid);
    else if (kill(pid, SIGHUP) != 0)
        snprintf(text, sizeof text, "process %ld: %s", (long)pid, strerror(errno));
    else
        return 0;
    return complain(text);
}

static int wait_for(const char *path, pid_t pid, unsigned long before)
{
    const struct timespec pause = {.tv_nsec = LOOK_MS * 1000000L};
    for (int ms = 0; ms < WAIT_MS; ms += LOOK_MS) {
        struct kt_pidfile_result result;
        kt_pidfile_last(path, &result);
        if (result.number > before) {
            if (!result.ok) fputs("kt reload: failed; still running the previous script: ", stderr);
            fputs(result.text, result.ok ? stdout : stderr);
            return result.ok ? 0 : 1;
        }
        if (kill(pid, 0) != 0) return complain("the process has ended");
        nanosleep(&pause, NULL);
    }
    return complain("no outcome within 15 s; see the log of that kt");
}

int kt_verb_reload(int argc, char **argv, const struct kt_verb *verbs)
{
    (void)verbs;
    if (argc > 1 && kt_flags_help(help, argv[1])) return 0;
    if (argc == 3 && strcmp(argv[1], "--pid-file") == 0) {
        pid_t pid;
        struct kt_err err = {0};
        struct kt_pidfile_result last;
        if (kt_pidfile_read(argv[2], &pid, &err)) return complain(err.text);
        kt_pidfile_last(argv[2], &last);
        return ask(pid) ? 1 : wait_for(argv[2], pid, last.number);
    }
    char *end = NULL;
    const long pid = argc == 2 ? strtol(argv[1], &end, 10) : 0;
    if (!end || end == argv[1] || *end) return kt_attach(argc, argv);
    if (pid <= 1 || pid > INT_MAX) return misuse("not a process id: ", argv[1]);
    static char quiet[] = "--quiet";
    char *args[] = {argv[0], quiet, argv[1], NULL};
    const int code = kt_attach(3, args);
    return code == KT_ATTACH_NONE ? ask((pid_t)pid) : code;
}
