"""Whether the GPU computes what the CPU does, and how fast: MLX on Metal, in a process of its own."""

from __future__ import annotations

import json
import sys
from typing import Any

from bench.accept.figures import Figure, untaken
from bench.accept.process import said

WAIT_S = 90.0
_NAMES = ("metal-error", "metal-speed")
_SCRIPT = """
import json, time
import mlx.core as mx
said = {"metal": mx.metal.is_available()}
if said["metal"]:
    mx.random.seed(0)
    a, b = (mx.random.normal((512, 512)) for _ in range(2))
    cpu = mx.matmul(a, b, stream=mx.cpu)
    gpu = mx.matmul(a, b, stream=mx.gpu)
    mx.eval(cpu, gpu)
    said["error"] = (mx.abs(gpu - cpu).max() / mx.abs(cpu).max()).item()
    x = mx.random.normal((4096, 4096)).astype(mx.float16)
    mx.eval(mx.matmul(x, x, stream=mx.gpu))
    began, times = time.perf_counter(), 10
    for _ in range(times):
        mx.eval(mx.matmul(x, x, stream=mx.gpu))
    said["gflops"] = 2 * 4096**3 * times / (time.perf_counter() - began) / 1e9
print(json.dumps(said))
"""


async def figures(python: str = sys.executable) -> list[Figure]:
    """Return what the GPU did; untaken where there is no MLX or no Metal."""
    try:
        return read(*await said((python, "-I", "-c", _SCRIPT), WAIT_S))
    except TimeoutError:
        return untaken(f"MLX did not end within {WAIT_S:g} s", *_NAMES)


def read(status: int, out: str, err: str) -> list[Figure]:
    """Return what the script's output tells. Pure."""
    if "No module named 'mlx'" in err:
        return untaken("MLX is not installed; `.venv/bin/pip install -c constraints.txt -e '.[mlx]'`", *_NAMES)
    try:
        found: dict[str, Any] = json.loads(out)
    except ValueError:
        last = (err.strip().splitlines() or [f"status {status}"])[-1]
        return untaken(f"MLX failed: {last[:300]}", *_NAMES)
    if not found.get("metal"):
        return untaken("this machine has no Metal", *_NAMES)
    return [
        Figure(name="metal-error", value=float(found["error"])),
        Figure(name="metal-speed", value=float(found["gflops"])),
    ]
