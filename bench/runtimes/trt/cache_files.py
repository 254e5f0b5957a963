"""Files of the shared cache that hold for one model of GPU: TensorRT refuses or ignores those of another."""

from __future__ import annotations

from pathlib import Path

from bench.machine.environment import slugify
from bench.model.seam import Context
from bench.runtimes import memory


def gpu_file(context: Context, folder: str, name: str) -> Path | None:
    """The path of a file in ``folder`` of the shared cache, which is made. ``{gpu}`` in ``name`` becomes the compute
    capability and the model of the context's GPU, e.g. ``sm_90-nvidia-h200``. None without such a cache, and for every
    independent build but the first.
    """
    if context.shared is None or context.build:
        return None
    properties = memory.cuda("cudaGetDeviceProperties", int(context.device.partition(":")[2] or 0))
    model = properties.name.decode() if isinstance(properties.name, bytes) else str(properties.name)
    (context.shared / folder).mkdir(parents=True, exist_ok=True)
    gpu = f"sm_{properties.major}{properties.minor}-{slugify(model)}"
    return context.shared / folder / name.format(gpu=gpu)
