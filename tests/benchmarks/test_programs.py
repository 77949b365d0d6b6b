"""Compilations side by side, and leaving while they run."""

import os
import signal
import threading
import time

import pytest

import benchmarks.__main__ as command_line
from benchmarks._programs import together


def test_calls_are_made_side_by_side_and_raise():
    met = threading.Barrier(2, timeout=20)
    together([met.wait, met.wait])

    def fails():
        raise ValueError("does not compile")

    with pytest.raises(ValueError, match="does not compile"):
        together([fails, lambda: None])


def test_a_signal_does_not_wait_for_what_is_compiled():
    """A compilation that hears nothing for ten seconds."""
    done, started = threading.Event(), time.monotonic()
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        threading.Timer(0.1, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
        with pytest.raises(KeyboardInterrupt):
            together([lambda: done.wait(10)])
    finally:
        signal.signal(signal.SIGINT, before)
        done.set()
    assert time.monotonic() - started < 5


@pytest.mark.parametrize("code", [130, 143])
def test_who_was_stopped_leaves_at_once(monkeypatch, code):
    """Python's own exit would wait for XLA; what asks for another code, such as wrong usage, takes that way."""
    left = []
    monkeypatch.setattr(os, "_exit", left.append)

    def stopped(arguments):
        raise SystemExit(code)

    monkeypatch.setattr(command_line, "_run", stopped)
    command_line.main()
    monkeypatch.setattr(command_line, "_run", lambda arguments: code)
    command_line.main()
    assert left == [code, code]
    code = 2
    monkeypatch.setattr(command_line, "_run", stopped)
    with pytest.raises(SystemExit):
        command_line.main()
    assert len(left) == 2
