/* Pid files: see pidfile.h. Each is written whole under another name and renamed, so that no reader sees half
 * of one. */
#include "cli/pidfile.h"
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int complain(const char *path, struct kt_err *err)
{
    return kt_err_set(err, kt_err_from_errno(errno), "%s: %s", path, strerror(errno));
}

static int replace(const char *path, const char *text, struct kt_err *err)
{
    char temporary[PATH_MAX];
    if ((size_t)snprintf(temporary, sizeof temporary, "%s.new", path) >= sizeof temporary)
        return kt_err_set(err, KT_EINVAL, "%.100s…: the name is too long", path);
    unlink(temporary);
    FILE *f = fopen(temporary, "wx");
    if (!f) return complain(temporary, err);
    const bool written = fputs(text, f) >= 0;
    if (fclose(f) != 0 || !written || rename(temporary, path) != 0) {
        int rc = complain(path, err);
        unlink(temporary);
        return rc;
    }
    return 0;
}

static bool result_path(const char *path, char *out, size_t size)
{
    return (size_t)snprintf(out, size, "%s.reload", path) < size;
}

int kt_pidfile_read(const char *path, pid_t *pid, struct kt_err *err)
{
    FILE *f = fopen(path, "r");
    if (!f) return complain(path, err);
    long n = 0;
    const bool found = fscanf(f, "%ld", &n) == 1 && n > 0 && n <= INT_MAX;
    fclose(f);
    if (!found) return kt_err_set(err, KT_ECONFIG, "%s: wanted the number of a process in it", path);
    *pid = (pid_t)n;
    return 0;
}

bool kt_pid_is_kt(pid_t pid)
{
    char name[64], exe[PATH_MAX];
    snprintf(name, sizeof name, "/proc/%ld/exe", (long)pid);
    ssize_t n = readlink(name, exe, sizeof exe - 1);
    if (n < 0) return errno == ENOENT && access("/proc/self/exe", F_OK) != 0 && kill(pid, 0) == 0;
    exe[n] = '\0';
    char *gone = strstr(exe, " (deleted)"); /* another binary has been installed since it was started */
    if (gone && strcmp(gone, " (deleted)") == 0) *gone = '\0';
    const char *slash = strrchr(exe, '/');
    struct stat its, ours;
    return strcmp(slash ? slash + 1 : exe, "kt") == 0 ||
           (stat(name, &its) == 0 && stat("/proc/self/exe", &ours) == 0 && its.st_dev == ours.st_dev &&
               its.st_ino == ours.st_ino);
}

int kt_pidfile_write(const char *path, struct kt_err *err)
{
    pid_t pid;
    char text[32];
    if (kt_pidfile_read(path, &pid, NULL) == 0 && pid != getpid() && kt_pid_is_kt(pid))
        return kt_err_set(err, KT_EINUSE, "%s: process %ld, a kt that runs, has it", path, (long)pid);
    snprintf(text, sizeof text, "%ld\n", (long)getpid());
    int rc = replace(path, text, err);
    char result[PATH_MAX];
    if (rc == 0 && result_path(path, result, sizeof result)) unlink(result); /* another process' */
    return rc;
}

void kt_pidfile_remove(const char *path)
{
    char result[PATH_MAX];
    if (result_path(path, result, sizeof result)) unlink(result);
    unlink(path);
}

void kt_pidfile_last(const char *path, struct kt_pidfile_result *out)
{
    char name[PATH_MAX], word[8] = "";
    *out = (struct kt_pidfile_result){0};
    FILE *f = result_path(path, name, sizeof name) ? fopen(name, "r") : NULL;
    if (!f) return;
    if (fscanf(f, "%lu %7s\n", &out->number, word) != 2) out->number = 0;
    out->ok = strcmp(word, "ok") == 0;
    out->text[fread(out->text, 1, sizeof out->text - 1, f)] = '\0';
    fclose(f);
}

void kt_pidfile_result(const char *path, int code, const char *text)
{
    char name[PATH_MAX], line[1100];
    struct kt_pidfile_result last;
    if (!result_path(path, name, sizeof name)) return;
    kt_pidfile_last(path, &last);
    snprintf(line, sizeof line, "%lu %s\n%s\n", last.number + 1, code ? "failed" : "ok", text);
    replace(name, line, NULL); /* the log has it too */
}
