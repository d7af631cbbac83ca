"""systemd's journald for a command: journald.py COMMAND... In namespaces of its own, with a /run and a /sys of its own and /proc/sys for reading
only, starts journald, runs the command, and ends with its exit code. Prints the journal to standard output, an object of JSON on each line; what
the command prints goes to standard error. Exits with 77 if journald does not start, or there can be no such namespaces."""
import os, subprocess, sys, time

UNSHARE = ["unshare", "--user", "--map-root-user", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]

if os.environ.get("KT_JOURNAL_INSIDE") is None:
    os.environ["KT_JOURNAL_INSIDE"] = "1"
    if subprocess.call(UNSHARE + ["true"]) != 0:
        sys.exit(77)
    os.execvp("unshare", UNSHARE + [sys.executable] + sys.argv)


def mount(*args):
    if subprocess.call(["mount", *args]) != 0:
        sys.exit(77)


def put(path, text): # over what the machine has
    own = "/run/" + os.path.basename(path)
    with open(own, "w") as file:
        file.write(text)
    mount("--bind", own, path)


mount("-t", "tmpfs", "none", "/run")
os.mkdir("/run/cgroup") # journald wants to know which control group it is in
mount("--rbind", "/sys/fs/cgroup", "/run/cgroup")
mount("-t", "tmpfs", "none", "/sys")
os.makedirs("/sys/fs/cgroup")
mount("--rbind", "/run/cgroup", "/sys/fs/cgroup")
mount("--rbind", "/proc/sys", "/proc/sys")
for line in open("/proc/self/mountinfo").readlines():
    at = line.split()[4]
    if at.startswith(("/sys/fs/cgroup", "/proc/sys", "/run/cgroup")):
        mount("-o", "remount,bind,ro", at)
os.makedirs("/run/systemd/journal")
os.makedirs("/run/log/journal")
put("/etc/machine-id", "0123456789abcdef0123456789abcdef\n")
put("/etc/systemd/journald.conf", "[Journal]\nStorage=volatile\nReadKMsg=no\nForwardToSyslog=no\nForwardToWall=no\nRateLimitIntervalSec=0\n")
journald = subprocess.Popen(["/lib/systemd/systemd-journald"], stdout=sys.stderr, env=dict(os.environ, SYSTEMD_LOG_TARGET="console"))
until = time.monotonic() + 10
while not os.path.exists("/run/systemd/journal/io.systemd.journal"):
    if journald.poll() is not None or time.monotonic() > until:
        sys.exit(77)
    time.sleep(0.01)
code = subprocess.call(sys.argv[1:], stdout=sys.stderr)
subprocess.check_call(["journalctl", "--sync"])
subprocess.check_call(["journalctl", "--no-pager", "--quiet", "--output=json", "--directory=/run/log/journal"])
sys.exit(code)
