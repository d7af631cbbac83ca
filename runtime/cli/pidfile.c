/* Pid files (pidfile.h). Each is written under another name and renamed, so that no reader sees half of one. */
#include "cli/pidfile.h"
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "io/system.h"

#define FILE_MAX ((size_t)4096)

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
    struct kt_err made = {0};
    int rc = kt_system_file_create(NULL, temporary, text, strlen(text), &made);
    if (rc == 0 && rename(temporary, path) == 0) return 0;
    if (rc == 0)
        rc = complain(path, err);
    else /* name the file that the user gave, not the temporary one */
        kt_err_set(err, rc, "%s%s", path, strstr(made.text, ".new") ? strstr(made.text, ".new") + 4 : "");
    unlink(temporary);
    return rc;
}

static bool result_path(const char *path, char *out, size_t size)
{
    return (size_t)snprintf(out, size, "%s.reload", path) < size;
}

int kt_pidfile_read(const char *path, pid_t *pid, struct kt_err *err)
{
    char *text, *end;
    size_t len;
    int rc = kt_system_file_read(NULL, path, FILE_MAX, &text, &len, err);
    if (rc) return rc;
    const long n = strtol(text, &end, 10);
    const bool found = end != text && n > 0 && n <= INT_MAX;
    free(text);
    if (!found) return kt_err_set(err, KT_ECONFIG, "%s: expected a process id", path);
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
    int rc = kt_pidfile_read(path, &pid, err);
    if (rc == KT_EINVAL) return rc; /* a folder, a pipe or a device: do not replace it */
    if (rc == 0 && pid != getpid() && kt_pid_is_kt(pid))
        return kt_err_set(err, KT_EINUSE, "%s: in use by process %ld, a running kt", path, (long)pid);
    snprintf(text, sizeof text, "%ld\n", (long)getpid());
    rc = replace(path, text, err);
    char result[PATH_MAX];
    if (rc == 0 && result_path(path, result, sizeof result)) unlink(result); /* another process's */
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
    char name[PATH_MAX], word[8] = "", *text;
    size_t len;
    int at = 0;
    *out = (struct kt_pidfile_result){0};
    if (!result_path(path, name, sizeof name) || kt_system_file_read(NULL, name, FILE_MAX, &text, &len, NULL))
        return;
    if (sscanf(text, "%lu %7s\n%n", &out->number, word, &at) != 2) out->number = 0;
    out->ok = strcmp(word, "ok") == 0;
    snprintf(out->text, sizeof out->text, "%s", text + at);
    free(text);
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
