"""A program that asks for deterministic algorithms gives the same bits with and without kernels on disk."""

import os
import subprocess
import sys

PROGRAM = """
import livegrad as torch
torch.use_deterministic_algorithms(True)
torch.manual_seed(0)
model = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.GELU(), torch.nn.LayerNorm(16), torch.nn.Linear(16, 3))
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
x, y = torch.randn(32, 8), torch.randint(3, (32,))
for _ in range(20):
    optimizer.zero_grad()
    loss = torch.nn.functional.cross_entropy(model(x), y)
    loss.backward()
    optimizer.step()
print(loss.item().hex(), [p.double().sum().item().hex() for p in model.parameters()])
"""


def test_the_same_bits_with_and_without_kernels_on_disk(tmp_path):
    environment = {**os.environ, "LIVEGRAD_CACHE_DIR": str(tmp_path), "LIVEGRAD_COMPILE": "auto"}
    runs = [
        subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=True)
        for _ in range(2)
    ]
    assert runs[0].stdout == runs[1].stdout and runs[0].stdout
