"""Runs a function in a process of its own, on the clients' processor.

The process is forked: it begins at once, in the same network, with nothing to import. It leaves without running what
pytest has registered for its end.
"""

import gc
import multiprocessing
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Concatenate, ParamSpec, TypeVar

from benchmarks import machine

P = ParamSpec("P")
T = TypeVar("T")
Ready = Callable[[], None]

_fork = multiprocessing.get_context("fork")
START_S = 30


def call(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Return what *function* returns in its own process, or raise what it raises there."""
    receiver, sender = _fork.Pipe(duplex=False)
    process = _fork.Process(target=_deliver, args=(sender, lambda: function(*args, **kwargs)))
    process.start()
    sender.close()
    try:
        result: T | Exception = receiver.recv()
    finally:
        receiver.close()
        process.join()
    if isinstance(result, Exception):
        raise result
    return result


@contextmanager
def beside(function: Callable[Concatenate[Ready, P], None], *args: P.args, **kwargs: P.kwargs) -> Iterator[None]:
    """Run *function* beside the block, and end its process with the block.

    The block begins when *function* has called its first argument.
    """
    ready = _fork.Event()
    process = _fork.Process(target=_run, args=(lambda: function(ready.set, *args, **kwargs),))
    process.start()
    try:
        if not ready.wait(START_S):
            raise TimeoutError(f"{function.__name__} did not get ready")
        yield
        if not process.is_alive():
            raise RuntimeError(f"{function.__name__} ended before it was asked to")
    finally:
        process.kill()  # kill and not terminate: a signal's handler waits for Python's next instruction
        process.join()
        process.close()


def _deliver(sender: Connection, function: Callable[[], object]) -> None:
    _settle()
    try:
        result = function()
    except Exception as error:
        result = error
    sender.send(result)
    sender.close()
    os._exit(0)


def _run(function: Callable[[], None]) -> None:
    _settle()
    function()


def _settle() -> None:
    machine.pin(machine.CLIENT)
    gc.disable()  # a collection would touch, and so copy, all the pages that are shared with the parent
