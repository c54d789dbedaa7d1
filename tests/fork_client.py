"""Run a command in a fork of `fork_server`: python -I -S fork_client.py SOCKET weaver|kd_trainer ARGUMENTS..."""

import json
import os
import socket
import sys


def main(path, program, *arguments):
    command = {"program": program, "arguments": arguments, "cwd": os.getcwd(), "env": dict(os.environ)}
    text = json.dumps(command).encode()
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(path)
        socket.send_fds(connection, [len(text).to_bytes(8, "big")], [0, 1, 2])
        connection.sendall(text)
        return int(connection.makefile().read() or 1)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]) % 256)
