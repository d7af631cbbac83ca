"""A journal of its own for a command: journal.py COMMAND... In a mount namespace, makes systemd's socket, runs the command, and writes
the fields of each datagram on one line of the file `journal`. Does not read before the command has made the file `done`. Ends the command when it is ended."""
import os, signal, socket, subprocess, sys, time

if os.environ.get("KT_JOURNAL_INSIDE") is None:
    os.environ["KT_JOURNAL_INSIDE"] = "1"
    os.execvp("unshare", ["unshare", "--user", "--map-root-user", "--mount", sys.executable] + sys.argv)
subprocess.check_call(["mount", "-t", "tmpfs", "none", "/run"])
os.makedirs("/run/systemd/journal")
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind("/run/systemd/journal/socket")
p = subprocess.Popen(sys.argv[1:])
signal.signal(signal.SIGTERM, lambda *_: p.terminate())
while not os.path.exists("done"):
    time.sleep(0.01)
s.settimeout(0.1)
out = open("journal", "w")
while p.poll() is None:
    try:
        data = s.recv(65536)
    except TimeoutError:
        continue
    if data:
        print(data.decode().rstrip("\n").replace("\n", "|"), file=out, flush=True)
sys.exit(p.wait())
