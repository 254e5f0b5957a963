"""Benchmark a module of one's own in several runtimes, as in a notebook: no suite file.

Workers are other processes: the class must be importable, so it lies in a file of its own (small_net.py). Two backends
take about a minute; the run is stored in results/ of the working folder, and the model in the artifact cache.

    python examples/compare_backends.py
"""

import sys

import torch
from small_net import SmallNet

import bench

model = SmallNet(width=128).eval()
run = bench.benchmark(
    model,
    {"x": torch.randn(8, 64)},
    backends=["eager", "torchscript", *sys.argv[1:]],
    measure={"replicates": 3, "target_ci": "2%", "max_time": "1s"},
    on_event=lambda event: print(type(event).__name__, end=" ", flush=True),
)
print("\n" + bench.tables(run))

fastest = next((row for row in bench.rows(run) if row.fastest), None)
print(f"fastest accurate runtime: {fastest.backend if fastest else 'none'}")
