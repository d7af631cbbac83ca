/* The process's inheritance: descriptors, signals, umask, limits. Nothing here can fail the start: what
 * cannot be repaired is left as it is. */
#include "cli/process.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

/* open() takes the lowest free number, so a loop that stops above 2 fills every gap. */
static void open_standard(void)
{
    int fd;
    do {
        fd = open("/dev/null", O_RDWR);
        if (fd < 0) fd = open("/", O_RDONLY | O_DIRECTORY); /* no /dev, as in a bare chroot */
    } while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd >= 0) close(fd);
}

static void on_pipe(int signum)
{
    (void)signum;
}

static void prepare_signals(void)
{
    static const int handled[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2, SIGPIPE};
    sigset_t set;
    sigemptyset(&set);
    for (size_t i = 0; i < sizeof handled / sizeof handled[0]; i++) sigaddset(&set, handled[i]);
    for (int n = SIGRTMIN; n <= SIGRTMAX; n++) sigaddset(&set, n); /* the watchdog's is one of them */
    sigprocmask(SIG_UNBLOCK, &set, NULL);

    struct sigaction action = {.sa_handler = on_pipe, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    sigaction(SIGPIPE, &action, NULL);
    signal(SIGCHLD, SIG_DFL); /* while it is ignored, waiting for a child fails */
}

void kt_process_init(void)
{
    open_standard();
    prepare_signals();
    umask(umask(077) & ~(mode_t)S_IRWXU);
}

unsigned long kt_process_raise_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= limit.rlim_max) return 0;
    const rlim_t before = limit.rlim_cur;
    limit.rlim_cur = limit.rlim_max;
    return setrlimit(RLIMIT_NOFILE, &limit) == 0 ? (unsigned long)before : 0;
}
