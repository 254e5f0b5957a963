"""Run in a process of its own: two lanes of one case on a GPU, by their streams, outputs, poison and fairness report.

``lanes_check.py BACKEND FIELDS`` takes the fields of the case as JSON and ends with 0, or with what was wrong; with
``LACKS``, and what is lacking on stderr, where this machine cannot make the case.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import numpy as np

from bench.errors import Unavailable
from tests.backends.kit import Bench, cosine

LACKS = 77


def main() -> None:
    name, fields = sys.argv[1], json.loads(sys.argv[2])
    with tempfile.TemporaryDirectory() as folder:
        gpu = Bench(Path(folder), device="cuda:0")
        case = gpu.case(name, **fields)
        wanted = gpu.reference(case)
        with gpu.prepared(case) as prepared:
            lanes = prepared.lanes(2)
            assert all(lane.stream for lane in lanes)
            assert len({lane.stream for lane in lanes}) == len(lanes)
            for _ in range(4):
                for lane in lanes:
                    lane.call()
            for lane in lanes:
                lane.read()
                lane.poison()
                assert all(np.isnan(array).all() for array in lane.read().values()), "the outputs are not poisoned"
                lane.call()
                found = lane.read()
                similar = {key: cosine(found[key], wanted[key]) for key in wanted}
                assert all(value > 0.999 for value in similar.values()), similar
            told = prepared.fairness()
    captured = fields.get("cuda_graph") or "mode" in fields.get("options", {})
    assert (told["graph_capture"] != "none") is bool(captured), told


if __name__ == "__main__":
    try:
        main()
    except Unavailable as lacks:
        print(f"{lacks.what}; {lacks.fix}", file=sys.stderr)
        sys.exit(LACKS)
