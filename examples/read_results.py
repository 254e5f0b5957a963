"""Read stored runs into pandas: medians per process, their spread between processes, and failures.

Reads the named runs, or the latest one in results/ of the working folder, in a few seconds; writes nothing.

    python examples/read_results.py [RUN ...]
"""

import sys

import pandas as pd

import bench

runs = [bench.read(name) for name in sys.argv[1:]] or [bench.read()]
frame = pd.concat([run.frame() for run in runs], ignore_index=True)

measured = frame[frame["boundary"].isin(["gpu", "latency"])]
by_case = measured.groupby(["run", "label", "boundary"])["median_ns"]
print((by_case.agg(["count", "median", "min", "max"]) / [1, 1e3, 1e3, 1e3]).round(1).to_string())

failed = frame[frame["failure"] != ""]
print(f"{len(failed)} records failed" + (f": {', '.join(failed['label'].unique())}" if len(failed) else ""))
