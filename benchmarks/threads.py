"""Why the course sets OMP_WAIT_POLICY: the time of one call of the shipped network beside busy programs.

    python benchmarks/threads.py

Each policy gets a process of its own, because OpenMP reads the variable once, when torch is imported.
"""

import os
import subprocess
import sys

CALLS = """
import statistics, time, torch
from diffusers import UNet2DModel
from course_utils.interop import find_pipeline
model = UNet2DModel.from_pretrained(find_pipeline(), subfolder="unet").eval()
x, seconds = torch.randn(4, 3, 32, 32), []
with torch.no_grad():
    model(x, 0)
    for _ in range(10):
        start = time.perf_counter()
        model(x, 0)
        seconds.append(time.perf_counter() - start)
print(f"{1000 * statistics.median(seconds):.0f} ms, the median of 10 calls, {torch.get_num_threads()} threads")
"""

if __name__ == "__main__":
    for busy in (0, 1, 2):
        others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(busy)]
        try:
            for name, policy in (("default", {}), ("PASSIVE", {"OMP_WAIT_POLICY": "PASSIVE"})):
                kept = {k: v for k, v in os.environ.items() if k != "OMP_WAIT_POLICY"}
                print(f"{busy} busy programs, {name:8s}", end="", flush=True)
                subprocess.run([sys.executable, "-c", CALLS], env=kept | policy, check=True)
        finally:
            for program in others:
                program.kill()
