"""Templates of workers: processes that have imported libraries and started no device, from which workers are forked.

Most of the time of a worker is its imports. The templates of an interpreter are a tree: one that has imported nothing
but the worker's own code, below it one that has imported torch, below that one with a library of models too.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec

from bench.backends import base
from bench.model.events import Event, Note
from bench.model.seam import ListsImports, Stage
from bench.model.suite import Case
from bench.runner import jobs
from bench.runner.answers import Answer
from bench.runner.toolchains import Interpreter
from bench.system import process
from bench.system.template import Template
from bench.units import NS_PER_S, format_time

_LIMIT_NS = 300 * NS_PER_S
_TURN_NS = NS_PER_S // 4  # how soon an import is given up when the run ends


class _Key(NamedTuple):
    """What makes templates equal: the command and environment of their interpreter, and what they have imported."""

    command: tuple[str, ...]
    env: frozenset[tuple[str, str]]
    imports: tuple[str, ...]


class Templates:
    """Starts workers, by forking where a template for the job can be made, else as a new process.

    ``measure`` says whether workers that measure are forked too; ``limit_ns`` is that of one import. All methods can be
    called by several threads, and notes come from threads of its own.
    """

    def __init__(self, on_event: Callable[[Event], None], *, measure: bool = False, limit_ns: int = _LIMIT_NS) -> None:
        self._on_event = on_event
        self._measure = measure
        self._limit_ns = limit_ns
        self._lock = threading.Lock()
        self._nodes: dict[_Key, _Node] = {}
        self._closed = threading.Event()

    def start(
        self, interpreter: Interpreter, job: jobs.Job, keep: Sequence[int] = (), env: dict[str, str] | None = None
    ) -> process.Child:
        """A worker for ``job``, which is still to be sent, with the descriptors ``keep``.

        With another environment than the interpreter's, or for a cold job, it is a new process. OSError if it cannot
        be started.
        """
        names = imports(job, measure=self._measure)
        own_env = interpreter.env if env is None else env
        if names is not None and own_env == interpreter.env and not job.cold:
            worker = self.fork(interpreter, names, keep)
            if worker is not None:
                return worker
        return process.Child(interpreter.command, own_env, keep=keep)

    def fork(self, interpreter: Interpreter, names: tuple[str, ...], keep: Sequence[int] = ()) -> process.Child | None:
        """A worker that has imported ``names``, or the first of them, if not all can be; None if it cannot be forked.

        Waits for what is to be imported.
        """
        chain = [self._node(interpreter, names[:count]) for count in range(len(names), -1, -1)]
        for node in chain:
            template = node.result()
            if template is None:
                continue
            try:
                return template.fork(keep)
            except ConnectionError as error:
                if node.give_up():
                    self._tell(interpreter, node.names, f"its template is lost: {error.strerror or error}")
            except OSError:  # of this request only: too little memory, a file of its own under a number of `keep`
                continue
        return None

    def warm(self, interpreter: Interpreter, names: tuple[str, ...]) -> None:
        """Have the templates that import ``names`` made now, beside others and what the caller does."""
        self._node(interpreter, names)

    def wait(self) -> None:
        """Wait until nothing is imported any more."""
        with self._lock:
            nodes = list(self._nodes.values())
        for node in nodes:
            node.result()

    def close(self) -> None:
        """End all templates with the workers that they have forked, and what is being imported."""
        with self._lock:
            self._closed.set()
            nodes = list(self._nodes.values())
        for node in reversed(nodes):
            node.close()

    def _node(self, interpreter: Interpreter, names: tuple[str, ...]) -> _Node:
        key = _Key(tuple(interpreter.command), frozenset(interpreter.env.items()), names)
        with self._lock:
            node = self._nodes.get(key)
        if node is not None:
            return node
        above = self._node(interpreter, names[:-1]) if names else None
        with self._lock:
            if key not in self._nodes:
                self._nodes[key] = _Node(names, lambda: self._make(interpreter, names, above))
            return self._nodes[key]

    def _make(self, interpreter: Interpreter, names: tuple[str, ...], above: _Node | None) -> Template | None:
        """The template of ``names``; None, with a note, if there can be none."""
        origin = None if above is None else above.result()
        if self._closed.is_set() or (above is not None and origin is None):
            return None  # there was a note
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with contextlib.ExitStack() as clean:
            clean.callback(ours.close)
            answer = Answer(jobs.Template(device="cpu", imports=names[-1:] or _own_code(), control=theirs.fileno()))
            try:
                with theirs:
                    child = _begin(interpreter, origin, (theirs.fileno(),))
            except OSError as error:
                self._tell(interpreter, names, str(error))
                return None
            clean.callback(child.close)
            problem = self._import(child, answer)
            if problem:
                self._tell(interpreter, names, problem)
                return None
            clean.pop_all()
        return Template(child, ours)

    def _import(self, child: process.Child, answer: Answer) -> str:
        """Have a template import what the job says; what went wrong, empty if nothing did."""
        child.say(answer.encoded)
        over: Callable[[], bool] = lambda: answer.complete or answer.refused() or self._closed.is_set()  # noqa: E731
        deadline = time.monotonic_ns() + self._limit_ns
        while not over() and child.alive and time.monotonic_ns() < deadline:
            child.hear(min(_TURN_NS, self._limit_ns), answer.hear, over)
        if answer.problem:
            return f"it wrote {answer.problem}"
        if isinstance(answer.reply, jobs.Failed):
            return answer.reply.message.partition("\n")[0]
        if answer.reply is None:
            return f"the import takes more than {format_time(self._limit_ns)}" if child.alive else "the import ends it"
        return ""

    def _tell(self, interpreter: Interpreter, names: tuple[str, ...], why: str) -> None:
        if self._closed.is_set():
            return
        where = "" if interpreter.name == "default" else f" in the toolchain {interpreter.name!r}"
        what = f"imports {names[-1]} itself, and is not forked after it" if names else "is started, not forked"
        self._on_event(Note(text=f"each worker{where} {what}: {why}"))


class _Node:
    """The template of ``names``, which a thread of its own makes."""

    def __init__(self, names: tuple[str, ...], make: Callable[[], Template | None]) -> None:
        self.names = names
        self._template: Template | None = None
        self._lost = False
        self._thread = threading.Thread(target=self._run, args=(make,), name="template", daemon=True)
        self._thread.start()

    def _run(self, make: Callable[[], Template | None]) -> None:
        self._template = make()

    def result(self) -> Template | None:
        """Wait for it; None if there can be none."""
        self._thread.join()
        return None if self._lost else self._template

    def give_up(self) -> bool:
        """Have none from now on, though workers of it may still be at work; False if there was none."""
        if self._lost:
            return False
        self._lost = True
        return True

    def close(self) -> None:
        """Wait for it, and end it."""
        self._thread.join()
        if self._template is not None:
            self._template.close()


def _own_code() -> tuple[str, ...]:
    """What the first template has: the backends of this package, which import no runtime."""
    return tuple(f"bench.backends.{name}" for name in base.names() if not base.distribution_of(name))


def _begin(interpreter: Interpreter, origin: Template | None, keep: tuple[int, ...]) -> process.Child:
    """A worker to be a template: a new process, or a fork of ``origin``."""
    return process.Child(interpreter.command, interpreter.env, keep=keep) if origin is None else origin.fork(keep)


def imports(job: jobs.Job, *, measure: bool) -> tuple[str, ...] | None:
    """What the template for ``job`` has imported, in order; None if its worker is to be a new process."""
    match job:
        case jobs.Measure(case=case) | jobs.Preload(case=case):
            return imports_of(case) if measure else None
        case jobs.Produce(case=case, stage=stage):
            return imports_of(case, stage)
        case jobs.Inspect(cases=cases):
            return imports_of(msgspec.structs.replace(cases[0], backend="eager", options={})) if cases else ()
        case jobs.Ceilings():
            return ("torch",)
        case jobs.CheckMetrics():
            return ()
    return None


def imports_of(case: Case, stage: Stage | None = None) -> tuple[str, ...]:
    """What measuring ``case``, or making ``stage`` of it, imports; nothing is known of a backend that does not say."""
    backend = base.load(case.backend if stage is None else stage.producer)
    return tuple(backend.imports(case, stage)) if isinstance(backend, ListsImports) else ()
