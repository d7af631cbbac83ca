/* The cost of the script layer: compares the near end of a tunnel as a Lua script (bench/script.lua) with the
 * same near end written in C on the same rooms, each in its own process, under the same load.
 *
 *   bench-script SCRIPT [CONNECTIONS [IDLE [ROUNDS]]]
 *
 * Each round measures both, C first: IDLE connections that stay open (resident memory per connection);
 * CONNECTIONS short ones, 64 at a time, that carry one byte there and back (CPU time of the near process for
 * accept, open, splice, close); 64 MiB there and back through one (CPU time per byte). CPU time is the near
 * process's own, so a busy machine affects it little. Prints the median of the rounds. The far end echoes in
 * C. Goal of the script layer: under 5 us and 2 KiB per connection, and nothing per byte. */
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "base/log.h"
#include "crypto/crypto.h"
#include "io/uv/uv.h"
#include "link/counters.h"
#include "link/kcptun/kcptun.h"
#include "link/splice.h"
#include "script/api/bindings.h"
#include "script/core/logger.h"
#include "script/core/runtime.h"
#include "clock.h"

enum { AT_ONCE = 64, BULK = 64 << 20, CHUNK = 64 << 10, ROUNDS_MAX = 64, PATIENCE_MS = 20000 };

__attribute__((noreturn)) static void die(const char *what)
{
    fprintf(stderr, "bench-script: %s: %s\n", what, errno ? strerror(errno) : "failed");
    exit(1);
}

/* ---- the ends of the tunnel ---- */

/* The same settings as in bench/script.lua. */
static void settings(struct kt_kcptun_config *cfg, bool near, uint16_t port)
{
    struct kt_err err = {0};
    char at[32];
    snprintf(at, sizeof at, "127.0.0.1:%u", port);
    kt_kcptun_defaults(&cfg->common, near);
    if (kt_endpoint_parse(&cfg->common.at, at, 0, &err)) die(err.text);
    cfg->common.key = "bench";
    cfg->common.key_len = 5;
    cfg->crypt = "none";
    cfg->compress = false;
    cfg->datashard = cfg->parityshard = 0;
}

static struct kt_io *make_io(const struct kt_log *log)
{
    struct kt_err err = {0};
    struct kt_io *io;
    if (kt_crypto_init(&err) || kt_uv_new(&io, log, 0, &err)) die(err.text);
    return io;
}

/* Echoes one stream, under back-pressure. */
static void echo(void *ctx)
{
    struct kt_pipe *p = ctx;
    struct kt_iov iov[1];
    while (kt_pipe_peek(p, iov, 1) > 0) {
        const size_t n = kt_pipe_write(p, iov[0].data, iov[0].len);
        if (n == 0) return;
        kt_pipe_consume(p, n);
    }
    if (kt_pipe_eof(p)) kt_pipe_close(p);
}

static void echo_broke(void *ctx, int code)
{
    (void)code;
    kt_pipe_close(ctx);
}

static void on_stream(void *ctx, struct kt_pipe *stream, const struct kt_peer_info *peer)
{
    static const struct kt_pipe_events events = {.readable = echo, .writable = echo, .closed = echo_broke};
    (void)ctx;
    (void)peer;
    kt_pipe_listen(stream, &events, stream);
    echo(stream);
}

static void run_far(uint16_t port)
{
    static const struct kt_acceptor_events events = {.stream = on_stream};
    static struct kt_counters counters;
    struct kt_kcptun_config cfg;
    struct kt_acceptor *acceptor;
    struct kt_err err = {0};
    struct kt_io *io = make_io(NULL);
    const struct kt_wire_env env = {.io = io, .counters = &counters};
    settings(&cfg, false, port);
    if (kt_kcptun_accept(&kt_kcptun_wire, &env, &cfg.common, &events, NULL, &acceptor, &err)) die(err.text);
    kt_io_run(io);
}

/* The near end in C. */
struct near {
    struct kt_io *io;
    struct kt_link *link;
};
struct carried {
    struct near *near;
    struct kt_conn *conn;
    struct kt_open *open;
};

static void carried_done(void *ctx, const struct kt_splice_result *result)
{
    (void)result;
    free(ctx);
}

static void carried_open(void *ctx, struct kt_pipe *stream, const struct kt_err *err)
{
    static const struct kt_splice_opts opts = {.idle_us = 600000000, .linger_us = 10000000};
    struct carried *c = ctx;
    struct kt_splice *splice;
    if (!stream) die(err->text);
    if (kt_splice(c->near->io, kt_conn_pipe(c->conn), stream, &opts, carried_done, c, &splice)) die("splice");
}

static void on_conn(void *ctx, struct kt_conn *conn)
{
    struct carried *c = calloc(1, sizeof *c);
    struct kt_err err = {0};
    if (!c) die("memory");
    c->near = ctx;
    c->conn = conn;
    if (kt_link_open(c->near->link, NULL, carried_open, c, &c->open, &err)) die(err.text);
}

static void run_c(uint16_t port, uint16_t far)
{
    static const struct kt_listener_events events = {on_conn};
    static struct kt_counters counters;
    struct near near;
    struct kt_kcptun_config cfg;
    struct kt_endpoint at;
    struct kt_listener *listener;
    struct kt_err err = {0};
    char text[32];
    near.io = make_io(NULL);
    const struct kt_wire_env env = {.io = near.io, .counters = &counters};
    settings(&cfg, true, far);
    snprintf(text, sizeof text, "127.0.0.1:%u", port);
    if (kt_endpoint_parse(&at, text, 0, &err) ||
        kt_kcptun_link(&kt_kcptun_wire, &env, &cfg.common, &near.link, &err) ||
        kt_listen(near.io, &at, &events, &near, &listener, &err))
        die(err.text);
    kt_io_run(near.io);
}

static void run_lua(const char *script, uint16_t port, uint16_t far)
{
    struct kt_logger logger;
    struct kt_runtime *rt;
    struct kt_err err = {0};
    char on[32], remote[32], *args[] = {on, remote};
    kt_logger_init(&logger, "");
    kt_logger_set_level(&logger, KT_LOG_ERROR);
    struct kt_io *io = make_io(&logger.log);
    snprintf(on, sizeof on, "127.0.0.1:%u", port);
    snprintf(remote, sizeof remote, "127.0.0.1:%u", far);
    const struct kt_runtime_opts opts = {
        .io = io, .logger = &logger, .bind = kt_api_bind, .memory = 256u << 20};
    if (kt_runtime_new(&rt, &opts, &err)) die(err.text);
    if (kt_runtime_load_file(rt, script, 2, args) || kt_runtime_open(rt)) die(kt_runtime_message(rt));
    kt_io_run(io);
}

/* ---- the load ---- */

static struct sockaddr_in address(uint16_t port)
{
    return (struct sockaddr_in){
        .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(port)};
}

static uint16_t free_port(int type)
{
    struct sockaddr_in at = address(0);
    socklen_t len = sizeof at;
    const int fd = socket(AF_INET, type, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&at, len) || getsockname(fd, (struct sockaddr *)&at, &len))
        die("port");
    close(fd);
    return ntohs(at.sin_port);
}

static int dial(uint16_t port)
{
    const struct sockaddr_in at = address(port);
    for (int tries = 0; tries < PATIENCE_MS / 10; tries++) { /* the near end is just starting */
        const int fd = socket(AF_INET, SOCK_STREAM, 0);
        if (fd < 0) die("socket");
        if (connect(fd, (const struct sockaddr *)&at, sizeof at) == 0) return fd;
        close(fd);
        if (errno != ECONNREFUSED) die("connect");
        usleep(10000);
    }
    die("the near end does not listen");
}

static void say(int fd)
{
    if (write(fd, "x", 1) != 1) die("write");
}

static void hear(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    char byte;
    if (poll(&p, 1, PATIENCE_MS) != 1) die("no answer");
    if (read(fd, &byte, 1) != 1) die("read");
}

static void churn(uint16_t port, int connections)
{
    int fds[AT_ONCE];
    for (int done = 0; done < connections; done += AT_ONCE) {
        for (int i = 0; i < AT_ONCE; i++) fds[i] = dial(port);
        for (int i = 0; i < AT_ONCE; i++) say(fds[i]);
        for (int i = 0; i < AT_ONCE; i++) hear(fds[i]);
        for (int i = 0; i < AT_ONCE; i++) close(fds[i]);
    }
}

static void bulk(uint16_t port)
{
    static char out[CHUNK], in[CHUNK];
    const int fd = dial(port);
    size_t sent = 0, got = 0;
    while (got < BULK) {
        struct pollfd p = {.fd = fd, .events = (short)(POLLIN | (sent < BULK ? POLLOUT : 0))};
        if (poll(&p, 1, PATIENCE_MS) != 1) die("the transfer stalls");
        if (p.revents & POLLIN) {
            const ssize_t n = recv(fd, in, sizeof in, MSG_DONTWAIT);
            if (n <= 0) die("the transfer broke off");
            got += (size_t)n;
        }
        if (sent < BULK && (p.revents & POLLOUT)) {
            const size_t want = BULK - sent < sizeof out ? BULK - sent : sizeof out;
            const ssize_t n = send(fd, out, want, MSG_DONTWAIT);
            if (n > 0) sent += (size_t)n;
        }
    }
    close(fd);
}

/* ---- what it costs ---- */

struct cost {
    double us_conn, bytes_idle, us_mib, conns_s;
};

static double cpu_us(pid_t pid)
{
    clockid_t clock;
    struct timespec t;
    if (clock_getcpuclockid(pid, &clock) || clock_gettime(clock, &t)) die("cpu clock");
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static double resident(pid_t pid)
{
    char path[64];
    long total, pages;
    snprintf(path, sizeof path, "/proc/%d/statm", (int)pid);
    FILE *f = fopen(path, "r");
    if (!f || fscanf(f, "%ld %ld", &total, &pages) != 2) die(path);
    fclose(f);
    return (double)pages * (double)sysconf(_SC_PAGESIZE);
}

static struct cost measure(pid_t near, uint16_t port, int connections, int idle)
{
    struct cost cost;
    int *fds = calloc((size_t)idle, sizeof *fds);
    if (!fds) die("memory");
    churn(port, AT_ONCE); /* one-time allocations are done */

    double before = resident(near);
    for (int i = 0; i < idle; i++) {
        fds[i] = dial(port);
        say(fds[i]);
        hear(fds[i]);
    }
    cost.bytes_idle = (resident(near) - before) / idle;
    for (int i = 0; i < idle; i++) close(fds[i]);
    free(fds);

    churn(port, AT_ONCE * 8);
    before = cpu_us(near);
    const double start = wall_s();
    churn(port, connections);
    cost.conns_s = connections / (wall_s() - start);
    cost.us_conn = (cpu_us(near) - before) / connections;

    before = cpu_us(near);
    bulk(port);
    cost.us_mib = (cpu_us(near) - before) / (BULK >> 20);
    return cost;
}

static void end(pid_t pid)
{
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

static pid_t start(void)
{
    const pid_t parent = getpid(), pid = fork();
    if (pid < 0) die("fork");
    if (pid == 0) {
        alarm(600); /* if the parent is killed */
        if (getppid() != parent) _exit(1);
    }
    return pid;
}

static int compare(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(const struct cost *costs, int n, size_t offset)
{
    double values[ROUNDS_MAX];
    for (int i = 0; i < n; i++) memcpy(&values[i], (const char *)&costs[i] + offset, sizeof values[i]);
    qsort(values, (size_t)n, sizeof values[0], compare);
    return values[n / 2];
}

static void row(const char *what, const struct cost *c, const struct cost *lua, int rounds, size_t offset)
{
    const double a = median(c, rounds, offset), b = median(lua, rounds, offset);
    printf("%-34s %10.1f %10.1f %10.1f\n", what, a, b, b - a);
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: bench-script SCRIPT [CONNECTIONS [IDLE [ROUNDS]]]\n");
        return 2;
    }
    const int connections = argc > 2 ? atoi(argv[2]) : 20000, idle = argc > 3 ? atoi(argv[3]) : 4000;
    const int rounds = argc > 4 ? atoi(argv[4]) : 3;
    if (connections < AT_ONCE || idle < 1 || rounds < 1 || rounds > ROUNDS_MAX) {
        fprintf(stderr, "bench-script: at least 64 connections, 1 idle one, 1 to %d rounds\n", ROUNDS_MAX);
        return 2;
    }
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    if (files.rlim_cur < (rlim_t)idle + AT_ONCE + 64)
        die("too few descriptors for this many idle conns; raise ulimit -n");
    signal(SIGPIPE, SIG_IGN);

    struct cost costs[2][ROUNDS_MAX];
    for (int round = 0; round < rounds; round++) {
        for (int lua = 0; lua < 2; lua++) {
            const uint16_t far_port = free_port(SOCK_DGRAM), near_port = free_port(SOCK_STREAM);
            const pid_t far = start();
            if (far == 0) run_far(far_port);
            const pid_t near = start();
            if (near == 0) lua ? run_lua(argv[1], near_port, far_port) : run_c(near_port, far_port);
            costs[lua][round] = measure(near, near_port, connections, idle);
            end(near);
            end(far);
        }
    }
    printf("%-34s %10s %10s %10s\n", "", "C", "script", "more");
    row("CPU us a short connection", costs[0], costs[1], rounds, offsetof(struct cost, us_conn));
    row("resident bytes an idle connection", costs[0], costs[1], rounds, offsetof(struct cost, bytes_idle));
    row("CPU us a MiB there and back", costs[0], costs[1], rounds, offsetof(struct cost, us_mib));
    row("short connections a second", costs[0], costs[1], rounds, offsetof(struct cost, conns_s));
    return 0;
}
