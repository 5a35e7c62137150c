import os
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fileserve.storage.descriptor import Descriptor


def is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


def opened() -> Descriptor:
    return Descriptor(os.open(os.devnull, os.O_RDONLY))


def test_closing_closes_at_once_and_once() -> None:
    descriptor = opened()
    fd = descriptor.fd
    descriptor.close()
    assert not is_open(fd)
    taken = os.open(os.devnull, os.O_RDONLY)
    assert taken == fd  # somebody else's now
    descriptor.close()
    assert is_open(taken)
    os.close(taken)


def test_a_closed_descriptor_gives_no_number() -> None:
    descriptor = opened()
    descriptor.close()
    with pytest.raises(ValueError, match="closed"):
        _ = descriptor.fd
    with pytest.raises(ValueError, match="closed"), descriptor.held():
        pass


def test_closing_waits_for_every_hold_and_grants_no_new_one() -> None:
    descriptor = opened()
    with descriptor.held() as fd:
        with descriptor.held():
            descriptor.close()
            with pytest.raises(ValueError, match="closed"), descriptor.held():
                pass
        assert is_open(fd)
    assert not is_open(fd)


def test_a_hold_ends_when_its_block_raises() -> None:
    descriptor = opened()
    fd = descriptor.fd
    with pytest.raises(KeyError), descriptor.held():
        raise KeyError
    descriptor.close()
    assert not is_open(fd)


@given(st.lists(st.sampled_from(["hold", "release", "close"]), max_size=30))
def test_in_any_order_it_is_open_exactly_as_long_as_it_is_needed(steps: list[str]) -> None:
    descriptor = opened()
    fd, holds, closed = descriptor.fd, [], False
    for step in [*steps, "close"]:
        if step == "hold" and not closed:
            holds.append(descriptor.held())
            holds[-1].__enter__()
        elif step == "release" and holds:
            holds.pop().__exit__(None, None, None)
        elif step == "close":
            descriptor.close()
            closed = True
        assert is_open(fd) == bool(holds or not closed)
    while holds:
        holds.pop().__exit__(None, None, None)
    assert not is_open(fd)


def test_threads_that_hold_and_close_at_once_close_exactly_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second close of the same number would close another's file."""
    closings: list[int] = []
    close_before = os.close

    def close_and_note(fd: int) -> None:
        closings.append(fd)
        close_before(fd)

    monkeypatch.setattr(os, "close", close_and_note)
    for _ in range(100):
        descriptor = opened()
        fd = descriptor.fd
        start = threading.Barrier(4)

        def hold(descriptor: Descriptor = descriptor, start: threading.Barrier = start) -> None:
            start.wait()
            try:
                with descriptor.held() as held:
                    os.fstat(held)  # raises in the thread, and fails the test, if the number is closed
            except ValueError:
                pass  # closed before

        def close(descriptor: Descriptor = descriptor, start: threading.Barrier = start) -> None:
            start.wait()
            descriptor.close()

        threads = [threading.Thread(target=target) for target in (hold, hold, close, close)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert closings.count(fd) == 1  # others may close theirs meanwhile
        closings.clear()


def test_one_that_nobody_closed_is_closed_with_a_warning() -> None:
    descriptor = opened()
    fd = descriptor.fd
    with pytest.warns(ResourceWarning, match=f"descriptor {fd} was never closed"):
        del descriptor
    assert not is_open(fd)
