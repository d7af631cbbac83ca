"""Plays the service manager: starts a command with a notify socket, and with sockets that it has opened.

    manager.py [tcp:NAME:PORT | udp:NAME:PORT | unix:NAME:PATH]... -- COMMAND...

Prints "pid N", then each notification as "notify TEXT", its lines joined by spaces, and at the end "exit CODE". SIGTERM goes on to the
command."""
import os
import signal
import socket
import sys
import tempfile

split = sys.argv.index("--")
sockets, names = [], []
for what in sys.argv[1:split]:
    kind, name, at = what.split(":")
    s = socket.socket(socket.AF_UNIX if kind == "unix" else socket.AF_INET, socket.SOCK_DGRAM if kind == "udp" else socket.SOCK_STREAM)
    s.bind(at if kind == "unix" else ("127.0.0.1", int(at)))
    if kind != "udp":
        s.listen()
    sockets.append(s)
    names.append(name)

with tempfile.TemporaryDirectory() as folder:
    notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    notify.bind(folder + "/notify")
    pid = os.fork()
    if pid == 0:
        high = [os.dup(os.dup2(s.fileno(), 50 + i)) for i, s in enumerate(sockets)]
        for i, fd in enumerate(high):
            os.set_inheritable(os.dup2(fd, 3 + i), True)
        os.environ["NOTIFY_SOCKET"] = folder + "/notify"
        os.environ["WATCHDOG_USEC"] = "200000"
        os.environ["WATCHDOG_PID"] = str(os.getpid())
        if sockets:
            os.environ.update(LISTEN_FDS=str(len(sockets)), LISTEN_FDNAMES=":".join(names), LISTEN_PID=str(os.getpid()))
        os.execvp("setpriv", ["setpriv", "--pdeathsig", "KILL", "--", *sys.argv[split + 1:]])
    print("pid", pid, flush=True)
    signal.signal(signal.SIGTERM, lambda *_: os.kill(pid, signal.SIGTERM))
    notify.settimeout(0.1)
    while True:
        try:
            print("notify", notify.recv(4096).decode().replace("\n", " "), flush=True)
            continue
        except socket.timeout:
            pass
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            print("exit", os.waitstatus_to_exitcode(status), flush=True)
            break
