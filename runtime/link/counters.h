/* The counters of a runtime: those of kcp-go's snmp, under the same names so that kcptun dashboards keep
 * working, and kt's own. Plain integers, because a runtime is one thread. */
#ifndef KT_LINK_COUNTERS_H
#define KT_LINK_COUNTERS_H

#include <stddef.h>
#include <stdint.h>

#define KT_COUNTERS(X)                                                                                       \
    X(BytesSent)        /* payload bytes handed to KCP */                                                    \
    X(BytesReceived)    /* payload bytes taken from KCP */                                                   \
    X(MaxConn)          /* most sessions at once */                                                          \
    X(ActiveOpens)      /* sessions dialled */                                                               \
    X(PassiveOpens)     /* sessions accepted */                                                              \
    X(CurrEstab)        /* sessions now */                                                                   \
    X(InErrs)           /* datagrams dropped: too short, or of an unknown session */                         \
    X(InCsumErrors)     /* datagrams that did not authenticate */                                            \
    X(KCPInErrors)      /* malformed KCP packets */                                                          \
    X(InPkts)           /* datagrams accepted */                                                             \
    X(OutPkts)          /* datagrams sent */                                                                 \
    X(InSegs)           /* KCP segments received */                                                          \
    X(OutSegs)          /* KCP segments sent */                                                              \
    X(InBytes)          /* UDP bytes received */                                                             \
    X(OutBytes)         /* UDP bytes sent */                                                                 \
    X(RetransSegs)      /* segments retransmitted, all causes */                                             \
    X(FastRetransSegs)  /* ... after later acknowledgements */                                               \
    X(EarlyRetransSegs) /* ... early, with nothing new to send */                                            \
    X(LostSegs)         /* ... after a timeout */                                                            \
    X(RepeatSegs)       /* segments received again */                                                        \
    X(FECParityShards)  /* parity packets received */                                                        \
    X(FECErrs)          /* malformed FEC packets */                                                          \
    X(FECRecovered)     /* packets rebuilt by FEC */                                                         \
    X(FECShortShards)   /* groups that could not be completed */                                             \
    X(StreamsOpened)                                                                                         \
    X(StreamsAccepted)                                                                                       \
    X(StreamsNow)                                                                                            \
    X(TaskErrors)        /* tasks of the script that failed */                                               \
    X(MTUReduced)        /* times a session switched to smaller datagrams because longer ones were lost */   \
    X(SessionsSuspect)   /* times a peer became suspect because it did not answer */                         \
    X(SessionsDead)      /* sessions ended because the peer went silent */                                   \
    X(SessionsRestarted) /* ... because the peer restarted */                                                \
    X(SessionsFailed)    /* ... because the peer broke the protocol */                                       \
    X(BytesHeld)         /* memory used by session buffers now, in bytes */                                  \
    X(StreamsRefused)    /* streams refused because of a limit */                                            \
    X(SessionsRefused)   /* sessions refused because of a limit */                                           \
    X(StreamsCut)        /* streams reset because unread bytes blocked a session or overran a window */      \
    X(StreamsMoved)      /* young streams moved to a new session */                                          \
    X(ReplayedStarts)    /* replayed session starts, refused */

struct kt_counters {
#define KT_COUNTER_FIELD(name) uint64_t name;
    KT_COUNTERS(KT_COUNTER_FIELD)
#undef KT_COUNTER_FIELD
};

/* The name and value of counter i, in the order of the table. The name is NULL past the end. */
const char *kt_counter_name(size_t i);
uint64_t kt_counter_value(const struct kt_counters *c, size_t i);

#endif
