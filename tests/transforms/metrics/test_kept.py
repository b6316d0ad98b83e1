"""What is kept with an object: found once, and not while another thread's is waited for."""

from __future__ import annotations

import threading
from concurrent import futures

from heatbeam.transforms.metrics import kept

_S = 30.0


class _Meeting:
    """Found only while another one is being found too."""

    def __init__(self, both: threading.Barrier) -> None:
        self.both, self.times = both, 0

    @kept.Kept
    def place(self) -> int:
        """How often it was looked for."""
        self.times += 1
        self.both.wait(_S)
        return self.times


def test_two_threads_find_those_of_their_own_objects_at_once_and_each_one_once() -> None:
    both = threading.Barrier(2)
    meetings = [_Meeting(both), _Meeting(both)]
    with futures.ThreadPoolExecutor(2) as pool:
        assert list(pool.map(lambda one: one.place, meetings)) == [1, 1]
    assert [one.place for one in meetings] == [1, 1]
    assert _Meeting.place.__doc__ == "How often it was looked for."
