/* Ending with the process that started kt. */
#ifndef KT_CLI_PARENT_H
#define KT_CLI_PARENT_H

/* From now on the process gets SIGTERM when its parent process ends. Without pidfd_open (Linux 5.3) nothing happens: kt
 * then ends only on a signal or a command. */
void kt_parent_follow(void);

#endif
