"""How long Python loads a package of AOTInductor, and what of that are the trials of the CPU's vector extensions.

``PYTHONPATH=. python3 -m tests.selfbench.aoti_load_gpu`` compiles one package for the GPU and loads it in new
processes: as a user's program does with each value of TORCHINDUCTOR_VEC_ISA_OK, and as trtbench does. It prints the
seconds of each phase and how many processes each one starts. ``--dry`` does so on the CPU; ``--package FILE`` takes a
package that is there.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

_BUILD = """
import sys, torch
device, path = sys.argv[1:]
module = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.GELU(), torch.nn.Linear(64, 8)).eval().to(device)
program = torch.export.export(module, (torch.randn(4, 64, device=device),))
torch._inductor.aoti_compile_and_package(program, package_path=path)
"""
# Phases of one process. An audit hook counts what it starts.
_LOAD = """
import contextlib, json, sys, time
marks, started = [time.perf_counter()], []
sys.addaudithook(lambda event, arguments: started.append(arguments) if event == "subprocess.Popen" else None)

def mark():
    marks.append(time.perf_counter())

import torch
mark()
import torch._inductor.package
mark()
device, path, way = sys.argv[1:]
if device != "cpu":
    torch.zeros(1, device=device)
mark()
before = len(started)
block = contextlib.nullcontext()
if way == "trials alone":
    import torch._inductor.cpu_vec_isa as extensions
    extensions.pick_vec_isa()
elif way == "as trtbench":
    from bench.backends.aoti import _undetected_extensions
    block = _undetected_extensions()
mark()
with block:
    model = torch._inductor.package.load_package(path)
mark()
names = ("import torch", "import loader", "start device", "trials", "load")
times = {name: end - begin for name, begin, end in zip(names, marks, marks[1:])}
print(json.dumps(times | {"processes": len(started) - before}))
"""
# A name of each way -> the variable, and what the process does before it loads.
_WAYS = {
    "as it is": (None, ""),
    "trials alone": (None, "trials alone"),
    "VEC_ISA_OK=1": ("1", ""),
    "VEC_ISA_OK=0": ("0", ""),
    "as trtbench": (None, "as trtbench"),
}


def main() -> int:
    """Print a line for each process; 1 if one of them fails."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dry", action="store_true", help="on the CPU")
    parser.add_argument("--package", type=Path, help="a .pt2 file for this device")
    parser.add_argument("--rounds", type=int, default=2, help="processes of each way; the first may compile trials")
    arguments = parser.parse_args()
    device = "cpu" if arguments.dry else "cuda"
    with tempfile.TemporaryDirectory() as folder:
        package = arguments.package or Path(folder) / "model.pt2"
        if arguments.package is None:
            start = time.monotonic()
            if _python(_BUILD, device, str(package)) is None:
                return 1
            print(f"compile the package: {time.monotonic() - start:.1f} s", flush=True)
        for number in range(arguments.rounds):
            for name, (value, way) in _WAYS.items():
                times = _python(_LOAD, device, str(package), way, value=value)
                if times is None:
                    return 1
                _show(f"{number + 1} {name}", json.loads(times.splitlines()[-1]))
    return 0


def _python(code: str, *words: str, value: str | None = None) -> str | None:
    """The output of a new process; None if it failed, and its log is printed."""
    environment = {name: text for name, text in os.environ.items() if name != "TORCHINDUCTOR_VEC_ISA_OK"}
    if value is not None:
        environment["TORCHINDUCTOR_VEC_ISA_OK"] = value
    done = subprocess.run([sys.executable, "-c", code, *words], env=environment, capture_output=True, text=True)
    if done.returncode:
        print(done.stderr, file=sys.stderr)
        return None
    return done.stdout


def _show(name: str, times: dict[str, Any]) -> None:
    started = times.pop("processes")
    phases = "  ".join(f"{phase} {seconds:6.2f}" for phase, seconds in times.items())
    print(f"{name:16}  {phases}  processes {started}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
