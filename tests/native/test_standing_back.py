"""The process that makes machine code leaves the processors to programs that need all of them."""

import os
import sys

import pytest

from livegrad.native import process


@pytest.mark.parametrize(
    "looks, waits",
    [
        ([(0, 0), (0.2, 0.3)], 1),  # a program of one thread, and a processor free
        ([(0, 0), (0.5, 0.3), (1.0, 0.6), (1.2, 0.9)], 3),  # two threads at work for a while
        ([(0, 0), (0.0, 0.0), (0.0, 0.5)], 2),  # other programs have all processors
    ],
)
def test_waits_while_processors_are_needed(monkeypatch, looks, waits):
    left, slept = list(looks), []
    monkeypatch.setattr(process, "_used", lambda: left.pop(0))
    monkeypatch.setattr(process.time, "sleep", slept.append)
    process._wait_while_busy()
    assert slept == [process._LOOK] * waits and not left


def test_does_not_wait_where_nothing_is_known(monkeypatch):
    def unknown():
        raise OSError

    monkeypatch.setattr(process, "_used", unknown)
    monkeypatch.setattr(process.time, "sleep", pytest.fail)
    process._wait_while_busy()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc is Linux's")
def test_what_processors_have_done_is_known():
    program, idle = process._used()
    assert program >= 0 and idle > 0  # the parent may have done next to nothing
    until = os.times().user + 0.1
    while os.times().user < until:
        pass
    assert process._used()[1] >= idle
