"""In what the environments and the settings of runs differ, and the dimensions by which that is named; pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

import msgspec

from bench.errors import UsageError, did_you_mean
from bench.model.run import Environment, Run

# The dimension of each field of an environment that is one text or number.
_FIELDS = {
    "kind": "device", "arch": "device", "device": "device", "memory": "device", "driver": "driver", "python": "python",
    "boundaries": "boundaries",
}  # fmt: skip
# The dimension of each field that has several named values, before the name.
_NAMED = {"libraries": "library", "limits": "limit", "flags": "flag"}
# Dimensions that include others: another device has other limits, a toolchain is an interpreter with its variables.
WHOLE = {"device": ("device", "limit"), "toolchain": ("python", "library", "flag")}
# All that can be named; library, limit and flag also with one name: library:torch.
DIMENSIONS = ("toolchain", "device", "driver", "python", "library", "limit", "flag")

_Item = TypeVar("_Item")


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """One thing in which two sides differ; ``a`` and ``b`` are its values, ``none`` where a side has none.

    ``dimension`` is the name by which a comparison across it is asked for, empty for what is only told.
    """

    dimension: str
    what: str
    a: str
    b: str

    @property
    def text(self) -> str:
        """``torch 2.11.0 -> 2.13.0``."""
        return f"{self.what} {self.a} -> {self.b}"


def differences(before: Environment, here: Environment) -> list[Difference]:
    """What the fingerprint covers and is another in ``here``."""
    differ = []
    for field in here.__struct_fields__:
        was, now = getattr(before, field), getattr(here, field)
        if was == now or field in ("host", "observed", "slug") or (field == "memory" and before.gib == here.gib):
            continue
        if isinstance(was, dict):
            differ += [
                Difference(
                    dimension=f"{_NAMED[field]}:{name}", what=name, a=was.get(name, "none"), b=now.get(name, "none")
                )
                for name in sorted({*was, *now})
                if was.get(name) != now.get(name)
            ]
        else:
            dimension = _FIELDS.get(field, field)
            differ.append(Difference(dimension=dimension, what=field, a=str(was or "none"), b=str(now or "none")))
    return differ


def check_named(across: Sequence[str]) -> None:
    """UsageError for a name that is no dimension."""
    for name in across:
        whole, _, part = name.partition(":")
        if whole not in DIMENSIONS or (part and whole not in _NAMED.values()) or name.endswith(":"):
            what = f"unknown dimension {name!r}.{did_you_mean(name, DIMENSIONS)}"
            raise UsageError(what, where="across", fix=f"known: {', '.join(DIMENSIONS)}; also library:torch")


def is_named(dimension: str, across: Sequence[str]) -> bool:
    """Whether ``across`` names the dimension, or one that includes it."""
    whole = dimension.partition(":")[0]
    return any(dimension == name or whole == name or whole in WHOLE.get(name, ()) for name in across)


def can_be_named(dimension: str) -> bool:
    """Whether a comparison across the dimension can be asked for. Not across the definitions of boundaries: times by
    two of them are times of different things.
    """
    return is_named(dimension, DIMENSIONS)


def redefinitions(before: Environment, here: Environment) -> list[Difference]:
    """Those of differences() across which nothing is comparable, whatever is named."""
    return [each for each in differences(before, here) if not can_be_named(each.dimension)]


def by_definition(items: Iterable[_Item], environment_of: Callable[[_Item], Environment]) -> list[list[_Item]]:
    """The items in groups by the definitions of boundaries in their environments: redefinitions() of two of one group
    are none. Groups are in the order of their first items.
    """
    groups: list[list[_Item]] = []
    for item in items:
        here = environment_of(item)
        same = (group for group in groups if not redefinitions(environment_of(group[0]), here))
        if (group := next(same, None)) is None:
            groups.append([item])
        else:
            group.append(item)
    return groups


def minor_differences(runs: Iterable[Run]) -> Iterator[Difference]:
    """How the runs differ from the first one in what does not make them incomparable."""
    first, *others = runs
    for run in others:
        before, here = _settings(first), _settings(run)
        for name in dict.fromkeys((*before, *here)):
            was, now = before.get(name, "none"), here.get(name, "none")
            if was != now:
                yield Difference(dimension="", what=name, a=was, b=now)


def _settings(run: Run) -> dict[str, str]:
    header = run.header
    here = header.environments.get("default")
    policy = {f"measure.{name}": _plain(value) for name, value in msgspec.structs.asdict(header.policy).items()}
    del policy["measure.quick"]  # what it set is in the others
    flags = {"fork": header.fork, "cold": header.cold, "seed": header.seed}
    files = {name: text[:12] for name, text in header.sources.items()}
    card = {"card": here.observed.get("card") or here.host} if here else {}
    return policy | {name: _plain(value) for name, value in flags.items()} | {"trtbench": header.version} | card | files


def _plain(value: object) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
