#!/usr/bin/env python3
"""guard.py LOCK COMMAND...: run a command and all that it starts in one process group, which ends with this process.

Ctrl-C, SIGTERM and a closed terminal end the group. So does kill -9 of this process: a watch in the group reads from a
pipe that closes with it. Snakemake alone would wait for its running jobs after SIGTERM, and leave them behind after
kill -9.
LOCK is a file: while the command is at work, a second one with the same file is refused.
"""

import contextlib
import fcntl
import os
import signal
import sys

PATIENCE = 5  # seconds from SIGTERM to SIGKILL; snakemake sometimes never ends when two signals reach it
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def main(lock: str, *command: str) -> int:
    """Run the command; returns its exit code, or 128 + the signal that ended it."""
    os.makedirs(os.path.dirname(lock) or ".", exist_ok=True)
    file = os.open(lock, os.O_RDWR | os.O_CREAT)
    os.set_inheritable(file, True)  # the lock is held until the last of the group has ended
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        sys.exit(f"another run is at work (it holds {lock}): wait for its end, or end it")
    watched, held = os.pipe()
    signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)  # until it is known what to end
    group = os.fork()
    if group == 0:
        os.setpgid(0, 0)
        os.close(held)
        if os.fork() == 0:
            watch(watched)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)  # a group in the background may not read from the terminal
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
        os.execvp(command[0], command)
    with contextlib.suppress(OSError):  # whoever is first
        os.setpgid(group, group)
    received = []

    def stop(number, _):
        os.killpg(group, signal.SIGKILL if received else signal.SIGTERM)
        received.append(number)
        signal.alarm(PATIENCE)

    for number in (*ENDING, signal.SIGALRM):
        signal.signal(number, stop)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
    code = os.waitstatus_to_exitcode(os.waitpid(group, 0)[1])
    with contextlib.suppress(OSError):
        os.killpg(group, signal.SIGKILL)  # the watch, and what a command that was killed has left
    if received:
        print(f"{command[0]}: stopped; the same command goes on from here", file=sys.stderr)
    return 128 + (received[0] if received else -code) if received or code < 0 else code


def watch(pipe: int) -> None:
    """End the group of this process when the other end of a pipe is closed."""
    for number in ENDING:
        signal.signal(number, signal.SIG_IGN)
    os.read(pipe, 1)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
