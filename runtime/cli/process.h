/* Corrects what a process inherits and kt cannot work with: closed standard descriptors, a low descriptor
 * limit, blocked signals, a umask that denies it its own files. */
#ifndef KT_CLI_PROCESS_H
#define KT_CLI_PROCESS_H

/* Call first in main, before anything opens a descriptor:
 *  - opens /dev/null on each of descriptors 0, 1 and 2 that is closed, so that no socket lands there and
 *    receives output meant for standard error;
 *  - unblocks the signals that kt handles;
 *  - catches SIGPIPE, so that a write to a closed pipe is an error code. A handler, not SIG_IGN: programs
 *    that a script starts get the default back;
 *  - takes the owner's bits out of the umask, so that kt can open the files it has created. */
void kt_process_init(void);

/* Raises the soft limit of open descriptors to the hard one. Returns the soft limit before, for programs that
 * a script starts (some scan or index all descriptors up to it); 0 if it was not changed. */
unsigned long kt_process_raise_limit(void);

#endif
