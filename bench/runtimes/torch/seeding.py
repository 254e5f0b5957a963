"""The random generators that a factory may draw from, seeded for a block and put back after it."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator

import numpy as np

# NumPy's legacy generator takes 32 bits.
_NUMPY_SEEDS = 2**32


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """torch's CPU generator, NumPy's global one and that of ``random`` start from ``seed`` in the block.

    The order of a set of texts needs PYTHONHASHSEED, which workers are started with.
    """
    import torch

    state, global_state = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            random.seed(seed)
            np.random.seed(seed % _NUMPY_SEEDS)
            yield
    finally:
        random.setstate(state)
        np.random.set_state(global_state)
