"""Random short programs over views and in-place operators, run in livegrad and in PyTorch and compared.

A program is a list of Python lines in which `T` is the module. It is written line by line, looking at what PyTorch's
tensors have become, so that most lines make sense; some do not, and then both libraries must refuse.
"""

from __future__ import annotations

import contextlib
import random
import re
import warnings
from typing import Any

import numpy as np
import pytest

import livegrad

torch = pytest.importorskip("torch")

SHAPES = [(), (1,), (3,), (4,), (2, 3), (3, 2), (4, 1), (1, 4), (2, 2), (4, 4), (2, 1, 3), (2, 2, 2), (0,), (2, 0)]


class Mismatch(AssertionError):
    """The two libraries disagree; the text holds the program as a script."""


class Undefined(Exception):
    """PyTorch refuses to go on with a tensor that livegrad can still tell the history of; the program ends there."""


class World:
    """One library and the variables of the program in it."""

    def __init__(self, module: Any):
        self.module = module
        self.names: dict[str, Any] = {"T": module, "np": np}

    def run(self, line: str) -> Exception | None:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                exec(compile(line, "<program>", "exec"), self.names)
        except Exception as error:  # noqa: BLE001 (the errors are what is compared)
            return error
        return None


class Program:
    """Writes, runs and compares one random program."""

    def __init__(self, seed: int, gradients: bool = False, length: int = 14):
        self.random = random.Random(seed)
        self.seed = seed
        self.gradients = gradients
        self.length = length
        self.lines: list[str] = []
        self.torch = World(torch)
        self.live = World(livegrad)
        self.count = 0
        self.dtype = "float64" if gradients else "float32"

    # --- running ------------------------------------------------------------------------------------------------

    def fail(self, why: str) -> None:
        script = "\n".join(["import numpy as np", "import livegrad as T  # or: import torch as T", *self.lines])
        raise Mismatch(f"seed {self.seed}: {why}\n\n{script}\n")

    def step(self, line: str) -> bool:
        """Run a line in both; True if it ran."""
        self.lines.append(line)
        theirs, ours = self.torch.run(line), self.live.run(line)
        if theirs is not None and "its base or another view of its base has been modified" in str(theirs):
            raise Undefined(str(theirs))
        if (theirs is None) != (ours is None):
            self.fail(f"PyTorch: {theirs!r}\nlivegrad: {ours!r}")
        if self.gradients:
            for x in self.tensors().values():
                _history(x)  # PyTorch renews the history of a view only when asked, and then checks against it
        if theirs is None:
            return True
        self.compare_errors(theirs, ours)
        self.lines[-1] = f"try: {line}\nexcept Exception as e: print(e)" if "\n" not in line else line
        return False

    def compare_errors(self, theirs: Exception, ours: Exception) -> None:
        known = (
            "unsupported operation",
            "a leaf Variable",
            "a view of a leaf",
            "A view was created in no_grad",
            "one of the variables needed",
            "Trying to backward through the graph a second time",
            "Output ",
            "Can't detach views",
        )
        if any(isinstance(e, (AttributeError, TypeError, SyntaxError)) for e in (theirs, ours)):
            self.fail(f"PyTorch: {theirs!r}\nlivegrad: {ours!r}")
        a, b = str(theirs), str(ours)
        for text in known:
            if a.startswith(text) != b.startswith(text):
                self.fail(f"PyTorch: {theirs!r}\nlivegrad: {ours!r}")
        if a.startswith("Output ") and a.split(" is a view")[0] != b.split(" is a view")[0]:
            self.fail(f"PyTorch: {theirs!r}\nlivegrad: {ours!r}")
        if a.startswith("one of the variables needed"):
            # "... [torch.DoubleTensor [2]], which is output 0 of Sigmoid, is at version 3; expected version 2 instead."
            # PyTorch names what the tensor is the output of by now, livegrad what made the value that was kept, and the
            # present version is lost with the tensor.
            parts = re.compile(r"operation: (\[.*?\])[, ].*(expected version \d+ instead)")
            if parts.search(a).groups() != parts.search(b).groups():
                self.fail(f"PyTorch: {theirs!r}\nlivegrad: {ours!r}")
            if "changed here" not in b or "needed by" not in b:
                self.fail(f"the error names no lines: {ours!r}")

    def tensors(self) -> dict[str, torch.Tensor]:
        return {n: x for n, x in self.torch.names.items() if isinstance(x, torch.Tensor)}

    def compare(self) -> None:
        for name, x in list(self.torch.names.items()):
            y = self.live.names.get(name)
            if isinstance(x, torch.Tensor):
                self.compare_tensors(name, x, y)
            elif isinstance(x, np.ndarray):
                if not (x.shape == y.shape and x.dtype == y.dtype and np.allclose(x, y, 1e-4, 1e-5, equal_nan=True)):
                    self.fail(f"array {name}:\nPyTorch: {x!r}\nlivegrad: {y!r}")
            elif isinstance(x, (int, float, bool, list, str)):
                if isinstance(x, str) or not _close(x, y):
                    self.fail(f"{name}:\nPyTorch: {x!r}\nlivegrad: {y!r}")

    def compare_tensors(self, name: str, x: torch.Tensor, y: Any) -> None:
        if tuple(x.shape) != tuple(y.shape) or str(x.dtype).split(".")[1] != y.dtype.name:
            self.fail(f"{name} is {tuple(x.shape)} {x.dtype}, livegrad's {tuple(y.shape)} {y.dtype}")
        if x._version != y._version:
            self.fail(f"{name} is at version {x._version}, livegrad's at {y._version}")
        base, own = x._base, y._base
        if (base is None) != (own is None):
            self.fail(f"{name} is a view: {base is not None}, livegrad's: {own is not None}")
        if base is not None and base.stride() == own.stride() and base.storage_offset() == own.storage_offset():
            if x.numel() and (x.stride() != y.stride() or x.storage_offset() != y.storage_offset()):
                self.fail(f"{name} has strides {x.stride()}, livegrad's {y.stride()}")
        if self.gradients:
            _history(x)
            if x.requires_grad != y.requires_grad or x.is_leaf != y.is_leaf:
                self.fail(
                    f"{name}: requires_grad {x.requires_grad}, is_leaf {x.is_leaf}; "
                    f"livegrad {y.requires_grad}, {y.is_leaf}"
                )
            ours = y.grad_fn.name() if y.grad_fn is not None else None
            theirs = x.grad_fn.name().removeprefix("torch::autograd::") if x.grad_fn is not None else None
            if (ours is None) != (theirs is None) or (theirs != ours and not _same_node(theirs, ours)):
                self.fail(f"{name}.grad_fn: PyTorch {theirs}, livegrad {ours}")
            if x.is_leaf and x.requires_grad:
                self.compare_values(f"{name}.grad", x.grad, y.grad)
        self.compare_values(name, x, y)

    def compare_values(self, name: str, x: Any, y: Any) -> None:
        if (x is None) != (y is None):
            self.fail(f"{name}: PyTorch {x}, livegrad {y}")
        if x is None:
            return
        a, b = x.detach().numpy(), np.asarray(y.detach()._to_numpy())
        if a.shape != b.shape or not np.allclose(a, b, 1e-4, 1e-5, equal_nan=True):
            self.fail(f"{name}:\nPyTorch: {x}\nlivegrad: {y}")

    def run(self) -> None:
        with contextlib.suppress(Undefined):
            self.write_and_run()

    def write_and_run(self) -> None:
        with np.errstate(all="ignore"):
            for _ in range(3):
                self.step(self.creation())
            for _ in range(self.length):
                line = self.line()
                if line is not None:
                    self.step(line)
                if self.random.random() < 0.12:
                    self.compare()
            self.compare()
            if self.gradients:
                self.backward()

    def backward(self) -> None:
        found = [n for n, x in self.tensors().items() if x.requires_grad and not x.is_leaf and x.numel()]
        if not found:
            return
        chosen = self.random.sample(found, min(len(found), self.random.randint(1, 3)))
        self.step("loss = " + " + ".join(f"({n} * {n}).sum() * {self.number()}" for n in chosen))
        if "loss" in self.torch.names and self.torch.names["loss"].requires_grad:
            if self.step("loss.backward()"):
                self.compare()

    # --- writing ------------------------------------------------------------------------------------------------

    def new(self, letter: str = "t") -> str:
        self.count += 1
        return f"{letter}{self.count}"

    def number(self) -> str:
        return self.random.choice(["2", "0.5", "-1", "3.0", "1.5", "-0.25", "1"])

    def creation(self) -> str:
        r = self.random
        shape = r.choice(SHAPES)
        n = int(np.prod(shape))
        name = self.new()
        if self.gradients:
            values = [round(r.uniform(-2, 2), 2) for _ in range(n)]
            grad = ", requires_grad=True" if r.random() < 0.6 else ""
            return f"{name} = T.tensor(np.array({values}).reshape({shape}){grad})"
        kind = r.random()
        if kind < 0.15:
            return f"{name} = T.zeros({shape})"
        if kind < 0.25:
            return f"{name} = T.arange({n}).reshape({shape})"
        if kind < 0.45 and n:
            array = self.new("a")
            form = r.choice(["{}", "{}.T", "{}[::2]" if len(shape) else "{}", "{}.copy()"])
            self.step(f"{array} = np.arange({n}, dtype=np.float32).reshape({shape})")
            return f"{name} = T.from_numpy({form.format(array)})" if shape else f"{name} = T.tensor({array})"
        values = [r.choice([-2.0, -1.0, 0.0, 0.5, 1.0, 2.0, 3.0]) for _ in range(n)]
        return f"{name} = T.tensor({values}).reshape({shape})"

    def pick(self, want: Any = None) -> tuple[str, torch.Tensor] | None:
        found = [(n, x) for n, x in self.tensors().items() if n[0] == "t" and (want is None or want(x))]
        if not found:
            return None
        weights = [1 + k for k in range(len(found))]
        return self.random.choices(found, weights)[0]

    def line(self) -> str | None:
        kinds: list[tuple[Any, int]] = [
            (self.creation, 1), (self.elementwise, 5), (self.view, 7), (self.in_place, 7), (self.assign, 6),
            (self.reading, 2), (self.drop, 1), (self.out, 1),
        ]  # fmt: skip
        if self.gradients:
            kinds += [(self.quiet, 2), (self.node, 1)]
        else:
            kinds += [(self.numpy, 3)]
        functions, weights = zip(*kinds)
        return self.random.choices(functions, weights)[0]()

    def partner(self, x: torch.Tensor, target: torch.Tensor | None = None) -> str:
        """A number or tensor that can be combined with x (and whose memory `target` does not partly overlap)."""

        def fits(y: torch.Tensor) -> bool:
            if y.dtype == torch.bool:
                return False
            try:
                if torch.broadcast_shapes(x.shape, y.shape) != x.shape:
                    return self.random.random() < 0.02
            except RuntimeError:
                return self.random.random() < 0.02
            return target is None or not overlapping(target, y)

        found = self.pick(fits) if self.random.random() < 0.6 else None
        return found[0] if found else self.number()

    def elementwise(self) -> str | None:
        picked = self.pick(lambda x: x.dtype != torch.bool)
        if picked is None:
            return None
        n, x = picked
        r = self.random
        name = self.new()
        form = r.choice(
            ["{} + {o}", "{} - {o}", "{} * {o}", "{}.abs()", "-{}", "{}.clamp(-1, 1)", "{}.clone()", "({} > {o})",
             "{}.sum()", "{}.tanh()", "{}.exp().clamp(-4, 4)", "{}.sum(-1)", "{}.contiguous()", "{} / 2",
             "{}.sigmoid()", "T.cat([{}.reshape(-1), {}.reshape(-1)])", "T.where({} > 0, {}, {o} * 1.0)", "{}.float()",
             "{}.sqrt()"]
        )  # fmt: skip
        if form == "{}.float()" and self.gradients:
            form = "{}.double()"
        if "reshape" in form or "contiguous" in form:
            if x.stride() != self.live.names[n].stride():
                return None
        return f"{name} = " + form.replace("{o}", self.partner(x)).replace("{}", n)

    def view(self) -> str | None:
        picked = self.pick()
        if picked is None:
            return None
        n, x = picked
        name = self.new()
        expr = self.view_of(n, x)
        several = re.search(r"\.(chunk|split|unbind)\(", expr)
        if several:
            return f"{name}, *rest = {expr}\n{name}b = rest[-1] if rest else {name}\ndel rest"
        return f"{name} = {expr}"

    def view_of(self, n: str, x: torch.Tensor) -> str:
        r = self.random
        d = x.dim()
        dim = r.randrange(-d, d) if d else 0
        size = x.shape[dim] if d else 1
        options = [f"{n}[{self.index(x)}]", f"{n}.detach()", f"{n}.unsqueeze({r.randrange(-d - 1, d + 1)})",
                   f"{n}.view(-1)", f"{n}.reshape(-1)", f"{n}.squeeze()", f"{n}[...]", f"{n}[None]",
                   f"{n}[{self.index(x)}]", f"{n}.view_as({n})"]  # fmt: skip
        if not self.gradients:
            options += [f"{n}.data"]
        if d:
            options += [f"{n}.select({dim}, {r.randrange(max(size, 1))})",
                        f"{n}.narrow({dim}, {r.randint(0, size)}, {r.randint(0, size)})", f"{n}.squeeze({dim})",
                        f"{n}.expand(2, {', '.join(['-1'] * d)})", f"{n}.unfold({dim}, {r.randint(1, size + 1)}, 1)",
                        f"{n}.flatten()", f"{n}.T" if d == 2 else f"{n}.movedim(0, -1)",
                        f"{n}.chunk(2, {dim})", f"{n}.split({r.randint(1, 2)}, {dim})",
                        f"{n}.unbind({dim})"]  # fmt: skip
        if d >= 2:
            other = r.randrange(d)
            options += [f"{n}.transpose({dim}, {other})", f"{n}.permute({r.sample(range(d), d)})",
                        f"{n}.diagonal({r.randint(-1, 1)})", f"{n}.mT", f"{n}.flatten(0, 1)",
                        f"{n}.transpose({dim}, {other})"]  # fmt: skip
        total = x.numel()
        if total % 2 == 0:
            options += [f"{n}.view(2, -1)", f"{n}.reshape(-1, 2)"]
        if total:
            options += [f"{n}.as_strided(({max(total // 2, 1)},), (1,), {x.storage_offset()})"]
            if x._base is None and not x.is_contiguous():
                options.pop()
        if x.stride() != self.live.names[n].stride():
            # The result of an operator on a transposed tensor: laid out differently, which is nobody's business.
            options = [o for o in options if not re.search(r"view|reshape|flatten|as_strided", o)]
        return r.choice(options)

    def index(self, x: torch.Tensor) -> str:
        """A basic index."""
        r = self.random
        parts = []
        for n in x.shape[: r.randint(0, x.dim())]:
            kind = r.random()
            if kind < 0.4 and n:
                parts.append(str(r.randrange(-n, n) if r.random() < 0.97 else n))
            elif kind < 0.9:
                start, stop = r.choice(["", "1", "-2", "0"]), r.choice(["", "-1", "2", "3"])
                parts.append(f"{start}:{stop}{r.choice(['', '', ':2'])}")
            else:
                parts.append("None")
        if r.random() < 0.2 or not parts:
            parts.append("...")
        return ", ".join(parts)

    def writable(self, x: torch.Tensor) -> bool:
        return x.dtype != torch.bool and not (repeats(x) and self.random.random() < 0.9)

    def in_place(self) -> str | None:
        picked = self.pick(self.writable)
        if picked is None:
            return None
        n, x = picked
        if repeats(x) and not expanded(x):
            return f"{n}.fill_(2)"
        r = self.random
        o = self.apart(x, self.partner(x, x))
        options = [f"{n}.add_({o})", f"{n}.mul_({o})", f"{n}.sub_({o})", f"{n} += {o}", f"{n} *= {o}", f"{n} -= 1",
                   f"{n}.zero_()", f"{n}.fill_({self.number()})", f"{n}.clamp_(-1, 2)", f"{n}.neg_()", f"{n}.abs_()",
                   f"{n}.masked_fill_({n} > 0, {self.number()})", f"{n}.add_({o}, alpha=2)",
                   f"{n}.copy_({self.source(x)})", f"{n}.copy_({self.source(x)})", f"{n}.div_(2)"]  # fmt: skip
        if x.dtype != torch.int64:
            options += [f"{n}.tanh_()", f"{n}.sigmoid_()", f"{n}.exp_().clamp_(-4, 4)"]
        if self.gradients:
            options = [o for o in options if "+=" not in o and "-=" not in o and "*=" not in o] + [
                f"{n}.add_({o})", f"{n}.mul_({o})"
            ]  # fmt: skip
        return r.choice(options)

    def apart(self, x: torch.Tensor, o: str) -> str:
        """An operand for changing x in place; for gradients not of the same memory.

        PyTorch keeps such an operand itself, and then finds it changed; livegrad keeps the value that it had.
        """
        if self.gradients and o[0] == "t":
            if x.untyped_storage().data_ptr() == self.torch.names[o].untyped_storage().data_ptr():
                return self.number()
        return o

    def source(self, x: torch.Tensor) -> str:
        o = self.partner(x, x)
        return o if o[0] == "t" else f"T.tensor({o})"

    def assign(self) -> str | None:
        picked = self.pick(lambda x: self.writable(x) and not repeats(x))
        if picked is None:
            return None
        n, x = picked
        r = self.random
        kind = r.random()
        if kind < 0.5:
            index = self.index(x)
            try:
                window = eval(f"x[{index}]", {"x": x})
            except IndexError:
                return f"{n}[{index}] = 1.0"
            # (PyTorch mixes up a view of a leaf and a leaf in `view[...] += what requires gradients`.)
            if r.random() < 0.3 and not (self.gradients and window.shape == x.shape):
                return f"{n}[{index}] {r.choice(['+=', '*=', '-='])} {self.apart(x, self.partner(window, window))}"
            return f"{n}[{index}] = {self.partner(window, window)}"
        if kind < 0.7:
            value = self.number()
            found = self.pick(lambda y: y.dim() == 0 and y.dtype == x.dtype and not overlapping(x, y))
            if found and r.random() < 0.5:
                value = found[0]
            return f"{n}[{n} {r.choice(['>', '<', '=='])} {self.number()}] = {value}"
        if not x.dim() or not x.shape[0]:
            return None
        picked = r.sample(range(x.shape[0]), r.randint(1, x.shape[0]))
        index = f"T.tensor({picked})"
        if kind < 0.85:
            return f"{n}[{index}] {r.choice(['=', '=', '+='])} {self.number()}"
        repeated = [r.randrange(x.shape[0]) for _ in range(3)]
        dtype = str(x.dtype).split(".")[1]
        return f"{n}.index_put_((T.tensor({repeated}),), T.tensor({self.number()}, dtype=T.{dtype}), accumulate=True)"

    def numpy(self) -> str | None:
        r = self.random
        arrays = [(n, a) for n, a in self.torch.names.items() if isinstance(a, np.ndarray)]
        kind = r.random()
        if kind < 0.4 or not arrays:
            picked = self.pick()
            return None if picked is None else f"{self.new('a')} = {picked[0]}.numpy()"
        name, a = r.choice(arrays)
        if kind < 0.8 and a.size and not repeats(torch.from_numpy(a)):
            return f"{name}[...] = {r.choice(['2', f'{name} + 1', f'-{name}']) if a.dtype != bool else 'True'}"
        return f"{self.new()} = T.from_numpy({name})"

    def reading(self) -> str | None:
        picked = self.pick()
        if picked is None:
            return None
        n, x = picked
        name = self.new("r")
        options = [f"{name} = {n}.tolist()", f"print({n}, end='', file=__import__('io').StringIO())",
                   f"{name} = {n}.sum().item()", f"{name} = bool(({n} == {n}).all())"]  # fmt: skip
        if x.numel() == 1:
            options += [f"{name} = {n}.item()"] * 2
        return self.random.choice(options)

    def drop(self) -> str | None:
        picked = self.pick()
        return None if picked is None or len(self.tensors()) < 4 else f"del {picked[0]}"

    def out(self) -> str | None:
        picked = self.pick(lambda x: x.dtype == torch.float32 and not repeats(x))
        if picked is None or self.gradients:
            return None
        n, x = picked
        o = self.partner(x, x)
        if o[0] == "t" and self.torch.names[o].shape != x.shape:
            o = self.number()
        return f"T.{self.random.choice(['add', 'mul', 'sub'])}({n}, {o}, out={n})"

    def quiet(self) -> str | None:
        line = self.random.choice([self.in_place, self.assign, self.elementwise])()
        if line is None or "\n" in line:
            return None
        return f"with T.no_grad(): {line}"

    def node(self) -> str | None:
        picked = self.pick(lambda x: not x.is_leaf and x.requires_grad)
        if picked is None:
            return None
        n, _ = picked
        return self.random.choice([f"{self.new()} = {n}.detach()", f"{n}.detach_()", f"{self.new()} = {n} * {n}"])


def _close(x: Any, y: Any) -> bool:
    if isinstance(x, list):
        return isinstance(y, list) and len(x) == len(y) and all(_close(a, b) for a, b in zip(x, y))
    return type(x) is type(y) and bool(np.isclose(x, y, 1e-4, 1e-5, equal_nan=True))


def _same_node(theirs: str | None, ours: str | None) -> bool:
    """Whether two names of nodes tell the same story.

    PyTorch gives a view a new history as soon as its base is at another version, livegrad where that changed the
    base's history; the two histories are equal in effect.
    """
    return theirs == "AsStridedBackward0" or (theirs or "").rstrip("0123456789") == (ours or "").rstrip("0123456789")


def _history(x: torch.Tensor) -> Any:
    try:
        return x.grad_fn
    except RuntimeError as error:
        raise Undefined(str(error)) from None


def expanded(x: torch.Tensor) -> bool:
    return any(s == 0 and n > 1 for n, s in zip(x.shape, x.stride()))


def places(x: torch.Tensor) -> np.ndarray:
    """The place in the storage of each element."""
    at = np.full((), x.storage_offset() * x.element_size() + x.untyped_storage().data_ptr())
    for n, s in zip(x.shape, x.stride()):
        at = at[..., None] + np.arange(n) * s * x.element_size()
    return at


def repeats(x: torch.Tensor) -> bool:
    """Whether two elements of x are the same memory."""
    at = places(x)
    return len(np.unique(at)) != at.size


def overlapping(x: torch.Tensor, y: torch.Tensor) -> bool:
    """Whether x and y share memory in a way that makes writing x while reading y ambiguous."""
    a, b = places(x), places(y)
    if a.shape == b.shape and np.array_equal(a, b):
        return False
    return bool(np.intersect1d(a, b).size)
