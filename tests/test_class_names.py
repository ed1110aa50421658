"""Classes say that they are of the module in which users find them."""

import importlib
import os
import pickle
import subprocess
import sys

import pytest

import livegrad
from livegrad import distributions, nn, optim

SHOWN = [
    (livegrad.Tensor, "livegrad.Tensor"),
    (livegrad.dtype, "livegrad.dtype"),
    (livegrad.device, "livegrad.device"),
    (livegrad.Size, "livegrad.Size"),
    (livegrad.layout, "livegrad.layout"),
    (livegrad.Generator, "livegrad._C.Generator"),
    (livegrad.OutOfMemoryError, "livegrad.OutOfMemoryError"),
    (nn.Parameter, "livegrad.nn.parameter.Parameter"),
    (nn.Module, "livegrad.nn.modules.module.Module"),
    (nn.LazyConv2d, "livegrad.nn.modules.conv.LazyConv2d"),
    (nn.MultiheadAttention, "livegrad.nn.modules.activation.MultiheadAttention"),
    (optim.lr_scheduler.StepLR, "livegrad.optim.lr_scheduler.StepLR"),
    (optim.Muon, "livegrad.optim.Muon"),
    (distributions.Normal, "livegrad.distributions.normal.Normal"),
    (distributions.ExpTransform, "livegrad.distributions.transforms.ExpTransform"),
]


@pytest.mark.parametrize("cls, shown", SHOWN, ids=[shown for _, shown in SHOWN])
def test_name(cls, shown):
    assert repr(cls) == f"<class '{shown}'>"
    module, _, name = shown.rpartition(".")
    assert getattr(importlib.import_module(module), name) is cls
    assert pickle.loads(pickle.dumps(cls)) is cls


@pytest.mark.parametrize("package", ["nn", "optim.lr_scheduler", "distributions"])
def test_all_names_are_pytorchs(package):
    torch = pytest.importorskip("torch")
    theirs, ours = importlib.import_module(f"torch.{package}"), importlib.import_module(f"livegrad.{package}")
    for name in dir(theirs):
        cls, own = getattr(theirs, name), getattr(ours, name, None)
        if isinstance(cls, type) and isinstance(own, type) and cls.__module__.startswith(torch.__name__):
            assert own.__module__ == f"livegrad{cls.__module__.removeprefix('torch')}", name


def test_compiled_functions_find_classes_by_where_they_are_written():
    code = "import livegrad; x = livegrad.ones(2, requires_grad=True); y = (x * 2).sum(); y.backward(); print(x.grad)"
    env = {**os.environ, "LIVEGRAD_NATIVE": "always"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=240, env=env)
    assert done.stdout == "tensor([2., 2.])\n", done.stderr
