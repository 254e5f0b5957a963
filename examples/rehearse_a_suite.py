"""Plan a suite, look at the plan, run a part of it, and read the figures; needs neither a GPU nor PyTorch.

``backend="fake"`` rehearses the suite on simulated time, in seconds. Leave it out to measure. The rehearsed run is
stored in a temporary folder, as its figures mean nothing; without ``store`` a run goes to results/.

    python examples/rehearse_a_suite.py [SUITE]
"""

import sys
import tempfile

import bench

suite = bench.load(sys.argv[1] if len(sys.argv) > 1 else "suites/vision.yaml")

plan = bench.plan(suite, backend="fake")
print(f"{len(plan.cases)} cases, {len(plan.left_out)} left out")

with tempfile.TemporaryDirectory() as store:
    run = bench.run(suite, select="model=resnet50 and batch=32", backend="fake", quick=True, store=store)
print(bench.tables(run))

for row in bench.rows(run):
    figure = row.times[row.primary]
    print(f"{row.label}: {figure.value / 1e3:.1f} us")
