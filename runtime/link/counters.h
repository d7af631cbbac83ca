/* The counters of a runtime, in the words of kcp-go's snmp (so that kcptun's dashboards go on working), plus
 * kt's own. Plain numbers: a runtime is one thread. */
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
    X(InErrs)           /* UDP datagrams that could not be used: too short, unknown session */               \
    X(InCsumErrors)     /* datagrams that did not authenticate */                                            \
    X(KCPInErrors)      /* malformed KCP packets */                                                          \
    X(InPkts)           /* datagrams accepted */                                                             \
    X(OutPkts)          /* datagrams sent */                                                                 \
    X(InSegs)           /* KCP segments received */                                                          \
    X(OutSegs)          /* KCP segments sent */                                                              \
    X(InBytes)          /* UDP bytes received */                                                             \
    X(OutBytes)         /* UDP bytes sent */                                                                 \
    X(RetransSegs)      /* segments sent again, for whatever reason */                                       \
    X(FastRetransSegs)  /* ... after later acknowledgements */                                               \
    X(EarlyRetransSegs) /* ... early, nothing new to send */                                                 \
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
    X(MTUReduced)        /* times a session went over to smaller datagrams, as longer ones were lost */      \
    X(SessionsSuspect)   /* times a peer that owed an answer became suspect */                               \
    X(SessionsDead)      /* sessions ended because the peer went silent */                                   \
    X(SessionsRestarted) /* ... because the peer restarted */                                                \
    X(SessionsFailed)    /* ... because the peer broke the protocol */                                       \
    X(BytesHeld)         /* bytes of memory that sessions' buffers take now */                               \
    X(StreamsRefused)    /* streams that peers opened beyond a limit */                                      \
    X(SessionsRefused)   /* ... sessions that they began */                                                  \
    X(StreamsCut)     /* streams reset because their unread bytes held up a session, or overran a window */  \
    X(StreamsMoved)   /* young streams carried over to a new session */                                      \
    X(ReplayedStarts) /* recorded session starts that came again, refused */

struct kt_counters {
#define KT_COUNTER_FIELD(name) uint64_t name;
    KT_COUNTERS(KT_COUNTER_FIELD)
#undef KT_COUNTER_FIELD
};

/* Names and values in order, for printing: i from 0; NULL past the end. */
const char *kt_counter_name(size_t i);
uint64_t kt_counter_value(const struct kt_counters *c, size_t i);

#endif
