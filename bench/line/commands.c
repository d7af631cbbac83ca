/* Runs commands in the namespaces of the two ends, under the first process of a PID namespace. When that
 * process ends, or is killed because we were killed, the kernel ends all of them with everything that they
 * have started. */
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "line.h"

#define GRACE_S 2 /* from SIGTERM to SIGKILL */

static int status_of(int wait_status)
{
    return WIFEXITED(wait_status) ? WEXITSTATUS(wait_status) : 128 + WTERMSIG(wait_status);
}

static _Noreturn void run(const struct line_command *c, const struct line_end *end)
{
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    /* Undo the emulator's own priority and timer slack: what it measures must run with the usual ones. */
    setpriority(PRIO_PROCESS, 0, 0);
    prctl(PR_SET_TIMERSLACK, 50000);
    if (setns(end->netns, CLONE_NEWNET) != 0) _exit(126);
    if (!c->argv) {
        int null = open("/dev/null", O_RDONLY);
        if (null >= 0) dup2(null, STDIN_FILENO);
        execl("/bin/sh", "sh", "-c", c->shell, (char *)NULL);
    } else {
        execvp(c->argv[0], c->argv);
    }
    fprintf(stderr, "bench-line: %s: %s\n", c->argv ? c->argv[0] : "/bin/sh", strerror(errno));
    _exit(127);
}

/* Sends SIGTERM to all, and waits a little. */
static void wind_up(void)
{
    const struct timespec tick = {.tv_nsec = 20000000};
    kill(-1, SIGTERM); /* all other processes in this PID namespace */
    for (int i = 0; i < GRACE_S * 50; i++) {
        pid_t pid;
        while ((pid = waitpid(-1, NULL, WNOHANG)) > 0) continue;
        if (pid < 0) return;
        nanosleep(&tick, NULL);
    }
}

static _Noreturn void first_process(
    const struct line_end ends[2], const struct line_command *list, size_t n, int status_fd)
{
    struct pollfd orphaned = {.fd = status_fd};
    pid_t foreground = 0, pid;
    size_t running = 0;
    int status = 0, s;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    /* The parent may have died before PDEATHSIG was set; then the pipe has no reader. */
    if (poll(&orphaned, 1, 0) > 0 && orphaned.revents & POLLERR) _exit(1);
    /* Mount /proc for ps and the like; nothing else needs it. */
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0)
        (void)!mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
    for (size_t i = 0; i < n; i++, running++) {
        pid = fork();
        if (pid < 0) _exit(126);
        if (pid == 0) run(&list[i], &ends[list[i].end]);
        if (list[i].argv) foreground = pid;
    }
    /* Orphans of the commands become our children, so waiting for "no children left" includes them. */
    while ((pid = waitpid(-1, &s, 0)) > 0 || errno == EINTR) {
        if (pid <= 0) continue;
        if (foreground ? pid == foreground : status == 0) status = status_of(s);
        if (pid == foreground) break;
    }
    wind_up();
    (void)!write(status_fd, &status, sizeof status);
    _exit(0);
}

/* fork() into new PID and mount namespaces. unshare() would change our own. */
static int fork_apart(void)
{
    const struct clone_args how = {.flags = CLONE_NEWPID | CLONE_NEWNS, .exit_signal = SIGCHLD};
    return (int)syscall(SYS_clone3, &how, sizeof how);
}

int line_commands_start(struct line_commands *c, const struct line_end ends[2],
    const struct line_command *list, size_t n, struct kt_err *err)
{
    int fds[2];
    c->pid = c->status_fd = -1;
    setenv("LINE_A", "10.77.0.1", 1);
    setenv("LINE_B", "10.77.0.2", 1);
    if (pipe2(fds, O_CLOEXEC) != 0) return kt_err_set(err, KT_EIO, "pipe: %s", strerror(errno));
    c->pid = fork_apart();
    if (c->pid == 0) {
        close(fds[0]);
        first_process(ends, list, n, fds[1]);
    }
    int errnum = errno;
    close(fds[1]);
    if (c->pid < 0) {
        close(fds[0]);
        return kt_err_set(err, KT_EIO, "a PID namespace: %s", strerror(errnum));
    }
    c->status_fd = fds[0];
    return 0;
}

int line_commands_end(struct line_commands *c)
{
    int status = 1;
    struct pollfd p = {.fd = c->status_fd, .events = POLLIN};
    if (c->pid < 0) return 1;
    /* It is written last, so it is either there now or will not come. */
    if (poll(&p, 1, 0) <= 0 || read(c->status_fd, &status, sizeof status) != sizeof status) status = 1;
    kill(c->pid, SIGKILL);
    while (waitpid(c->pid, NULL, 0) < 0 && errno == EINTR) continue;
    close(c->status_fd);
    c->pid = c->status_fd = -1;
    return status;
}
