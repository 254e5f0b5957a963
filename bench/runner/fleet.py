"""Cards at work side by side: a thread for each, how many are at it, and how all of it ends."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from bench.runner.side_by_side import Slots, Threads


class Fleet:
    """Counts the turns of all cards that are done, and the cards that have turns left.

    ``one_at_a_time`` is for what only one thread may do, as writing the file of the run.
    """

    def __init__(self, cards: int) -> None:
        self.one_at_a_time = threading.RLock()
        self._active = cards
        self._over = threading.Event()
        self._done: dict[str, int] = {}

    @property
    def halted(self) -> bool:
        """Whether the run is over for all: nothing is stored any more."""
        return self._over.is_set()

    @property
    def others(self) -> int:
        """How many cards are at work beside that of the caller."""
        with self.one_at_a_time:
            return self._active - 1

    def count(self, card: str, done: int) -> int:
        """So many turns of ``card`` are done; how many of all cards are."""
        with self.one_at_a_time:
            self._done[card] = done
            return sum(self._done.values())

    def run(self, tasks: Sequence[Callable[[], None]], halt: Callable[[], None]) -> None:
        """Do the turns of each card: of one in this thread, else in a thread for each card.

        The first error of any is raised, once all have ended; it ends the others, and so does KeyboardInterrupt here:
        ``halt`` ends what they wait for.
        """
        if len(tasks) == 1:
            tasks[0]()
            return

        def halt_all() -> None:
            self._over.set()
            halt()

        with Threads(Slots(len(tasks)), halt_all) as threads:
            threads.results([threads.submit(self._until_done(task)) for task in tasks])

    def _until_done(self, task: Callable[[], None]) -> Callable[[], None]:
        def run() -> None:
            try:
                task()
            finally:
                with self.one_at_a_time:
                    self._active -= 1

        return run
