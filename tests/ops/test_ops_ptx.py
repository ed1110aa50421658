"""Elementwise programs as code for NVIDIA GPUs, without one: PTX is made of them, and `ptxas` assembles it.

The programs are those of all samples of the elementwise operators, with their gradients, and of training steps. Every
one is written as PTX; `ptxas` (of the package nvidia-cuda-nvcc, or of CUDA's toolkit) assembles those of the training
steps for all architectures, and of the samples a part for each.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
import sys
import zlib
from pathlib import Path

import programs
import pytest
import stand_in
import training
from ops_samples import CASES
from ops_support import as_dtype, to_livegrad

import livegrad
from livegrad import dtypes
from livegrad.codegen.gpu import plan, target
from livegrad.codegen.layout import param_formats
from livegrad.lazy import program
from livegrad.lazy.program import broadcast_strides, merged_dims
from livegrad.llvm import machine
from livegrad.observe import WATCH, Observer
from livegrad.runtime.cuda import driver

ARCHITECTURES = [name for _, name in target.ARCHITECTURES]
ELEMENTWISE = [name for name, c in CASES.items() if c.formula is not None and c.formula.rule != "complex"]
DTYPES = (dtypes.float32, dtypes.float64, dtypes.float16, dtypes.bfloat16, dtypes.int64, dtypes.uint8, dtypes.bool_)


class Programs(Observer):
    """Collects the elementwise programs that run, as the launches that they would be on a GPU."""

    def __init__(self):
        self.kernels = {}

    def begin(self, name, nodes, leaves, outputs, shape, reason):
        if name or not nodes or 0 in shape:
            return
        windows = {}
        program._lay_over(nodes, shape, windows, False)
        piece = program.encode(nodes, dict.fromkeys(nodes, 0), True, windows)
        code, leaves = piece.code, piece.leaves
        sizes, strides, _ = merged_dims(shape, [broadcast_strides(leaf.array, shape) for leaf in leaves])
        if not sizes:
            sizes, strides = [1], [[0] for _ in leaves]
        made = plan.plan_map(code, tuple(outputs), sizes, strides, 16, 132)
        assert len(made.tail) == 8 * (made.kernel.words - len(outputs) - len(leaves) - len(param_formats(code)))
        if made.kernel.error is None:  # there are kernels of real numbers only
            self.kernels[made.kernel.describe()] = made.kernel


def programs_of(run):
    """The kernels of what a function evaluates. Nothing is compiled for the CPU."""
    found = Programs()
    before, WATCH.observer = WATCH.observer, found
    try:
        with livegrad.compiling("never"):
            run()
    finally:
        WATCH.observer = before
    return found.kernels


def sampled(name):
    """Evaluate an operator's samples: all of them and their gradients in float32, the first in the other dtypes."""
    case = CASES[name]
    for d in DTYPES:
        single = d is dtypes.float32
        for args, kwargs in case.samples() if single else case.samples()[:1]:
            args = [to_livegrad(as_dtype(a, d), single) for a in args]
            try:
                made = case.function(*args, **{k: to_livegrad(as_dtype(v, d)) for k, v in kwargs.items()})
            except (RuntimeError, TypeError, NotImplementedError):  # not for this dtype
                continue
            livegrad.eval(made)
            if made.requires_grad:
                with contextlib.suppress(RuntimeError):  # no derivative, as in PyTorch
                    made.backward(livegrad.ones_like(made))
                livegrad.eval([a.grad for a in args if isinstance(a, livegrad.Tensor) and a.grad is not None])


def step(name):
    """Two training steps, and two in bfloat16."""
    for half in (False, True):
        training.train(name, "cpu", half, 2)


# --- PTX and what ptxas says to it ----------------------------------------------------------------------------------


def ptx(kernel, architecture):
    text = machine.compile_ptx(kernel.source(), architecture)
    assert ".extern" not in text  # nothing is left to a library
    assert ".entry kernel(" in text
    return text


def ptxas():
    """The assembler: on the path, or in NVIDIA's package for Python."""
    found = shutil.which("ptxas")
    for folder in sys.path if found is None else ():
        found = found or next((str(p) for p in Path(folder, "nvidia").glob("*/bin/ptxas")), None)
    return found


def assemble(texts, architecture, folder):
    """Assemble kernels in one go; returns what ptxas tells of each."""
    whole = ""
    for k, text in enumerate(texts):
        head, body = text.split(".address_size 64\n", 1)
        whole += (head + ".address_size 64\n") * (k == 0)
        # Names that are not a function's own: the entry, its helper functions and its tables.
        names = set(
            re.findall(
                r"^\s*(?:\.\w+ )*\.entry (\w+)\(|^\s*(?:\.\w+ )*\.func.*?(\w+)\($|^\s*\.(?:global|shared) .*? (\w+)\[",
                body,
                re.M,
            )
        )
        for name in {n for found in names for n in found if n}:
            body = re.sub(rf"\b{name}(?!\w)|\b{name}(?=_param)", f"{name}_{k}", body)
        whole += body
    source = folder / f"{architecture}.ptx"
    source.write_text(whole)
    command = [ptxas(), "-v", "--warning-as-error", f"-arch={architecture}", str(source), "-o", str(folder / "out")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout + done.stderr


def assert_assembles(texts, architecture, folder):
    said = assemble(texts, architecture, folder)
    assert len(re.findall(r"Compiling entry function", said)) == len(texts)
    spills = [line for line in said.splitlines() if re.search(r"[1-9]\d* bytes spill", line)]
    assert not spills and said.count("0 bytes spill stores, 0 bytes spill loads") >= len(texts)


needs_ptxas = pytest.mark.skipif(
    ptxas() is None, reason="ptxas, which pip install nvidia-cuda-nvcc brings, is not here"
)


@pytest.fixture(scope="module")
def samples():
    """PTX of every operator's samples, by architecture: each program for one, chosen by what it is."""
    kernels = {}
    for name in ELEMENTWISE:
        made = programs_of(lambda: sampled(name))
        assert made, name
        kernels |= made
    texts = {architecture: [] for architecture in ARCHITECTURES}
    for what, kernel in kernels.items():
        architecture = ARCHITECTURES[zlib.crc32(repr(what).encode()) % len(ARCHITECTURES)]
        texts[architecture].append(ptx(kernel, architecture))
    return texts


def test_every_elementwise_operator_can_be_written(samples):
    assert sum(map(len, samples.values())) > 5 * len(ELEMENTWISE)


@needs_ptxas
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_operators_assemble(samples, architecture, tmp_path):
    assert_assembles(samples[architecture], architecture, tmp_path)


@needs_ptxas
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_training_steps_assemble(architecture, tmp_path):
    kernels = {}
    for name in training.STEPS:
        made = programs_of(lambda: step(name))
        assert len(made) > 10
        kernels |= made
    several = [kernel.together for kernel in kernels.values() if kernel.together is not None]
    texts = [ptx(kernel, architecture) for kernel in [*kernels.values(), *several[::4]]]
    assert_assembles(texts, architecture, tmp_path)


@needs_ptxas
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_kernel_of_training_steps_assembles(architecture, tmp_path):
    """Reductions, row programs, running totals, reading and writing at places, sorting: whatever is launched."""
    kernels = {}
    with stand_in.in_use(), pytest.MonkeyPatch.context() as patch:
        # Nothing is run: what is in memory decides about no launch, but how a loss is read.
        patch.setattr(driver, "launch", lambda planned, *rest: kernels.setdefault(planned.kernel.describe(), planned))
        patch.setattr(livegrad.Tensor, "item", lambda self: livegrad.eval(self))
        for half in (False, True):
            for name in training.STEPS:
                training.train(name, "cuda", half, 1)
        for name in programs.PROGRAMS:
            programs.train(name, "cuda", 1, livegrad.bfloat16)
        x, index = livegrad.randn(8, 600).cuda(), livegrad.zeros(8, 600, dtype=livegrad.int64).cuda()
        y = x.requires_grad_().cumsum(1).gather(1, index).scatter_reduce(1, index, x, "amax")
        y.backward(livegrad.ones_like(y))
        livegrad.eval([x.grad, x.detach().index_copy(0, index[0, :3], x.detach()[:3]), y])
    made = [planned.kernel for planned in kernels.values()]
    kinds = {str(kernel.describe()[0]) for kernel in made}
    assert kinds >= {
        "map", "reduction", "row program", "running totals", "move", "name places", "sort tiles", "combine arrivals",
        "last arrivals", "merge runs",
    }, kinds  # fmt: skip
    assert_assembles([ptx(kernel, architecture) for kernel in made], architecture, tmp_path)


def large_programs():
    """As many operands and results as a program may have, and long ones."""
    for d in (livegrad.float32, livegrad.float64, livegrad.bfloat16):
        x = [livegrad.randn(8, 8).to(d) for _ in range(45)]
        livegrad.eval(x)
        livegrad.eval(sum(x[1:], x[0]))
        kept = [x[0]]
        for k in range(50):
            kept.append((kept[-1] + x[k % 8]).exp())
        livegrad.eval(kept[-1])
    strided = [livegrad.randn(6, 7, 8, 9).permute(3, 1, 0, 2) for _ in range(40)]
    y = strided[0]
    for k, other in enumerate(strided[1:]):
        y = y * other.sin() if k < 10 else y + other
    livegrad.eval(y)
    z = livegrad.rand(8, 8).double()
    livegrad.eval((z.lgamma() + z.digamma()).erfinv() + z.sin())
    for _ in range(60):
        z = (z * 1.01).tanh()
    livegrad.eval(z)


@needs_ptxas
def test_large_programs_assemble(tmp_path):
    kernels = programs_of(large_programs)
    assert max(kernel.words for kernel in kernels.values()) > 200
    assert_assembles([ptx(kernel, "sm_90") for kernel in kernels.values()], "sm_90", tmp_path)
