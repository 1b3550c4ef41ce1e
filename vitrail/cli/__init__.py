"""The command line: one file per verb. Nothing heavy is imported before a verb is chosen.

Exit codes: 0 ok, 1 failure, 2 wrong usage, 3 data problem, 4 quality gate missed, 130 Ctrl-C, 143 SIGTERM,
138 SIGUSR1 (the warning of a scheduler).
stdout carries data, stderr carries talk.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import sys
from typing import Any, TextIO

from vitrail.errors import VitrailError

STANDARD_INPUT = "<standard input>"
"""What a lone `-` becomes, which the parser would take for an option."""

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Talk:
    """stderr, which carries talk: where nobody hears it any more, or its disk is full, no work stops for that."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError):
            self.stream.write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            self.stream.flush()


def main() -> None:
    """The entry point. A user's mistake ends in one message and an exit code, never in a traceback."""
    if sys.stderr is not None and not isinstance(sys.stderr, Talk):
        sys.stderr = Talk(sys.stderr)  # to the end of the process, which flushes it
    sys.exit(exit_code())


def exit_code() -> int:
    """Do what was asked for, and say in words what went wrong."""
    try:
        from vitrail.cli.app import app  # inside, so that Ctrl-C while it is imported ends in a word, too

        code = app([STANDARD_INPUT if token == "-" else token for token in sys.argv[1:]], result_action="return_value")
        if sys.stdout is not None:
            sys.stdout.flush()  # while an error can still be told
    except VitrailError as error:
        for note in getattr(error, "__notes__", ()):
            print(f"note: {note}", file=sys.stderr)
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt as interrupt:
        print("stopped.", file=sys.stderr)
        return 128 + (interrupt.args[0] if interrupt.args else signal.SIGINT)
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError):
            from vitrail.training.forecast import is_out_of_memory  # imports torch, whose error it may be

            if not is_out_of_memory(error):
                raise
        print("error: There is not enough memory for this.", file=sys.stderr)
        return 1
    except OSError as error:
        if error.errno not in (errno.EPIPE, *NO_ROOM):
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what is still to be flushed
        if error.errno == errno.EPIPE:  # the reader of our output has gone, as `| head` does
            return 0
        print(f"error: The output cannot be written: {error.strerror}.", file=sys.stderr)
        return 1
    return code if isinstance(code, int) else 0
