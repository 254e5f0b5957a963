"""Which layers take the time of a build, read from the log of TensorRT 8, which has no other sign of progress."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping

from bench.model.seam import Clock

_BEGIN = "Timing Runner: "
_RUNNER = re.compile(rf"-+ {_BEGIN}(?P<layer>.+) \((?P<runner>[^()]+)\)\s*$")
_END = "Formats and tactics selection completed"
_MOST = 10  # layers that are kept
_WIDTH = 60  # characters of a layer's name in the progress


class TacticLog:
    """Reads the builder's messages; ``runners`` counts what it has timed: a layer in one format by one kind of kernel.

    ``clock`` tells the time in ns; ``tell`` is called with the progress whenever another layer begins, and
    ``tell_layers`` with ``times()`` and that layer, also when the last one ends.
    """

    def __init__(
        self,
        clock: Clock,
        tell: Callable[[str], None],
        tell_layers: Callable[[Mapping[str, int], str], None] = lambda layers, current: None,
    ) -> None:
        self.runners = 0
        self._clock, self._tell, self._tell_layers = clock, tell, tell_layers
        self._layer, self._start = "", 0
        self._times: Counter[str] = Counter()

    def read(self, text: str) -> None:
        """Take one message, of any severity."""
        if _END in text:
            self._begin("")
        # The builder writes many messages for each kernel that it times, and waits until each is read.
        match = _RUNNER.search(text) if _BEGIN in text else None
        if not match:
            return
        self.runners += 1
        if match["layer"] != self._layer:
            self._begin(match["layer"])
            self._tell(f"{self.runners:,} timed, {_shorten(self._layer)}")

    def times(self) -> dict[str, int]:
        """ns of the layers that took longest, the longest first. The time of one ends when the next begins, that of the
        last when the builder says that it has chosen.
        """
        self._end_layer()
        return self._most()

    def _begin(self, layer: str) -> None:
        """End the layer that is being timed, and begin another, or none."""
        self._end_layer()
        self._layer = layer
        self._tell_layers(self._most(), layer)

    def _most(self) -> dict[str, int]:
        return dict(self._times.most_common(_MOST))

    def _end_layer(self) -> None:
        now = self._clock.now()
        if self._layer:
            self._times[self._layer] += now - self._start
        self._start = now


def _shorten(name: str) -> str:
    return name if len(name) <= _WIDTH else name[: _WIDTH - 3] + "..."
