"""What a worker process of `Local` runs: calls come in at its standard input, answers go out at its standard output.

Not by `multiprocessing`: its children import the driver's script again, and outlive a driver that is killed.
"""

import contextlib
import os
import pickle
import queue
import signal
import threading
from pathlib import Path
from typing import BinaryIO

from benchmarks.engines._call import call

Message = tuple[int, bytes, bytes]
"""How often the driver has had everything stopped so far; its surroundings and the call, as `call` takes them."""


def main() -> None:
    """Answers one call after another, until the driver is gone."""
    calls, answers = _pipes()
    with contextlib.suppress(OSError):  # Linux: if memory runs out, the system ends a worker rather than the driver
        Path("/proc/self/oom_score_adj").write_text("500")
    asked: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, frame: asked.append(number))  # the next call will see it
    waiting: queue.SimpleQueue[Message] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(calls, waiting), daemon=True).start()
    stops = 0
    while True:
        message = waiting.get()
        if message[0] > stops:  # who sent this had everything stopped before, and meant nothing that comes now
            stops = message[0]
            asked.clear()
        pickle.dump(call(*message[1:], asked), answers)
        answers.flush()


def _listen(calls: BinaryIO, waiting: queue.SimpleQueue) -> None:
    """Passes on what the driver sends. Without a driver there is nobody to work for, and the run must be let go of."""
    try:
        while True:
            waiting.put(pickle.load(calls))
    except EOFError:
        os._exit(0)


def _pipes() -> tuple[BinaryIO, BinaryIO]:
    """Standard input and output, which are then those of no experiment: what it prints goes to standard error."""
    calls, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return calls, answers
