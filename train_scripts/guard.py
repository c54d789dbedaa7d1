#!/usr/bin/env python3
"""guard.py LOCK COMMAND...: run a command alone, with all that it starts in one process group that ends with this process.

Ctrl-C, SIGTERM and a closed terminal end the group, and so does kill -9 of this process: a watch in the group reads from a
pipe that closes with it. LOCK is a file; a second command with the same one is refused while the first is at work.
"""

import fcntl
import os
import signal
import sys

PATIENCE = 20  # seconds from SIGTERM to SIGKILL


def main(lock, *command):
    """Run the command: its exit code, or 128 + the signal that ended it."""
    os.makedirs(os.path.dirname(lock) or ".", exist_ok=True)
    file = os.open(lock, os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        sys.exit(f"another run is at work ({lock}): wait for it, or end it")
    os.set_inheritable(file, True)  # the lock is held until the last of the group has ended
    watched, held = os.pipe()
    group = os.fork()
    if group == 0:
        os.setpgid(0, 0)
        os.close(held)
        start(watched, command)

    def stop(number, _):
        os.killpg(group, signal.SIGTERM if stop.received is None else signal.SIGKILL)
        stop.received = stop.received or number
        signal.alarm(PATIENCE)

    stop.received = None
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM):
        signal.signal(number, stop)
    try:
        os.setpgid(group, group)
    except OSError: pass
    code = os.waitstatus_to_exitcode(os.waitpid(group, 0)[1])
    os.killpg(group, signal.SIGKILL)
    return 128 + (stop.received or -code) if stop.received or code < 0 else code


def start(watched, command):
    if os.fork() == 0:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        os.read(watched, 1)
        os.killpg(0, signal.SIGKILL)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.execvp(command[0], command)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
