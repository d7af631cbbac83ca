/* Traffic for measuring a tunnel: a server that receives or sends bytes on request, and its client.
 *
 *   bench-traffic serve HOST PORT [CC]        prints "listening PORT" and serves until killed (PORT may be 0)
 *   bench-traffic send HOST PORT BYTES [CC]   pushes BYTES through the tunnel to the server
 *   bench-traffic recv HOST PORT BYTES [CC]   pulls BYTES from the server
 *   bench-traffic ports                       prints a TCP and a UDP port of 127.0.0.1 that are free now
 *
 * CC names the kernel's congestion control ("cubic"), for measuring its TCP. A client waits up to ten seconds for a
 * listener, so that both ends may be started at once.
 *
 * In both directions the receiver's CRC-32 is compared with the sender's, so a figure is only printed for bytes that
 * arrived complete and in order: "BYTES SECONDS CRC". The protocol needs no half-close, which kcptun lacks: a request
 * is 16 bytes (direction, then size, little endian); the answer to "send" is the 4-byte CRC; the answer to "recv" is
 * the bytes and then the 4-byte CRC. Reads and writes are large and the bytes do not compress, so that this program
 * costs little next to the tunnel. */
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <isa-l.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include "clock.h"

enum { BUFFER = 256 * 1024, STAMP_EVERY = 64 * 1024, CLIENT_PATIENCE_S = 120, START_PATIENCE_S = 10 };
enum { DIRECTION_SEND = 1, DIRECTION_RECV = 2 };

static uint8_t buffer[BUFFER];

static void die(const char *what)
{
    fprintf(stderr, "bench-traffic: %s: %s\n", what, errno ? strerror(errno) : "failed");
    exit(1);
}

static bool write_all(int fd, const void *data, size_t len)
{
    const uint8_t *p = data;
    while (len > 0) {
        ssize_t n = write(fd, p, len);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return false;
        p += n;
        len -= (size_t)n;
    }
    return true;
}

static bool read_all(int fd, void *data, size_t len)
{
    uint8_t *p = data;
    while (len > 0) {
        ssize_t n = read(fd, p, len);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return false;
        p += n;
        len -= (size_t)n;
    }
    return true;
}

static void fill_with_noise(void)
{
    uint64_t x = 0x9e3779b97f4a7c15;
    for (size_t i = 0; i < BUFFER; i += 8) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        memcpy(buffer + i, &x, 8);
    }
}

/* Sends `total` bytes; every 64 KiB is stamped with its number, so that a piece lost, repeated or moved
 * changes the CRC. */
static bool push(int fd, uint64_t total, uint32_t *crc)
{
    uint64_t stamp = 0;
    fill_with_noise();
    *crc = 0;
    while (total > 0) {
        size_t n = total < BUFFER ? (size_t)total : BUFFER;
        for (size_t i = 0; i < BUFFER; i += STAMP_EVERY, stamp++) memcpy(buffer + i, &stamp, sizeof stamp);
        *crc = crc32_gzip_refl(*crc, buffer, n);
        if (!write_all(fd, buffer, n)) return false;
        total -= n;
    }
    return true;
}

static bool pull(int fd, uint64_t total, uint32_t *crc)
{
    *crc = 0;
    while (total > 0) {
        ssize_t n = read(fd, buffer, total < BUFFER ? (size_t)total : BUFFER);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return false;
        *crc = crc32_gzip_refl(*crc, buffer, (uint64_t)n);
        total -= (uint64_t)n;
    }
    return true;
}

static void answer(int fd)
{
    uint64_t request[2];
    uint32_t crc;
    if (!read_all(fd, request, sizeof request)) return;
    if (request[0] == DIRECTION_SEND) {
        if (!pull(fd, request[1], &crc)) return;
    } else {
        if (!push(fd, request[1], &crc)) return;
    }
    if (!write_all(fd, &crc, sizeof crc)) return;
    /* kcptun drops what is in flight when an end closes, so wait until the other end has read everything and
     * closed. */
    uint8_t end;
    if (read(fd, &end, 1) > 0) fprintf(stderr, "bench-traffic: unexpected byte after the end\n");
}

static void choose_cc(int fd, const char *cc)
{
    if (cc && setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, cc, (socklen_t)strlen(cc)) < 0) die(cc);
}

static _Noreturn void serve(const char *host, const char *port, const char *cc)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port))};
    socklen_t len = sizeof at;
    int on = 1, fd = socket(AF_INET, SOCK_STREAM, 0);
    if (inet_pton(AF_INET, host, &at.sin_addr) != 1) die(host);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&at, sizeof at) < 0) die("bind");
    choose_cc(fd, cc); /* conns inherit their listener's */
    if (listen(fd, 16) < 0) die("listen");
    if (getsockname(fd, (struct sockaddr *)&at, &len) < 0) die("getsockname");
    printf("listening %d\n", ntohs(at.sin_port));
    fflush(stdout);
    for (;;) {
        int conn = accept(fd, NULL, NULL);
        if (conn < 0 && errno != EINTR && errno != ECONNABORTED) die("accept");
        if (conn < 0) continue;
        answer(conn);
        close(conn);
    }
}

static int dial(const char *host, const char *port, const char *cc)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port))};
    struct timeval patience = {.tv_sec = CLIENT_PATIENCE_S};
    const struct timespec tick = {.tv_nsec = 20000000};
    if (inet_pton(AF_INET, host, &at.sin_addr) != 1) die(host);
    int fd = -1;
    for (double end = wall_s() + START_PATIENCE_S; fd < 0; nanosleep(&tick, NULL)) {
        fd = socket(AF_INET, SOCK_STREAM, 0);
        choose_cc(fd, cc);
        if (connect(fd, (struct sockaddr *)&at, sizeof at) == 0) break;
        if (errno != ECONNREFUSED || wall_s() > end) die("connect");
        close(fd);
        fd = -1;
    }
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    return fd;
}

static int transfer(uint64_t direction, const char *host, const char *port, const char *bytes, const char *cc)
{
    uint64_t request[2] = {direction, strtoull(bytes, NULL, 10)};
    uint32_t mine, theirs;
    int fd = dial(host, port, cc);
    double start = wall_s();
    if (!write_all(fd, request, sizeof request)) die("write");
    if (!(direction == DIRECTION_SEND ? push : pull)(fd, request[1], &mine)) die("the transfer broke off");
    if (!read_all(fd, &theirs, sizeof theirs)) die("no checksum came back");
    double seconds = wall_s() - start;
    close(fd);
    if (mine != theirs) {
        fprintf(stderr, "bench-traffic: checksum differs: %08" PRIx32 " here, %08" PRIx32 " there\n", mine,
            theirs);
        return 1;
    }
    printf("%" PRIu64 " %.6f %08" PRIx32 "\n", request[1], seconds, mine);
    return 0;
}

static int free_port(int type)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof at;
    int fd = socket(AF_INET, type, 0);
    if (bind(fd, (struct sockaddr *)&at, len) < 0) die("bind");
    if (getsockname(fd, (struct sockaddr *)&at, &len) < 0) die("getsockname");
    close(fd);
    return ntohs(at.sin_port);
}

int main(int argc, char **argv)
{
    if (argc == 2 && !strcmp(argv[1], "ports")) {
        int tcp = free_port(SOCK_STREAM), udp = free_port(SOCK_DGRAM);
        printf("%d %d\n", tcp, udp);
        return 0;
    }
    if ((argc == 4 || argc == 5) && !strcmp(argv[1], "serve")) serve(argv[2], argv[3], argv[4]);
    if ((argc == 5 || argc == 6) && !strcmp(argv[1], "send"))
        return transfer(DIRECTION_SEND, argv[2], argv[3], argv[4], argv[5]);
    if ((argc == 5 || argc == 6) && !strcmp(argv[1], "recv"))
        return transfer(DIRECTION_RECV, argv[2], argv[3], argv[4], argv[5]);
    fprintf(stderr, "usage: bench-traffic serve HOST PORT [CC] | send HOST PORT BYTES [CC] | "
                    "recv HOST PORT BYTES [CC] | ports\n");
    return 2;
}
