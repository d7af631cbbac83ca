/* Watches the parent process by a pidfd, in a thread that does nothing else, so that an idle kt has no timer for it.
 *
 * Not PR_SET_PDEATHSIG: that fires when the thread ends that started kt, and a parent with many threads may end that
 * one long before itself. */
#include "cli/parent.h"
#ifdef __linux__
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

static void *watch(void *arg)
{
    struct pollfd parent = {.fd = (int)(intptr_t)arg, .events = POLLIN};
    while (poll(&parent, 1, -1) <= 0) {
    }
    kill(getpid(), SIGTERM);
    return NULL;
}

void kt_parent_follow(void)
{
#ifdef SYS_pidfd_open
    const int fd = (int)syscall(SYS_pidfd_open, getppid(), 0);
    if (fd < 0) return;
    sigset_t all, before;
    pthread_attr_t attr;
    pthread_t thread;
    sigfillset(&all); /* signals go to the main thread */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attr, PTHREAD_STACK_MIN + 32 * 1024);
    if (pthread_create(&thread, &attr, watch, (void *)(intptr_t)fd) != 0) close(fd);
    pthread_attr_destroy(&attr);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
#endif
}
#else
void kt_parent_follow(void) {}
#endif
