"""`credax` and `python -m benchmarks`."""

import os
import signal
import sys

from benchmarks.usage import answer, is_asked

PIPE_IS_CLOSED = 141
"""What a shell reports of a program whose reader has gone, as in `credax report | head`: 128 + SIGPIPE."""
STOPPED = (128 + signal.SIGINT, 128 + signal.SIGTERM)
"""And of one that Ctrl-C or SIGTERM has stopped."""


def main() -> int:
    """Runs the command line; see `benchmarks.cli.main`."""
    try:
        try:
            code = _run(sys.argv[1:])
        except SystemExit as asked:
            if asked.code not in STOPPED:
                raise
            code = int(asked.code)
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        # Python flushes once more at exit: nobody is there to read it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return PIPE_IS_CLOSED
    if code in STOPPED:
        sys.stderr.flush()
        os._exit(code)  # Python's own exit waits for what XLA is compiling, which can take minutes
    return code


def _run(arguments: list[str]) -> int:
    if is_asked(arguments):  # before JAX is imported, which takes seconds
        from benchmarks.experiments import EXPERIMENTS

        return answer(arguments, EXPERIMENTS)
    from benchmarks.cli import main

    return main(arguments)


if __name__ == "__main__":
    sys.exit(main())
