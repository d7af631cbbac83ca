/* Finds the folder of control sockets.
 *
 * Invariant: a folder is used only if nobody but this user and root can put a file there, so that no other user's
 * socket can pass for that of a kt. */
#include "control/folder.h"
#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define ENDING ".sock"
#define SYSTEM "/run/kt"

static bool is_folder(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* The folder that the environment names, and no other; NULL: none. */
static const char *only_folder(void)
{
    const char *only = getenv("KT_RUNTIME_DIR");
    return only && *only ? only : NULL;
}

/* The folder of this process's user; false: there is none, and SYSTEM is used. */
static bool own_folder(char *out, size_t size)
{
    const char *runtime = getenv("XDG_RUNTIME_DIR"), *only = only_folder();
    char user[64];
    if (only) return (size_t)snprintf(out, size, "%s", only) < size;
    if (!runtime || !*runtime) {
        snprintf(user, sizeof user, "/run/user/%u", (unsigned)geteuid());
        if (!is_folder(user)) return false;
        runtime = user;
    }
    return (size_t)snprintf(out, size, "%s/kt", runtime) < size;
}

static int check(const char *folder, struct kt_err *err)
{
    struct stat st;
    if (lstat(folder, &st) != 0)
        return kt_err_set(err, kt_err_from_errno(errno), "%s: %s", folder, strerror(errno));
    if (!S_ISDIR(st.st_mode)) return kt_err_set(err, KT_EINVAL, "%s: not a folder; remove it", folder);
    if ((st.st_uid != geteuid() && st.st_uid != 0) || (st.st_mode & (S_IWGRP | S_IWOTH)))
        return kt_err_set(err, KT_EACCES, "%s: other users can write there; run chmod go-w on it", folder);
    return 0;
}

/* The name with only what is safe in a file's name. */
static void clean_name(const char *name, char *out, size_t size)
{
    static const char safe[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.";
    size_t i = 0;
    for (; name[i] && i + 1 < size; i++)
        out[i] = strchr(safe, name[i]) && (i > 0 || name[i] != '.') ? name[i] : '_';
    out[i] = '\0';
    if (i == 0) snprintf(out, size, "kt");
}

int kt_control_path(const char *name, unsigned n, char out[KT_CONTROL_PATH], struct kt_err *err)
{
    char folder[KT_CONTROL_PATH] = SYSTEM, clean[48], number[16] = "";
    const bool own = own_folder(folder, sizeof folder);
    if (mkdir(folder, own ? 0700 : 0755) != 0 && errno != EEXIST)
        return kt_err_set(err, kt_err_from_errno(errno), "%s: %s", folder, strerror(errno));
    const int rc = check(folder, err);
    if (rc) return rc;
    clean_name(name, clean, sizeof clean);
    if (n > 1) snprintf(number, sizeof number, "-%u", n);
    if ((size_t)snprintf(out, KT_CONTROL_PATH, "%s/%s%s" ENDING, folder, clean, number) < KT_CONTROL_PATH)
        return 0;
    return kt_err_set(err, KT_EINVAL, "%s: the path of a socket there is too long", folder);
}

static int compare(const void *a, const void *b)
{
    return strcmp(a, b);
}

static size_t list_folder(const char *folder, char (*out)[KT_CONTROL_PATH], size_t max)
{
    size_t n = 0;
    DIR *dir = opendir(folder);
    if (!dir) return 0;
    for (const struct dirent *e; n < max && (e = readdir(dir));) {
        const size_t len = strlen(e->d_name), ending = strlen(ENDING);
        if (len <= ending || strcmp(e->d_name + len - ending, ENDING) != 0) continue;
        if ((size_t)snprintf(out[n], KT_CONTROL_PATH, "%s/%s", folder, e->d_name) < KT_CONTROL_PATH) n++;
    }
    closedir(dir);
    qsort(out, n, sizeof *out, compare);
    return n;
}

/* The sockets in the folders of services (RuntimeDirectory=kt/NAME), each of which belongs to its service's user. Only
 * root can make such a folder. */
static size_t list_services(char (*out)[KT_CONTROL_PATH], size_t max)
{
    struct kt_err err = {0};
    size_t n = 0;
    DIR *dir = check(SYSTEM, &err) == 0 ? opendir(SYSTEM) : NULL;
    if (!dir) return 0;
    for (const struct dirent *e; n < max && (e = readdir(dir));) {
        char folder[KT_CONTROL_PATH];
        if (e->d_name[0] == '.') continue;
        if ((size_t)snprintf(folder, sizeof folder, SYSTEM "/%s", e->d_name) < sizeof folder)
            n += list_folder(folder, out + n, max - n);
    }
    closedir(dir);
    return n;
}

size_t kt_control_list(char (*out)[KT_CONTROL_PATH], size_t max)
{
    char own[KT_CONTROL_PATH];
    size_t n = own_folder(own, sizeof own) ? list_folder(own, out, max) : 0;
    if (only_folder()) return n;
    n += list_folder(SYSTEM, out + n, max - n);
    return n + list_services(out + n, max - n);
}
