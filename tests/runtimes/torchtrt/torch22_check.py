"""Run by a Python that has torch 2.2, torch_tensorrt 2.2 and TensorRT 8.6: holds our calls against the real ones.

No GPU is needed: torch_tensorrt asks for the current device on import, and is given one; what would build and run
engines is replaced, with calls bound to the real signatures. Prints one line of JSON.
"""

from __future__ import annotations

import importlib.util
import inspect
import json
import logging
import sys
import tempfile
import types
from pathlib import Path
from typing import Any

import torch

logging.disable(logging.WARNING)
found = importlib.util.find_spec("torch_tensorrt")
assert found is not None
package: Any = types.ModuleType("torch_tensorrt")
package.__path__ = list(found.submodule_search_locations or ())
sys.modules["torch_tensorrt"] = package
binary: Any = __import__("importlib").import_module("torch_tensorrt._C")
device = binary.Device()
binary._get_current_device = lambda: device
torch.cuda.current_device = lambda: 0
del sys.modules["torch_tensorrt"]

import tensorrt  # noqa: E402
import torch_tensorrt.fx  # noqa: E402
import torch_tensorrt.fx.lower  # noqa: E402
import torch_tensorrt.fx.trt_module  # noqa: E402
from torch_tensorrt.fx.fx2trt import TRTInterpreter, TRTInterpreterResult  # noqa: E402

from bench.model.suite import Case, Input, Range  # noqa: E402
from bench.runtimes.torchtrt import fx2trt, modules, settings  # noqa: E402

runs: list[dict[str, Any]] = []
specs: list[Any] = []


class Interpreter:
    def __init__(self, *args: Any, **given: Any) -> None:
        bound = inspect.signature(TRTInterpreter.__init__).bind(self, *args, **given).arguments
        specs.append(bound["input_specs"])
        self.module, self.builder = bound["module"], None

    def run(self, *args: Any, **given: Any) -> Any:
        runs.append(dict(inspect.signature(TRTInterpreter.run).bind(self, *args, **given).arguments))
        return TRTInterpreterResult(self.module, ["i"], ["o"], bytearray(b"timings"))


class TRTModule(torch.nn.Module):
    def __init__(
        self, engine: Any = None, input_names: Any = None, output_names: Any = None, cuda_graph_batch_size: int = -1
    ) -> None:
        super().__init__()
        self.engine, self.input_names, self.output_names = engine, input_names, output_names

    def forward(self, *inputs: Any) -> Any:
        return self.engine(*inputs)


class Whole(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.linear = torch.nn.Conv2d(3, 4, 3, padding=1), torch.nn.Linear(4, 5)

    def forward(self, x: Any) -> Any:
        features = self.conv(x).relu()
        return {"logits": self.linear(features.mean((2, 3))), "nothing": None, "maps": (features,)}


class Split(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = torch.nn.Conv2d(3, 4, 3), torch.nn.Conv2d(4, 4, 3)

    def forward(self, x: Any) -> Any:
        return self.second(torch.special.erfcx(self.first(x)).relu())


def lowered(model: Any, example: dict[str, Any], case: Case, folder: Path) -> tuple[Any, dict[str, Any]]:
    api: Any = types.SimpleNamespace(module=tensorrt)
    module, _ = modules.with_parameters(model, example)
    made = fx2trt.lower(
        module, example, case, api, workspace=None, min_block_size=1, cache=folder / "cache", scratch=folder
    )
    parts = modules.census(made)
    wanted = modules._leaves(model(**example))
    equal = all(torch.equal(*pair) for pair in zip(fx2trt.another(made)(*example.values()), wanted, strict=True))
    told = {"engines": parts.engines, "partitions": parts.partitions, "fallbacks": list(parts.fallbacks)}
    return made, told | {"equal": equal}


def main() -> None:
    for place in (torch_tensorrt.fx, torch_tensorrt.fx.lower, torch_tensorrt.fx.trt_module):
        place.TRTInterpreter, place.TRTModule = Interpreter, TRTModule
    example = {"x": torch.randn(4, 3, 64, 64)}
    case = Case(
        model="m", factory="zoo.py:m", backend="torch_tensorrt", precision="fp32", options={"ir": "fx"},
        inputs={"x": Input(shape=("batch", 3, 64, 64))}, symbols={"batch": 4},
        dynamic={"batch": Range(min=1, opt=4, max=8)},
    )  # fmt: skip
    folder = Path(tempfile.mkdtemp())
    with torch.no_grad():
        made, whole = lowered(Whole().eval(), example, case, folder)
        torch.save(made, folder / "module")
        again = torch.load(folder / "module", weights_only=False)
        whole["reloaded"] = all(
            torch.equal(*pair) for pair in zip(again(example["x"]), made(example["x"]), strict=True)
        )
        _, split = lowered(Split().eval(), example, case, folder)
        module, _ = modules.with_parameters(Whole().eval(), example)
        torch.export.export(module, tuple(example.values()))
    (spec,) = settings.specs(case, example)
    told = {
        "whole": whole,
        "split": split,
        "ranges": specs[0][0].shape_ranges,
        "timing_cache": [run.get("timing_cache") is not None for run in runs[:2]],
        "settings": {
            ir: sorted(settings.settings(case, settings.Options(ir=ir), known, folder / "cache"))
            for ir in ("dynamo", "torch_compile", "ts")
            for known in [settings.setting_names(ir)]
        },
        "dynamic": [spec.shape[f"{end}_shape"][0] for end in ("min", "opt", "max")],
        "backend": torch._dynamo.lookup_backend("tensorrt").__name__,
    }
    print(json.dumps(told))


main()
