"""Makes a small trace of one that torch.profiler wrote: `python trim.py TRACE TARGET`."""

import json
import sys

EVENTS = ("user_annotation", "cpu_op", "cuda_runtime", "cuda_driver", "kernel", "gpu_memcpy", "gpu_memset")
ARGUMENTS = ("correlation", "stream", "bytes", "graph node id")
FIELDS = ("ph", "cat", "name", "pid", "tid", "ts", "dur")

with open(sys.argv[1], encoding="utf-8") as file:
    whole = json.load(file)
events = []
for event in whole["traceEvents"]:
    if event.get("cat") in EVENTS:
        arguments = {name: value for name, value in event.get("args", {}).items() if name in ARGUMENTS}
        events.append({name: event[name] for name in FIELDS} | {"args": arguments})
header = {name: whole[name] for name in ("schemaVersion", "cuda_runtime_version", "cupti_version") if name in whole}
with open(sys.argv[2], "w", encoding="utf-8") as file:
    lines = ",\n".join(json.dumps(event, separators=(",", ":")) for event in events)
    file.write(f'{json.dumps(header)[:-1]}, "traceEvents": [\n{lines}\n]}}\n')
