/* Messages to the service manager that started kt (systemd's Type=notify, sd_notify(3)): datagrams of text to the
 * socket $NOTIFY_SOCKET. Without it nothing is sent. */
#ifndef KT_CLI_NOTIFY_H
#define KT_CLI_NOTIFY_H

#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>
#include "base/wheel.h"

struct kt_io;

struct kt_notify {
    int fd; /* -1: no service manager */
    struct sockaddr_un to;
    socklen_t len;
    struct kt_io *io;
    struct kt_timer timer; /* for the watchdog */
    uint64_t every_us;     /* 0: no watchdog */
};

/* Reads $NOTIFY_SOCKET, $WATCHDOG_USEC and $WATCHDOG_PID. Until kt_notify_close, the loop pings the watchdog twice per
 * $WATCHDOG_USEC. Never fails: what cannot be set up is left out. */
void kt_notify_open(struct kt_notify *n, struct kt_io *io);
/* It serves; also after a reload, whether that succeeded or not. */
void kt_notify_ready(const struct kt_notify *n);
void kt_notify_reloading(const struct kt_notify *n);
void kt_notify_stopping(const struct kt_notify *n);
void kt_notify_close(struct kt_notify *n);

#endif
