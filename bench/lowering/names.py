"""The names of a network program: variables of its source and layers of its network, each given once."""

from __future__ import annotations

import keyword
import re

# What every program has as its own, or calls while it builds its network.
_OWN = ("net", "trt", "weights", "p", "layer", "np", "Prelude", "float")
_FUNCTION = "emit_"  # begins the names of the prelude's functions, of which a program carries those that it calls


class Names:
    """The names that a program has so far."""

    def __init__(self) -> None:
        self._variables: set[str] = set(_OWN)
        self._layers: set[str] = set()

    def layer(self, base: str) -> str:
        """A name that no layer has yet: TensorRT refuses a second one."""
        name, count = base, 1
        while name in self._layers:
            name, count = f"{base}_{count}", count + 1
        self._layers.add(name)
        return name

    def variable(self, name: str) -> str:
        """A variable that is new: the last parts of ``name``, as many as make it unique."""
        parts = name.split(".")
        words = ["_".join(parts[-count:]) for count in range(min(2, len(parts)), len(parts) + 1)]
        # ASCII: some digits of Unicode are in no identifier, and Python reads several letters as one.
        words = [re.sub(r"\W+", "_", word, flags=re.ASCII).strip("_") or "tensor" for word in words]
        words = [word for word in words if not word[0].isdigit() and not word.startswith(_FUNCTION)] or [
            f"_{words[-1]}"
        ]
        words += [f"{words[-1]}_{count}" for count in range(1, len(self._variables) + 2)]
        word = next(word for word in words if word not in self._variables and not keyword.iskeyword(word))
        self._variables.add(word)
        return word
