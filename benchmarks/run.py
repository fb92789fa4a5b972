"""All benchmarks, one after the other, those of build caches on one cache; each writes its section of docs/benchmarks.md.

python benchmarks/run.py [GOCACHE]
"""

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent

for name in ("fsck.py", "clean.py", "snapshot.py", "repository.py"):
    print(f"== {name}", file=sys.stderr)
    subprocess.run([sys.executable, str(HERE / name), *sys.argv[1:]], check=True)
for name in (
    "xray.py",
    "modules.py",
    "graph.py",
    "why.py",
    "telemetry.py",
    "ingest.py",
    "edge.py",
    "trace_query.py",
    "collect.py",
    "cacheprog.py",
    "journal.py",
    "redis_capture.py",
    "redis_scan.py",
    "redis_py.py",
    "redis_proxy.py",
    "inbox.py",
    "serve.py",
    "ci.py",
    "shim.py",
):
    print(f"== {name}", file=sys.stderr)
    subprocess.run([sys.executable, str(HERE / name)], check=True)
