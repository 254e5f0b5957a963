"""How long a suite takes until its table is there, cold and warm, on a GPU host: a script, as such hosts are rented.

    PYTHONPATH=. python3 tests/selfbench/time_to_result_gpu.py --out DIR [--quick] [--plain] [--repo CHECKOUT]...

Each run of the suite beside this file (ResNet-18 and DistilBERT, eager and Inductor, fp16, batch 1) is a process
``python -m bench run``. The first one, cold, has an empty artifact cache and empty caches of Inductor, Triton and CUDA,
the second one, warm, those of the first. ``--repo`` names the checkouts to measure, one after the other in each of
``--rounds``, so that a change is seen in one sitting; by default it is the one that this file is in. A checkout from
before the categories of time were recorded shows its wall time only. ``--plain`` measures for comparison one process
that times the same four models with CUDA events, without any harness. Everything is kept in DIR; ``times.json`` there
has the figures of the table that is printed. Needs only the standard library, and what the suite's models need.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve()
ROOT = HERE.parents[2]
SUITE = HERE.with_suffix(".yaml")
CACHES = {"TORCHINDUCTOR_CACHE_DIR": "inductor", "TRITON_CACHE_DIR": "triton", "CUDA_CACHE_PATH": "cuda"}
NS_PER_S = 1e9
# Of the plain process: what the harness does at the least, and for as long.
WARMUP_S, SAMPLES = 0.2, 256


def caches(folder: Path) -> dict[str, str]:
    """The environment variables that keep the compilers' caches in ``folder``."""
    return {variable: str(folder / name) for variable, name in CACHES.items()}


def run_suite(repo: Path, folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Run the suite with the code of ``repo`` and the caches in ``folder``: seconds, exit code, cases, categories."""
    search = os.pathsep.join(part for part in (str(repo), os.environ.get("PYTHONPATH", "")) if part)
    env = os.environ | caches(folder) | {"PYTHONPATH": search}
    env.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed package has its bytecode
    store = folder / "store"
    earlier = set(store.rglob("*.jsonl"))
    suite = os.path.relpath(options.suite, repo)  # no path of this machine gets into the run
    command = [sys.executable, "-m", "bench", "run", suite, "--store", str(store), "--progress", "plain"]
    command += ["--cache", str(folder / "cache"), *(["--quick"] if options.quick else [])]
    command += shlex.split(options.arguments)
    seconds, code = timed(command, env, repo, folder)
    row: dict[str, Any] = {"seconds": seconds, "exit": code, "records": 0, "failed": 0, "times": {}}
    for path in set(store.rglob("*.jsonl")) - earlier:
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        records = [line for line in lines if line["line"] == "record"]
        row["records"] = len(records)
        row["failed"] = sum(bool(record.get("failure")) for record in records)
        if lines[-1]["line"] == "footer":
            row["times"] = {name: ns / NS_PER_S for name, ns in lines[-1].get("times", {}).items()}
    return row


def run_plain(folder: Path) -> dict[str, Any]:
    """Run the plain process with the caches in ``folder``."""
    seconds, code = timed([sys.executable, str(HERE), "--time-plainly"], os.environ | caches(folder), folder, folder)
    return {"seconds": seconds, "exit": code, "records": 0, "failed": 0, "times": {}}


def timed(command: list[str], env: dict[str, str], cwd: Path, folder: Path) -> tuple[float, int]:
    """The wall time of a command in seconds, and its exit code; its output goes to ``output.log`` in ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "output.log").open("ab") as log:
        log.write(f"$ {shlex.join(command)}\n".encode())
        log.flush()
        start = time.perf_counter()
        code = subprocess.run(command, env=env, cwd=cwd, stdout=log, stderr=subprocess.STDOUT, check=False).returncode
        seconds = time.perf_counter() - start
    if code:
        print(f"exit code {code}, see {folder / 'output.log'}", file=sys.stderr, flush=True)
    return seconds, code


def time_plainly() -> None:
    """What people write who have no harness: build, compile, warm up, and time with CUDA events; one line a case."""
    import torch
    import torchvision
    import transformers

    def measure(name: str, model: torch.nn.Module, example: torch.Tensor) -> None:
        for backend in ("eager", "inductor"):
            torch.manual_seed(0)
            program = torch.compile(model) if backend == "inductor" else model
            start = time.perf_counter()
            program(example)
            torch.cuda.synchronize()
            first = time.perf_counter() - start
            start = time.perf_counter()
            while time.perf_counter() - start < WARMUP_S:
                program(example)
                torch.cuda.synchronize()
            event = functools.partial(torch.cuda.Event, enable_timing=True)
            marks = [(event(), event()) for _ in range(SAMPLES)]
            for begin, end in marks:
                begin.record()
                program(example)
                end.record()
                end.synchronize()
            median = sorted(begin.elapsed_time(end) for begin, end in marks)[SAMPLES // 2]
            print(f"{name}/{backend}: median {median:.3f} ms, first call {first:.1f} s", flush=True)

    with torch.inference_mode():
        resnet = torchvision.models.resnet18(weights=None).eval().cuda().half()
        measure("resnet18", resnet, torch.randn(1, 3, 224, 224, device="cuda", dtype=torch.float16))
        bert = transformers.DistilBertModel(transformers.DistilBertConfig()).eval().cuda().half()
        measure("distilbert", bert, torch.randint(0, 30522, (1, 128), device="cuda"))


def table(rows: list[dict[str, Any]]) -> str:
    """Wall seconds and those of each category, in the order in which the runs name them."""
    categories = list(dict.fromkeys(name for row in rows for name in row["times"]))
    lines = [["code", "round", "caches", "wall s", "rows", "failed", *(f"{name} s" for name in categories)]]
    for row in rows:
        figures = [f"{row['times'][name]:.1f}" if name in row["times"] else "-" for name in categories]
        counts = [str(row["records"] or "-"), str(row["failed"] if row["records"] else "-")]
        lines.append([row["code"], str(row["round"]), row["caches"], f"{row['seconds']:.1f}", *counts, *figures])
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "\n".join("  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in lines)


def parse() -> argparse.Namespace:
    """The options; exit code 2 if one is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="an empty or new folder for caches, runs and logs")
    parser.add_argument("--repo", type=Path, action="append", help="a checkout to measure; may be given several times")
    parser.add_argument("--suite", type=Path, default=SUITE, help="default: the one beside this file")
    parser.add_argument("--rounds", type=int, default=1, help="how often everything is measured (default: 1)")
    parser.add_argument("--quick", action="store_true", help="one process a case, looser intervals")
    parser.add_argument("--plain", action="store_true", help="also one process without a harness")
    parser.add_argument("--arguments", default="", help='more for `trtbench run`, e.g. "--prestart 4"')
    parser.add_argument("--time-plainly", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.time_plainly:
        return options
    if options.out is None:
        parser.error("--out DIR is missing")
    if options.out.exists() and any(options.out.iterdir()):
        parser.error(f"{options.out} is not empty: a cold run starts with empty caches; name another folder")
    options.repo = [repo.resolve() for repo in options.repo or [ROOT]]
    for repo in options.repo:
        if not (repo / "bench" / "__main__.py").is_file():
            parser.error(f"{repo} is no checkout of trtbench")
    options.out, options.suite = options.out.resolve(), options.suite.resolve()
    return options


def main() -> None:
    """Measure, print the table, and write ``times.json``; exit code 1 if a run did not end with 0."""
    options = parse()
    if options.time_plainly:
        return time_plainly()
    rows: list[dict[str, Any]] = []
    for number in range(1, options.rounds + 1):
        sides = [(repo.name, repo) for repo in options.repo] + ([("plain", None)] if options.plain else [])
        for position, (name, repo) in enumerate(sides):
            folder = options.out / f"{number}-{position}-{name}"
            for state in ("cold", "warm"):
                row = run_plain(folder) if repo is None else run_suite(repo, folder, options)
                rows.append({"code": name, "round": number, "caches": state, **row})
                print(f"{name}, round {number}, {state}: {row['seconds']:.1f} s", file=sys.stderr, flush=True)
                (options.out / "times.json").write_text(json.dumps(rows, indent=1))
    print(table(rows))
    sys.exit(any(row["exit"] for row in rows))


if __name__ == "__main__":
    main()
