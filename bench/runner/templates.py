"""Templates of workers: processes that have imported libraries and started no device, from which workers are forked.

Most of the time of a worker is its imports. The templates of an interpreter are a tree: one that has imported nothing
but the worker's own code, below it one that has imported torch, below that one with a library of models too; and below
what a runtime imports one for each model, which has built it: several are built side by side.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

import msgspec

from bench.backends import base
from bench.model.abilities import ListsImports
from bench.model.events import Event, Note, Step
from bench.model.seam import Stage
from bench.model.suite import Case
from bench.runner import jobs, models_ahead, timeline
from bench.runner.answers import Answer
from bench.runner.models_ahead import Model
from bench.runner.template_nodes import TURN_S, Key, Node, key_of
from bench.runner.toolchains import Interpreter
from bench.system import process
from bench.system.template import Template
from bench.units import NS_PER_S, format_time

_LIMIT_NS = 300 * NS_PER_S
_TURN_NS = round(TURN_S * NS_PER_S)


class Templates:
    """Starts workers, by forking where a template for the job can be made, else as a new process.

    ``measure`` says whether workers that measure are forked too; ``limit_ns`` is that of one import, and of building
    one model too unless ``case_limit_ns``, that of a worker which builds it itself, is less. Models are drawn with
    ``seed``, up to ``size`` at once. All methods can be called by several threads, and events come from threads of its
    own.
    """

    def __init__(
        self,
        on_event: Callable[[Event], None],
        *,
        measure: bool = False,
        limit_ns: int = _LIMIT_NS,
        case_limit_ns: int = _LIMIT_NS,
        suite_dir: Path = Path(),
        seed: int = 0,
        size: int = 1,
    ) -> None:
        self._on_event = on_event
        self._measure = measure
        self._limit_ns = limit_ns
        self._model_limit_ns = min(limit_ns, case_limit_ns)
        self._seed = seed
        self._size = size
        self._building = threading.BoundedSemaphore(size)
        self._lock = threading.Lock()
        self._nodes: dict[Key, Node] = {}
        self._closed = threading.Event()
        self._built_by_workers: set[str] = set()  # models by name, of which there was a note
        self.suite_dir = suite_dir

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
            worker = self._fork_with(interpreter, job.case, keep) if isinstance(job, jobs.Measure) else None
            worker = worker or self.fork(interpreter, names, keep)
            if worker is not None:
                return worker
        return process.Child(interpreter.command, own_env, keep=keep)

    def fork(self, interpreter: Interpreter, names: tuple[str, ...], keep: Sequence[int] = ()) -> process.Child | None:
        """A worker that has imported ``names``, or the first of them, if not all can be; None if it cannot be forked.

        Waits for what is to be imported.
        """
        for count in range(len(names), -1, -1):
            node = self._node(interpreter, names[:count])
            lost, worker = _forked(node, keep)
            if worker is not None:
                return worker
            if lost and node.give_up():
                self._tell(interpreter, names[:count], f"its template is lost: {lost}")
        return None

    def _fork_with(self, interpreter: Interpreter, case: Case, keep: Sequence[int]) -> process.Child | None:
        """A worker that has the model of ``case`` in its memory; None if no template has it, or it cannot be forked."""
        model = models_ahead.model_of(case, self.suite_dir)
        if model is None:
            return None
        with self._lock:
            node = self._nodes.get(key_of(interpreter, model.imports, model.key))
        if node is None:
            return None
        lost, worker = _forked(node, keep)
        if lost and node.give_up():
            self._tell_of_model(case.model, f"its template is lost: {lost}")
        return worker

    def warm(self, interpreter: Interpreter, names: tuple[str, ...]) -> None:
        """Have the templates that import ``names`` made now, beside others and what the caller does."""
        self._node(interpreter, names)

    def build(self, interpreter: Interpreter, model: Model, case: Case) -> None:
        """Have the template made now that has built ``model``, that of ``case``, beside others and what the caller
        does. Where it cannot be, workers build it themselves.
        """
        key = key_of(interpreter, model.imports, model.key)
        above = self._node(interpreter, model.imports)
        with self._lock:
            if key not in self._nodes:
                self._nodes[key] = Node(lambda over: self._make_with(interpreter, case, above, over))

    def keep_models(self, models: Collection[Model], interpreters: Mapping[str, Interpreter]) -> None:
        """End the templates of all models but these, of the ``interpreters`` by toolchain, also one that is still being
        built. No worker of them may be at work.
        """
        kept = {key_of(interpreters[model.toolchain], model.imports, model.key) for model in models}
        with self._lock:
            over = {key: node for key, node in self._nodes.items() if key.model and key not in kept}
        _close(list(over.values()))
        with self._lock:  # not before: what an interrupt leaves of them is for close()
            for key in over:
                del self._nodes[key]

    def wait(self) -> None:
        """Wait until nothing is imported or built any more."""
        with self._lock:
            nodes = list(self._nodes.values())
        for node in nodes:
            node.result()

    def halt(self) -> None:
        """Let no template be made any more: what is being imported ends, and nobody waits for it."""
        self._closed.set()

    def close(self) -> None:
        """End all templates with the workers that they have forked, and what is being imported."""
        with self._lock:
            self._closed.set()
            nodes = list(self._nodes.values())
        _close(nodes[::-1])

    def _node(self, interpreter: Interpreter, names: tuple[str, ...]) -> Node:
        key = key_of(interpreter, names)
        with self._lock:
            node = self._nodes.get(key)
        if node is not None:
            return node
        above = self._node(interpreter, names[:-1]) if names else None
        with self._lock:
            if key not in self._nodes:
                self._nodes[key] = Node(lambda over: self._make(interpreter, names, above, over))
            return self._nodes[key]

    def _make(
        self, interpreter: Interpreter, names: tuple[str, ...], above: Node | None, over: Callable[[], bool]
    ) -> Template | None:
        """The template of ``names``; None, with a note, if there can be none."""
        origin = None if above is None else above.result(over)
        if self._closed.is_set() or (above is not None and origin is None):
            return None  # there was a note
        label = names[-1].partition(":")[0] if names else "trtbench"
        self._on_event(Step(label=label, phase="import, once for all workers"))
        job = jobs.Template(device="cpu", imports=names[-1:] or _own_code(), control=-1)
        template = self._started(interpreter, origin, job, "the import", over)
        if isinstance(template, str):
            if not names or not _is_not_there(label, template):  # else the rows say so
                self._tell(interpreter, names, template)
            return None
        return template

    def _make_with(
        self, interpreter: Interpreter, case: Case, above: Node, over: Callable[[], bool]
    ) -> Template | None:
        """The template that has built the model of ``case``; None, with a note, if there is none."""
        origin = above.result(over)
        if origin is None:
            return None  # there was a note, or it is over
        while not self._building.acquire(timeout=TURN_S):
            if self._closed.is_set() or over():
                return None
        with contextlib.ExitStack() as clean:
            clean.callback(self._building.release)
            number = clean.enter_context(timeline.at_work(self._on_event, case.label, timeline.PRELOAD))
            room = models_ahead.room(self._size)
            template: Template | str
            if room is None:
                template = "there is too little memory"
            elif self._closed.is_set() or over():
                return None
            else:
                self._on_event(Step(label=case.label, phase="load", worker=number, work=timeline.PRELOAD))
                suite_dir = str(self.suite_dir)
                job = jobs.Template(
                    device="cpu", imports=(), control=-1, model=case, room=room, seed=self._seed, suite_dir=suite_dir
                )
                template = self._started(interpreter, origin, job, "building it", over)
            if isinstance(template, str):
                if not over():
                    self._tell_of_model(case.model, template)
                return None
            return template

    def _started(
        self,
        interpreter: Interpreter,
        origin: Template | None,
        job: jobs.Template,
        doing: str,
        over: Callable[[], bool],
    ) -> Template | str:
        """A template that has done what ``job`` says, a new process or a fork of ``origin``; what went wrong if there
        is none. ``doing`` names what it does. It is given up when ``over`` becomes true.
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with contextlib.ExitStack() as clean:
            clean.callback(ours.close)
            answer = Answer(msgspec.structs.replace(job, control=theirs.fileno()))
            try:
                with theirs:
                    child = _begin(interpreter, origin, (theirs.fileno(),))
            except OSError as error:
                return str(error)
            clean.callback(child.close)
            problem = self._await(child, answer, doing, over)
            if problem:
                return problem
            clean.pop_all()
        return Template(child, ours)

    def _await(self, child: process.Child, answer: Answer, doing: str, over: Callable[[], bool]) -> str:
        """Have a template do what the job says, until ``over``; what went wrong, empty if nothing did."""
        builds = isinstance(answer.job, jobs.Template) and answer.job.model is not None
        limit_ns = self._model_limit_ns if builds else self._limit_ns
        child.say(answer.encoded)

        def enough() -> bool:
            return answer.complete or answer.refused() or self._closed.is_set() or over()

        deadline = time.monotonic_ns() + limit_ns
        while not enough() and child.alive and time.monotonic_ns() < deadline:
            child.hear(min(_TURN_NS, limit_ns), answer.hear, enough)
        if answer.problem:
            return f"it wrote {answer.problem}"
        if isinstance(answer.reply, jobs.Failed):
            return answer.reply.message.partition("\n")[0]
        if answer.reply is None:
            return f"{doing} takes more than {format_time(limit_ns)}" if child.alive else f"{doing} ends it"
        return ""

    def _tell(self, interpreter: Interpreter, names: tuple[str, ...], why: str) -> None:
        if self._closed.is_set():
            return
        where = "" if interpreter.name == "default" else f" in the toolchain {interpreter.name!r}"
        what = f"imports {names[-1]} itself, and is not forked after it" if names else "is started, not forked"
        self._on_event(Note(text=f"each worker{where} {what}: {why}"))

    def _tell_of_model(self, name: str, why: str) -> None:
        """Say why workers build the model of this name themselves, once for all runtimes that measure it."""
        with self._lock:
            is_news = name not in self._built_by_workers
            self._built_by_workers.add(name)
        if is_news and not self._closed.is_set():
            self._on_event(Note(text=f"each worker builds {name} itself: {why}"))


def _is_not_there(module: str, problem: str) -> bool:
    """Whether ``problem`` is that there is no ``module``, or no package that it lies in."""
    parts = module.split(".")
    lacks = (f"ModuleNotFoundError: No module named {'.'.join(parts[:n])!r}" for n in range(1, len(parts) + 1))
    return problem in lacks


def _close(nodes: Sequence[Node]) -> None:
    """End templates, and at once all that are being made."""
    for node in nodes:
        node.halt()
    for node in nodes:
        node.close()


def _forked(node: Node, keep: Sequence[int]) -> tuple[str, process.Child | None]:
    """Why the template of ``node`` is lost, empty if it is not; and a worker forked from it, None if there is none."""
    template = node.result()
    try:
        return "", None if template is None else template.fork(keep)
    except ConnectionError as error:
        return error.strerror or str(error), None
    except OSError:  # of this request only: too little memory, a file of its own under a number of `keep`
        return "", None


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
