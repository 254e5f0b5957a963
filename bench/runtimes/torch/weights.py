"""The weights of a model as an artifact, for another version of torch, or a runtime without torch.

Random weights of one seed may differ between versions of torch; the reference has those of the default toolchain.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from bench import tensors
from bench.errors import CaseError, Unsupported, did_you_mean
from bench.model.seam import WEIGHTS, Context, Stage
from bench.model.suite import Case
from bench.runtimes import shapes
from bench.runtimes.torch.factories import build_model

if TYPE_CHECKING:
    import torch

_FILE = "weights.safetensors"
FINGERPRINT = "weights.json"
_FLOATS = ("float64", "float32", "float16", "complex64", "complex128")
_DTYPES = (*_FLOATS, "int64", "int32", "int16", "int8", "uint8", "bool")
# Values of each weight that its fingerprint reads.
_SAMPLED = 4096


def weights_stage(case: Case) -> Stage:
    """The model's state dict, made by eager in the default toolchain; cases of one model share it."""
    key = {"factory": case.factory, "args": case.args, "config": case.config}
    return Stage(name=WEIGHTS, kind="weights", producer="eager", key=key, libraries=shapes.libraries(case))


def first_stages(case: Case) -> list[Stage]:
    """What every backend that builds the module starts from: the reference, and in another toolchain its weights."""
    reference = shapes.reference_stage(case)
    return [reference] if case.toolchain == "default" else [reference, weights_stage(case)]


def write_weights(case: Case, context: Context, out: Path) -> None:
    """Build the model on the CPU and write its state dict as built; bfloat16 becomes float32, which loses nothing.

    Unsupported for a state that NumPy cannot hold. What a module computes outside its state dict (buffers that are not
    persistent, plain attributes) is not there. Phase: load.
    """
    import torch

    arrays = {}
    with context.phase("load"):
        for name, value in build_model(case, context, device="cpu").state_dict().items():
            kind = value.dtype if isinstance(value, torch.Tensor) else type(value).__name__
            if kind is torch.bfloat16:
                arrays[name] = value.float().numpy()
            elif str(kind).removeprefix("torch.") in _DTYPES:
                arrays[name] = value.numpy()
            else:
                raise Unsupported(f"the weight {name!r} is {kind}, which cannot go to another toolchain")
        tensors.write(out / _FILE, arrays)


def read_weights(folder: Path) -> dict[str, tensors.Array]:
    """The arrays of a weights artifact by the names of the state dict."""
    return tensors.read(folder / _FILE)


def load_weights(model: torch.nn.Module, folder: Path) -> None:
    """Put the weights of ``folder`` into ``model``. CaseError with the first name or shape that differs."""
    import torch

    arrays, state = read_weights(folder), model.state_dict()
    for name in (*state, *arrays):
        if name not in arrays or name not in state:
            present, absent = ("there", "here") if name in arrays else ("here", "there")
            near = did_you_mean(name, (set(state) ^ set(arrays)) - {name})
            raise _other_model(f"{name!r} is a weight {present} and not {absent}.{near}")
        if state[name].shape != arrays[name].shape:
            both = f"{list(state[name].shape)} here and {list(arrays[name].shape)} there"
            raise _other_model(f"the weight {name!r} has the shape {both}.")
    model.load_state_dict({name: torch.from_numpy(array) for name, array in arrays.items()})


def write_fingerprint(model: torch.nn.Module, out: Path) -> None:
    """Write what ``check_fingerprint`` compares with into the folder ``out`` of a reference."""
    (out / FINGERPRINT).write_bytes(msgspec.json.encode(fingerprint(model)))


def fingerprint(model: torch.nn.Module) -> dict[str, str]:
    """By name, a digest of every parameter and buffer: dtype, shape and up to 8,192 values at equal distances.

    Cheap, as it is made in each process; another draw of random weights changes nearly every value. What has no
    values of its own in memory (sparse, quantised and meta tensors) is left out.
    """
    import torch

    digests = {}
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        if tensor.layout is not torch.strided or tensor.is_quantized or tensor.is_meta:
            continue
        flat = tensor.detach().reshape(-1)
        values = flat[:: max(1, flat.numel() // _SAMPLED)].cpu().contiguous()
        digest = hashlib.blake2b(f"{tensor.dtype} {tuple(tensor.shape)}".encode(), digest_size=8)
        digest.update(values.view(torch.uint8).numpy().tobytes())
        digests[name] = digest.hexdigest()
    return digests


def check_fingerprint(model: torch.nn.Module, reference: Path) -> None:
    """CaseError if ``model``, as the factory made it, has other weights than the one that made ``reference``."""
    path = reference / FINGERPRINT
    if not path.is_file():
        return
    expected, actual = msgspec.json.decode(path.read_bytes(), type=dict[str, str]), fingerprint(model)
    different = [name for name in expected | actual if actual.get(name) != expected.get(name)]
    if different:
        more = f" and {len(different) - 1} more" if len(different) > 1 else ""
        raise CaseError(
            f"the factory made other weights here than for the reference: {different[0]!r}{more}",
            fix="let it draw from torch, numpy.random or random, which every process seeds alike, and set no seed that "
            "changes, such as the time",
        )


def _other_model(what: str) -> CaseError:
    return CaseError(
        f"the factory builds a different model in this toolchain than in the default one: {what}",
        fix="use one version of the model's library in both toolchains, or a factory that builds the same modules",
    )
