"""Events of several plans, one after the other, as those of one: their counts and labels."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from bench.model.events import Event, Started
from bench.runner.dispatch import OnEvent


def count_from(on_event: OnEvent, before: int, total: int) -> OnEvent:
    """``on_event`` for a plan that comes after ``before`` of ``total`` cases."""

    def tell(event: Event) -> None:
        if isinstance(event, Started):
            event = msgspec.structs.replace(event, done=before + event.done, total=total)
        on_event(event)

    return tell


def relabel(on_event: OnEvent, labels: Mapping[str, str]) -> OnEvent:
    """``on_event`` with the labels that cases have for the user; those without one are left out of ``labels``."""

    def tell(event: Event) -> None:
        label = getattr(event, "label", "")
        on_event(msgspec.structs.replace(event, label=labels[label]) if label in labels else event)

    return tell
