/* Where control sockets are: NAME.sock in one folder per user.
 *
 *   $KT_RUNTIME_DIR       if that variable is set; kt then looks nowhere else
 *   $XDG_RUNTIME_DIR/kt   else, if that variable is set
 *   /run/user/UID/kt      else, if /run/user/UID exists
 *   /run/kt               else: root; and for a service, with --control, a folder in there (RuntimeDirectory=kt/NAME)
 */
#ifndef KT_CONTROL_FOLDER_H
#define KT_CONTROL_FOLDER_H

#include <stddef.h>
#include "base/err.h"

#define KT_CONTROL_PATH 108u /* size of a buffer for a socket's path */
#define KT_CONTROL_LIST_MAX 256u
/* Instances of one name in a folder: NAME.sock, NAME-2.sock, ... */
#define KT_CONTROL_SAME_MAX 64u

/* The path of the n-th socket of a name, n from 1, in the folder of this process, which is made if need be. 0, or a
 * code and why the folder cannot be used. */
int kt_control_path(const char *name, unsigned n, char out[KT_CONTROL_PATH], struct kt_err *err);

/* The paths of all sockets in the folders that this user may read, its own and /run/kt, sorted within each; whether a
 * process still listens at them is not checked. Returns their number. */
size_t kt_control_list(char (*out)[KT_CONTROL_PATH], size_t max);

#endif
