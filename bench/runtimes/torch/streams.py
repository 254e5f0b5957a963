"""The CUDA stream that PyTorch's calls run on."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


def ordered(device: torch.device) -> Any:
    """A stream whose work and that of the default stream are in the order of their issue, unlike torch.cuda.Stream's.

    Some operators launch on the default stream whatever the current one is (deform_conv2d of torchvision 0.26, many an
    extension): here they find what was computed before, and the events around a call have them between them. As torch
    does with its own, the stream is kept until the process ends: the caching allocator knows memory by it.
    """
    import torch

    handle = ctypes.c_void_p()
    runtime: Any = torch.cuda.cudart()
    with torch.cuda.device(device):
        torch.cuda.check_error(runtime.cudaStreamCreate(ctypes.addressof(handle)))
    return torch.cuda.ExternalStream(handle.value, device)
