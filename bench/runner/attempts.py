"""Workers that a signal ended: from outside at first sight, but by the case itself where each attempt ends so."""

from __future__ import annotations

import threading
from collections.abc import Iterable

import msgspec

from bench.model.run import Failure, Record

_OWN = "the model, or a library, ends its own process, e.g. by os.kill; if another program did: a new run"


class Attempts:
    """Counts the processes in a row that a signal has ended, by what they were for; several threads may.

    The records ``before`` are those of the run so far, by whose cases they count.
    """

    def __init__(self, before: Iterable[Record] = ()) -> None:
        self._stopped: dict[str, int] = {}
        self._lock = threading.Lock()
        for record in before:
            self.judge(record.case, record.failure)

    def judge(self, key: str, failure: Failure | None) -> Failure | None:
        """How an attempt at ``key`` ended, with the number of those in a row that a signal has ended: of a second one
        the message says so.
        """
        with self._lock:
            if failure is None or not failure.is_stopped:
                self._stopped.pop(key, None)
                return failure
            count = self._stopped[key] = self._stopped.get(key, 0) + 1
        if count == 1:
            return failure
        name = failure.details["signal"]
        message = f"the worker was ended by {name} in each of {count} attempts"
        details = {**failure.details, "attempts": count}
        return msgspec.structs.replace(failure, message=message, hint=_OWN, details=details)
