"""Small stand-ins for tensors and recorded nodes, with what ``livegrad.graph.view`` reads and nothing else."""

import itertools
import math
from types import SimpleNamespace

_seq = itertools.count()


class FakeDtype:
    def __init__(self, name):
        self.name = name

    def __str__(self):
        return f"torch.{self.name}"


class FakeNode:
    def __init__(self, op, inputs, shape, dtype, module, lineno, kept, backward_name=None, outputs=None):
        self.op_name, self.seq, self.module_path = op, next(_seq), module
        self.out_shape, self.out_dtype, self.out_device = tuple(shape), FakeDtype(dtype), "cpu"
        self._name = backward_name or "".join(part.capitalize() for part in op.split("_")) + "Backward0"
        self._inputs, functions = [], []
        for item in inputs:
            if isinstance(item, FakeTensor) and item.requires_grad:
                self._inputs.append(("node", len(functions)))
                functions.append((item.edge(), item.output_nr))
            elif isinstance(item, FakeTensor):
                self._inputs.append(("const", item.shape, item.dtype.name))
            else:
                self._inputs.append(("scalar", item))
        self.next_functions = tuple(functions)
        line = f'    {op} "\\n" & <{lineno}>'
        self._site = SimpleNamespace(filename="/src/app.py", lineno=lineno, function="f", line=line)
        self._kept = tuple(kept)

    def name(self):
        return self._name

    def site(self):
        return self._site

    def inputs_info(self):
        return tuple(self._inputs)

    def kept(self):
        return self._kept


class FakeAccumulate:
    next_functions = ()

    def __init__(self, variable):
        self.variable = variable

    def name(self):
        return "AccumulateGrad"


class FakeTensor:
    grad_fn = None  # as in the library, an attribute of the class too
    output_nr = 0

    def __init__(self, shape, requires_grad=False, dtype="float32", grad_fn=None, output_nr=0):
        self.shape, self.requires_grad, self.dtype = tuple(shape), requires_grad, FakeDtype(dtype)
        self.grad_fn, self.device, self.output_nr = grad_fn, "cpu", output_nr
        self._accumulate = None

    @property
    def is_leaf(self):
        return self.grad_fn is None

    def edge(self):
        if self.grad_fn is not None:
            return self.grad_fn
        if self._accumulate is None:
            self._accumulate = FakeAccumulate(self)
        return self._accumulate


def leaf(*shape, dtype="float32"):
    return FakeTensor(shape, True, dtype)


def const(*shape, dtype="float32"):
    return FakeTensor(shape, False, dtype)


def op(name, *inputs, shape=None, dtype="float32", module="", line=1, kept=(), backward_name=None):
    if shape is None:
        shape = max((item.shape for item in inputs if isinstance(item, FakeTensor)), key=math.prod)
    return FakeTensor(shape, True, dtype, FakeNode(name, inputs, shape, dtype, module, line, kept, backward_name))


class Parameter(FakeTensor):
    def __init__(self, *shape):
        super().__init__(shape, True)


def article():
    """The graph of y = mean((x + 2) ** 2 + 3), with the square written as a product: ``(x, a, b, c, y)``."""
    x = leaf(3)
    a = op("add", x, 2, line=11)
    b = op("mul", a, a, line=12, kept=[("self", (3,), "float32", 12), ("other", (3,), "float32", 12)])
    c = op("add", b, 3.0, line=13)
    return x, a, b, c, op("mean", c, shape=(), line=14)


def blocks(count, width=4, between=None):
    """A residual model: ``count`` equal blocks, each a Linear, a ReLU, a mask and an addition."""
    h = leaf(8, width)
    for index in range(count):
        weight, bias = Parameter(width, width), Parameter(width)
        t = op("addmm", bias, h, weight, shape=(8, width), module=f"blocks.{index}.linear", line=20)
        t = op("relu", t, module=f"blocks.{index}.act", line=21)
        t = op("mul", t, const(8, width), module=f"blocks.{index}", line=22)
        h = op("add", t, h, module=f"blocks.{index}", line=23)
        if between is not None and index == between:
            h = op("sigmoid", h, line=30)
    return op("sum", h, shape=(), line=24)
