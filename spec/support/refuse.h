/* Makes the system refuse to send some datagrams. spec_io is linked with --wrap=sendmsg and --wrap=sendmmsg,
 * so the io code in it calls these functions. Included once, by spec_io.c. */
#include <errno.h>
#include <sys/socket.h>

static struct {
    unsigned segments; /* refuse messages of at least this many pieces; 0: none */
    size_t longer;     /* ... whose first piece is longer than this */
    int errnum;
    unsigned left;    /* refuse this many more */
    unsigned refused; /* since refuse() */
    unsigned most;    /* largest number of pieces in a message sent since then */
} refusal;

ssize_t __real_sendmsg(int fd, const struct msghdr *m, int flags);
ssize_t __wrap_sendmsg(int fd, const struct msghdr *m, int flags);
int __real_sendmmsg(int fd, struct mmsghdr *v, unsigned n, int flags);
int __wrap_sendmmsg(int fd, struct mmsghdr *v, unsigned n, int flags);

static bool refuses(const struct msghdr *m)
{
    if (refusal.segments == 0 || refusal.left == 0 || m->msg_iovlen < refusal.segments) return false;
    if (m->msg_iov->iov_len <= refusal.longer) return false;
    refusal.left--;
    refusal.refused++;
    return true;
}

static void note_sent(const struct msghdr *m)
{
    if (m->msg_iovlen > refusal.most) refusal.most = (unsigned)m->msg_iovlen;
}

ssize_t __wrap_sendmsg(int fd, const struct msghdr *m, int flags)
{
    if (refuses(m)) {
        errno = refusal.errnum;
        return -1;
    }
    ssize_t r = __real_sendmsg(fd, m, flags);
    if (r >= 0) note_sent(m);
    return r;
}

int __wrap_sendmmsg(int fd, struct mmsghdr *v, unsigned n, int flags)
{
    unsigned good = 0;
    while (good < n && !refuses(&v[good].msg_hdr)) good++;
    if (good == 0) {
        errno = refusal.errnum;
        return -1;
    }
    int r = __real_sendmmsg(fd, v, good, flags);
    for (int i = 0; i < r; i++) note_sent(&v[i].msg_hdr);
    return r;
}

/* refuse(segments, errno name, times, longer): from now on such sends fail; refuse(): none fail. */
static int refuse(lua_State *L)
{
    static const struct {
        const char *name;
        int errnum;
    } names[] = {
        {"ENOMEM", ENOMEM}, {"ENOBUFS", ENOBUFS}, {"EINVAL", EINVAL}, {"EIO", EIO}, {"EMSGSIZE", EMSGSIZE}};
    memset(&refusal, 0, sizeof refusal);
    if (lua_isnoneornil(L, 1)) return 0;
    refusal.segments = (unsigned)luaL_checkinteger(L, 1);
    refusal.left = (unsigned)luaL_optinteger(L, 3, INT32_MAX);
    refusal.longer = (size_t)luaL_optinteger(L, 4, 0);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(names[i].name, luaL_checkstring(L, 2)) == 0) refusal.errnum = names[i].errnum;
    luaL_argcheck(L, refusal.errnum, 2, "unknown errno");
    return 0;
}

/* refused() -> since refuse or the last call: how many were refused, and the largest number of pieces in a
 * message that was sent */
static int refused(lua_State *L)
{
    lua_pushinteger(L, refusal.refused);
    lua_pushinteger(L, refusal.most);
    refusal.refused = refusal.most = 0;
    return 2;
}
