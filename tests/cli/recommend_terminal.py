#!/usr/bin/env python3
"""`caravan recommend` on a terminal: keys edit the line, Ctrl-C clears what is half typed, and the program goes on.

usage: tests/cli/recommend_terminal.py PROGRAM
"""
import os
import pty
import select
import sys
import tempfile
import time

import make_fixtures


class Terminal:
    """The program with a terminal of its own."""

    def __init__(self, command, folder, term):
        self.process, self.fd = pty.fork()
        if self.process == 0:
            os.chdir(folder)
            os.environ.update(TERM=term, HOME=folder)
            os.execv(command[0], command)
        self.text = ""

    def expect(self, part, seconds=60):
        """Reads until `part` has come, and forgets all up to it."""
        end = time.monotonic() + seconds
        while part not in self.text:
            ready, _, _ = select.select([self.fd], [], [], max(0.0, end - time.monotonic()))
            assert ready, f"no {part!r} in {self.text!r}"
            try:
                data = os.read(self.fd, 4096)
            except OSError:  # the program has gone
                data = b""
            assert data, f"the program ended before {part!r}: {self.text!r}"
            self.text += data.decode("utf-8", "replace")
        self.text = self.text[self.text.index(part) + len(part):]

    def type(self, keys):
        os.write(self.fd, keys.encode())

    def leave(self):
        self.type("\x04")
        _, status = os.waitpid(self.process, 0)
        return os.waitstatus_to_exitcode(status)


def check(program, folder, term, edits):
    terminal = Terminal([program, "recommend", "-m", "films", "-k", "1"], folder, term)
    terminal.expect("> ")
    terminal.type("/nosuch\r")
    terminal.expect("unknown command /nosuch")
    terminal.expect("> ")
    terminal.type("i9, half an it")
    terminal.expect("half an it")
    terminal.type("\x03")
    terminal.expect("> ")
    if edits:  # the cursor goes back over a wrong digit, which is deleted
        terminal.type("i15\x1b[D\x1b[D\x04\x05\r")  # left, left, delete, end: i5
        terminal.expect("i")
        terminal.expect("Item number")
        terminal.expect("> ")
    else:
        terminal.type("i5\r")
        terminal.expect("Item number")
        terminal.expect("> ")
    terminal.type("/history\r")
    terminal.expect("Item number 5\r\n")
    terminal.expect("> ")
    assert terminal.leave() == 0


def main():
    program = os.path.abspath(sys.argv[1])
    with tempfile.TemporaryDirectory() as folder:
        make_fixtures.write_all(folder)
        check(program, folder, "xterm", edits=True)
        check(program, folder, "dumb", edits=False)
    print("recommend on a terminal: edited, cleared, left")


if __name__ == "__main__":
    main()
