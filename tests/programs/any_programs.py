"""Random programs over everything that autograd meets, run in livegrad and in PyTorch, line by line, and compared.

A program is a list of Python lines in which `T` is the module and `F` its `nn.functional`. It is written line by line,
looking at what PyTorch's tensors have become. At the end every variable and every gradient is compared. `shortest`
reduces a program that disagrees to the lines that matter.

Numbers are multiples of a quarter, so that ties are ties in both libraries, with zeros of both signs and denormal
numbers among them. (NaN and infinities come up by themselves; for each operator they are tests of their own, in
`test_ops_special_values.py`.) Which dtypes and shapes an operator refuses, and which of its operands and results it
keeps for the gradient, is not compared: where only one library refuses, the line is left out, or the program ends.
"""

from __future__ import annotations

import random
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import livegrad
import livegrad.nn.functional as live_functional

torch = pytest.importorskip("torch")

FLOATS = ["float32"] * 6 + ["float64"] * 3 + ["float16", "bfloat16"]
INTEGERS = ["int64", "int64", "int32", "int16", "int8", "uint8", "bool"]
SHAPES = [
    (),
    (1,),
    (3,),
    (4,),
    (2, 3),
    (3, 3),
    (1, 3),
    (3, 1),
    (2, 3, 4),
    (2, 1, 3),
    (2, 2, 4, 4),
    (0,),
    (0, 3),
    (2, 0),
]
SPECIAL = ["-0.0", "0.0", "1e-40", "-1e-7", "1024.0"]
# What both may differ by, relative to the largest number around.
TOLERANCE = {"float64": 1e-4, "float32": 1e-4, "float16": 2e-2, "bfloat16": 1e-1}

# logit: PyTorch's gradient at -0 is inf or -inf by the processor and the place in the row, so there is no -0.
UNARY = [
    "exp", "tanh", "sigmoid", "sin", "cos", "abs", "neg", "relu", "sqrt", "log1p", "log", "square", "sign", "floor", "ceil",
    "reciprocal", "erf", "round", "trunc", "frac", "rsqrt", "log2", "expm1", "atan", "sinh", "cosh", "tan", "exp2",
    "asinh", "sgn", "nan_to_num", "erfc", "isnan", "isfinite", "logical_not", "signbit", "softmax(-1)", "log_softmax(-1)",
    "float", "half", "double", "bfloat16", "long", "bool", "detach", "clone", "contiguous", "deg2rad", "positive", "add(0).logit()",
    "cumsum(0)", "square", "clamp(-1, 1)", "clamp(min=0.5)", "clamp(max=0)", "hardshrink(0.5)", "log10",
]  # fmt: skip
BINARY = [
    "add", "sub", "mul", "div", "maximum", "minimum", "pow", "atan2", "fmod", "remainder", "floor_divide",
    "hypot", "logaddexp", "logaddexp2", "fmax", "fmin", "eq", "lt", "ge", "ne", "logical_and", "logical_or",
    "isclose", "bitwise_and", "bitwise_xor", "rsub", "true_divide", "max", "min",
]  # fmt: skip
REDUCTIONS = [
    "sum({d})", "sum()", "mean({d})", "mean()", "prod({d})", "amax({d})", "amin({d})", "amax(({d},))", "var({d})",
    "std({d})", "std()", "var({d}, correction=0)", "logsumexp({d})", "cumsum({d})", "cumprod({d})", "max({d})[0]",
    "min({d}, True)[0]", "max()", "min()", "median({d})[0]", "median()", "sort({d})[0]", "sort({d}, descending=True)[0]",
    "cummax({d})[0]", "cummin({d})[0]", "norm()", "norm(2, {d})", "norm(1, {d})",
    "norm(3, {d})", "norm(float('inf'), {d})", "argmax({d})", "argmin({d})", "any({d})", "all({d})", "nansum({d})",
    "count_nonzero({d})", "flip({d})", "unbind({d})[0]", "softmax({d})", "log_softmax({d})", "sum({d}, True)",
    "mean({d}, keepdim=True)", "aminmax(dim={d})[1]",
    "max({d})[1]", "unfold({d}, 2, 1)", "roll(1, {d})", "norm(0, {d})",
    "trace()", "std({d}, keepdim=True)", "sum(dtype=T.float64)",
]  # fmt: skip
VIEWS = [
    "transpose(0, -1)", "unsqueeze({d})", "reshape(-1)", "squeeze()", "squeeze({d})", "expand(2, {e})", "flatten()",
    "narrow({d}, 0, 1)", "narrow({d}, 1, 1)", "permute({p})", "select({d}, 0)", "select({d}, -1)", "diagonal()", "view_as({x})",
    "movedim(0, -1)", "chunk(2, {d})[0]", "split(1, {d})[-1]", "unbind({d})[-1]", "swapaxes(0, -1)", "mT", "T",
    "tensor_split(2, {d})[1]", "unflatten({d}, (-1, 1))",
]  # fmt: skip
INDICES = [
    "...", "0", "-1", "None", "..., 0", "..., ::2", "1:", "..., 1:", ":, None", "{x} > 0", "T.tensor([0, -1])",
    "..., T.tensor([0, 0])", "T.tensor([True] * len({x}))", "None, ..., None", "T.tensor(0)", ":, 0", "[0, 0]",
    "T.tensor([[0], [-1]])", "..., T.tensor([], dtype=T.int64)",
]  # fmt: skip
GATHERING = [
    "{x}.index_select({d}, T.tensor([0, 0]))", "{x}.gather({d}, T.zeros_like({x}, dtype=T.int64))",
    "{x}.take(T.tensor([0, 0, -1]))", "T.cat([{x}, {y}], {d})", "T.cat([{x}, {x}, {x}], {d})", "T.stack([{x}, {y}], {d})",
    "{x}.tril()", "{x}.triu(1)", "{x}.repeat(2, {o})", "{x}.roll(1)", "{x}.masked_fill({y} > 0, {n})", "{x}.masked_select({y} > 0)",
    "{x}.index_add({d}, T.tensor([0]), {x}.narrow({d}, 0, 1))", "{x}.scatter_add({d}, T.zeros_like({x}, dtype=T.int64), {x})",
    "{x}.index_fill({d}, T.tensor([0]), {n})", "{x}.index_copy({d}, T.tensor([0]), {x}.narrow({d}, -1, 1))",
    "{x}.scatter({d}, T.zeros_like({x}, dtype=T.int64).narrow({d}, 0, 1), {n})", "{x}.repeat_interleave(2, {d})",
    "{x}.index_put((T.tensor([0, 0]),), {x}[0], accumulate=True)", "{x}.take_along_dim({x}.argsort({d}), {d})", "T.diag({x})",
    "{x}.masked_scatter({y} > 0, {x}.reshape(-1))", "T.where({x} > 0, {x}, {y})", "T.where({x} > {y}, {x}, {n})",
    "T.where({y} == 0, {n}, {x})", "{x}.clamp({y}, {z})", "{x}.clamp(min={y})", "T.lerp({x}, {y}, 0.25)", "T.lerp({x}, {y}, {z})",
    "T.addcmul({x}, {y}, {z})", "T.addcdiv({x}, {y}, {z}, value=2)", "T.add({x}, {y}, alpha=2)", "T.sub({x}, {y}, alpha=0.5)",
    "{x}.to({y}.dtype)", "T.rsub({x}, {y}, alpha=2)", "T.broadcast_tensors({x}, {y})[1]", "T.zeros_like({x})", "T.ones_like({x}) * {y}",
    "{x}.new_full((2,), {n})", "{x}.diag_embed()", "T.block_diag({x}, {x})", "T.dist({x}, {y})", "T.dist({x}, {y}, 1)",
    "T.nn.functional.pad({x}, (1, 1), value={n})", "{x}.index_reduce(0, T.tensor([0]), {x}[:1], 'amax')",
    "T.atleast_2d({x})", "T.meshgrid({x}, {x}, indexing='ij')[0]", "T.cumulative_trapezoid({x})", "T.hstack([{x}, {y}])",
]  # fmt: skip
PRODUCTS = [
    "T.matmul({x}, {y}.transpose(-1, -2))", "{x} @ {y}", "T.einsum('ij,kj->ik', {x}, {y})", "T.einsum('...i,...i->...', {x}, {y})",
    "T.outer({x}.reshape(-1), {y}.reshape(-1))", "F.linear({x}, {y})", "T.dot({x}, {y})",
    "T.bmm({x}, {y}.mT)", "T.mm({x}, {y}.T)", "T.mv({x}, {y})", "T.tensordot({x}, {y}, 1)", "T.inner({x}, {y})",
    "T.addmm({y}, {x}, {x}.mT, beta=2)", "T.cross({x}, {y}, dim=-1)", "F.conv2d({x}, {y}, padding=1)", "F.conv1d({x}, {y})",
    "F.conv2d({x}, {y}[:1], stride=2)", "T.cdist({x}, {y})", "T.linalg.norm({x})", "T.linalg.vector_norm({x}, 1, {d})",
    "T.baddbmm({x}, {x}, {x})",
]  # fmt: skip
FUNCTIONS = [
    "F.layer_norm({x}, {x}.shape[-1:], eps=0.1)", "F.rms_norm({x}, {x}.shape[-1:], eps=0.1)", "F.group_norm({x}, 1, eps=0.1)",
    "F.batch_norm({x}, None, None, training=True, eps=0.1)", "F.instance_norm({x}, eps=0.1)", "F.max_pool2d({x}, 2)",
    "F.avg_pool2d({x}, 2)", "F.adaptive_avg_pool2d({x}, 1)", "F.pad({x}, (1, 0))", "F.interpolate({x}, scale_factor=2)",
    "F.cross_entropy({x}, T.zeros({x}.shape[:1], dtype=T.int64))", "F.cross_entropy({x}, {x}.softmax(1))", "F.gelu({x})",
    "F.gelu({x}, approximate='tanh')", "F.silu({x})", "F.softplus({x})", "F.elu({x})", "F.selu({x})", "F.celu({x})", "F.mish({x})",
    "F.normalize({x}, dim={d}, eps=0.1)", "F.cosine_similarity({x}, {y}, dim={d}, eps=0.1)", "F.leaky_relu({x})", "F.hardswish({x})",
    "F.hardsigmoid({x})", "F.hardtanh({x})", "F.softsign({x})", "F.tanhshrink({x})", "F.softshrink({x})",
    "F.logsigmoid({x})", "F.threshold({x}, 0.5, 2.0)", "F.glu({x}, {d})", "F.prelu({x}, {y}.sum().reshape(1))",
    "F.binary_cross_entropy({x}.sigmoid(), {y}.sigmoid())",
    "F.nll_loss({x}, T.zeros({x}.shape[:1], dtype=T.int64))", "F.softmin({x}, dim={d})", "F.dropout({x}, 0.5, training=False)",
    "F.embedding(T.tensor([0, 0, 1]), {x})", "F.one_hot(T.tensor([0, 1]))", "F.max_pool1d({x}, 2)",
    "F.hinge_embedding_loss({x}, {y}.sign())", "F.soft_margin_loss({x}, {y}.sign())", "F.poisson_nll_loss({x}, {y})",
    "F.gaussian_nll_loss({x}, {y}, T.ones_like({y}))", "F.margin_ranking_loss({x}, {y}, {y}.sign())", "F.adaptive_max_pool2d({x}, 2)",
    "F.scaled_dot_product_attention({x}, {y}, {y})", "F.unfold({x}, 2)", "F.pixel_shuffle({x}, 2)",
]  # fmt: skip
IN_PLACE = [
    "{x}.add_({y})", "{x}.mul_({n})", "{x}.mul_({y})", "{x}.copy_({y})", "{x}.exp_()", "{x}.div_({y})", "{x}.clamp_(-1, 1)",
    "{x}.zero_()", "{x}.sub_(1)", "{x}.fill_({n})", "{x}.masked_fill_({y} > 0, {n})", "{x}.tanh_()", "{x}.relu_()", "{x}.neg_()",
    "{x}.add_({y}, alpha=2)", "{x}.pow_(2)", "{x}.t_()", "{x}.unsqueeze_(0)", "{x}.squeeze_()", "{x}.addcmul_({y}, {y})",
    "{x}.lerp_({y}, 0.5)", "{x}.index_add_(0, T.tensor([0]), {x}[:1])", "{x}.index_fill_(0, T.tensor([0]), {n})", "{x}.sqrt_()",
    "{x}.scatter_({d}, T.zeros_like({x}, dtype=T.int64), 1)", "F.relu({x}, inplace=True)", "F.leaky_relu_({x})", "{x}.abs_()",
    "{x}.sigmoid_()", "{x}.floor_()", "{x}.remainder_(2)", "{x}.cumsum_(0)", "{x}.transpose_(0, -1)", "{x}.detach_()",
    "{x}[0] = {n}", "{x}[..., 1:] += 1", "{x}[{x} > 0] = {n}", "{x}[..., -1] = {y}", "{x}[0] *= 2", "{x}[T.tensor([0, 0])] = {n}",
    "{x}[...] = {y}", "{x}[0].add_({y})", "{x}[1:] = {x}[:1]",
    "{x}.diagonal().add_(1)", "{x}.T.mul_(2)", "{x}.select(0, 0).copy_({y})", "{x}.masked_scatter_({y} > 0, {x}.detach().clone())",
    "{x}.requires_grad_(False)", "{x}.erf_()", "{x}.maximum({y}).copy_({x})", "{x}.fmod_(2)", "{x}.rsqrt_()",
    "F.hardtanh_({x})", "F.threshold_({x}, 0.5, 1.0)", "{x}.clamp_min_(0.5)", "{x}.atan2_({y})",
     "{x}.triu_()", "{x}.copysign_({y})",
]  # fmt: skip
GRADIENTS = [
    "{l}.sum().backward(retain_graph=True)", "{l}.sum().backward()", "{l}.backward(T.ones_like({l}), retain_graph=True)",
    "{r} = T.autograd.grad({l}.sum(), {v}, create_graph=True)[0]", "{r} = T.autograd.grad({l}.sum(), {v}, create_graph=True)[0]",
    "{r} = T.autograd.grad(({l} * {l}).sum(), {v}, create_graph=True, allow_unused=True)[0]", "{r} = T.autograd.grad({l}.sum(), {v})[0]",
    "{r} = T.autograd.grad({l}.sum(), {v}, retain_graph=True, allow_unused=True)[0]", "{v}.grad = None", "{l}.sum().backward(create_graph=True)",
    "{v}.grad.zero_()", "{l}.register_hook(lambda g: g * 2)", "{l}.retain_grad()", "{v}.register_hook(lambda g: g + 1)", "{l}.sum().backward(inputs=[{v}])",
    "{r} = {v}.grad", "{r} = {v}.grad * {v}", "{v}.grad.mul_(2)", "{v}.register_post_accumulate_grad_hook(lambda p: setattr(p, 'grad', p.grad * 0.5))",
    "with T.no_grad(): {v}.add_({v}.grad, alpha=-0.5)", "with T.no_grad(): {r} = {l} * 2", "with T.no_grad(): {v}.mul_(2)", "{r} = {l}.detach()",
    "{r} = {l}.detach().requires_grad_()",
    "with T.enable_grad(): {r} = {l} * {v}", "{r} = T.autograd.grad([{l}.sum(), {v}.sum()], [{v}], allow_unused=True, create_graph=True)[0]",
    "{r} = T.autograd.functional.jacobian(lambda t: t.exp() * {n}, {v})", "{r} = T.autograd.functional.vjp(lambda t: t * t, {v}, {v})[1]",
    "{r} = T.utils.checkpoint.checkpoint(lambda t: t.sin() * t, {l}, use_reentrant=False)",
]  # fmt: skip


# The errors in which both must agree.
OF_AUTOGRAD = ("a leaf Variable", "a view of a leaf", "does not require grad", "appears to not have been used",
               "can be implicitly created")  # fmt: skip


class Mismatch(AssertionError):
    """The two libraries disagree. kind: in what, for counting; lines: the program."""

    def __init__(self, kind: str, text: str, lines: list[str]):
        script = "\n".join(["import livegrad as T, livegrad.nn.functional as F  # or torch's", *lines])
        super().__init__(f"{kind}: {text}\n\n{script}\n")
        self.kind, self.text, self.lines = kind, text, lines


class World:
    """One library and the variables of a program in it."""

    def __init__(self, module: Any, functional: Any):
        self.names: dict[str, Any] = {"T": module, "F": functional, "nan": np.nan, "inf": np.inf}

    def run(self, line: str) -> Exception | None:
        try:
            exec(line, self.names)
        except Exception as error:  # noqa: BLE001 (whether a line raises is what is compared)
            return error
        return None


def plain(t: Any) -> np.ndarray:
    """The numbers of a tensor of either library, in float64."""
    return np.array(t.detach().double().tolist(), np.float64).reshape(tuple(t.shape))


def name_of(dtype: Any) -> str:
    return str(dtype).rpartition(".")[2]


class Program:
    """Writes and runs a random program, or runs one again that is given by its lines."""

    def __init__(self, seed: int = 0, length: int = 12):
        self.random = random.Random(seed)
        self.length = length
        self.theirs = World(torch, torch.nn.functional)
        self.ours = World(livegrad, live_functional)
        self.lines: list[str] = []
        self.count = 0
        self.low = False  # whether half types take part, whose rounding decides the tolerance of all that follows

    # --- running ------------------------------------------------------------------------------------------------

    def run(self, lines: list[str] | None = None) -> None:
        """Write a program and run it, or run these lines."""
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            for line in self.written() if lines is None else lines:
                if not self.step(line) or any(lost(x) for _, x in self.tensors()):
                    return
            self.compare()

    def step(self, line: str) -> bool:
        """Run a line in both; False where the program cannot go on."""
        self.lines.append(line)
        theirs, ours = self.theirs.run(line), self.ours.run(line)
        name = line.partition(" = ")[0]
        if theirs is not None and "its base or another view of its base has been modified" in str(theirs):
            return False  # PyTorch refuses to go on; livegrad still knows the history
        if (theirs is None) != (ours is None):
            if any(text in str(theirs or ours) for text in OF_AUTOGRAD):
                self.disagree("raises", line, f"PyTorch: {theirs!r}\nlivegrad: {ours!r}")
            # Which arguments an operator takes is for other tests. What was changed in place is no longer comparable.
            made = self.ours.names.pop(name, None), self.theirs.names.pop(name, None)
            return name != line and any(x is not None for x in made)
        # A backward pass that fails has got somewhere, and it is nobody's business how far.
        return theirs is None or not ("backward" in line or "grad(" in line)

    def disagree(self, kind: str, line: str, text: str) -> None:
        raise Mismatch(f"{kind} {line}", text, self.lines)

    # --- comparing ----------------------------------------------------------------------------------------------

    def compare(self) -> None:
        self.low = any("half" in x or "bfloat16" in x or "float16" in x for x in self.lines)
        made = {line.partition(" = ")[0]: line for line in self.lines}
        for name, x in list(self.theirs.names.items()):
            if not isinstance(x, torch.Tensor):
                continue
            y, line = self.ours.names.get(name), made.get(name, name)
            if not isinstance(y, livegrad.Tensor):
                self.disagree("missing", line, f"{name}: PyTorch {x}, livegrad {y!r}")
            self.compare_tensors("", line, x, y)
            # (A recorded gradient that does not depend on anything may say so here, and not there.)
            if x.requires_grad != y.requires_grad and "grad" not in line:
                self.disagree("requires_grad", line, f"{x.requires_grad}, livegrad {y.requires_grad}")
            a, b = (x.grad, y.grad) if x.is_leaf or x.retains_grad else (None, None)
            if (a is None) != (b is None):
                self.disagree("presence of gradient", line, f"PyTorch {a}, livegrad {b}")
            if a is not None:
                self.compare_tensors("gradient ", line, a, b)

    def compare_tensors(self, what: str, line: str, x: Any, y: Any) -> None:
        if name_of(x.dtype) != name_of(y.dtype):
            self.disagree(what + "dtype", line, f"PyTorch {x.dtype}, livegrad {y.dtype}")
        if tuple(x.shape) != tuple(y.shape):
            self.disagree(what + "shape", line, f"PyTorch {tuple(x.shape)}, livegrad {tuple(y.shape)}")
        a, b = plain(x), plain(y)
        tolerance = TOLERANCE["bfloat16"] if self.low else TOLERANCE.get(name_of(x.dtype), 0.0)
        scale = np.abs(a[np.isfinite(a)]).max(initial=1.0)
        if not np.allclose(b, a, tolerance, tolerance * scale, equal_nan=True):
            self.disagree(what + "values", line, f"\nPyTorch {x}\nlivegrad {y}")

    # --- writing ------------------------------------------------------------------------------------------------

    def written(self) -> Iterator[str]:
        for _ in range(self.random.randint(2, 3)):
            yield self.leaf()
        for _ in range(self.length):
            line = self.line()
            if line is not None:
                yield line
        # A loss of everything that is connected, weighted so that nothing cancels.
        connected = [name for name, x in self.tensors() if x.requires_grad]
        yield "loss = T.zeros((), dtype=T.float64, requires_grad=True)"
        for k, name in enumerate(connected):
            yield f"loss = loss + {name}.double().sum() * {k % 3 + 0.5}"
        yield "loss.backward()"

    def new(self) -> str:
        self.count += 1
        return f"t{self.count}"

    def tensors(self) -> list[tuple[str, Any]]:
        return [(n, x) for n, x in self.theirs.names.items() if isinstance(x, torch.Tensor)]

    def leaf(self) -> str:
        r = self.random
        if self.count and r.random() < 0.6:
            shape = tuple(r.choice(self.tensors())[1].shape)
        else:
            shape = r.choice(SHAPES)
        n = int(np.prod(shape))
        floating = r.random() < 0.85
        dtype = r.choice(FLOATS if floating else INTEGERS)
        if floating:
            values = [r.choice(SPECIAL) if r.random() < 0.02 else str(r.randint(-8, 8) / 4) for _ in range(n)]
        else:
            low = 0 if dtype in ("uint8", "bool") else -3
            values = [str(r.randint(low, 3)) for _ in range(n)]
        made = f"{self.new()} = T.tensor([{', '.join(values)}], dtype=T.{dtype}).reshape({shape}).clone()"
        if floating and r.random() < 0.75:
            made += ".requires_grad_()"
        elif r.random() < 0.3:
            made += ".T" if len(shape) == 2 else "[..., ::2]" if shape else ""
        return made

    def line(self) -> str | None:
        r = self.random
        kind = r.choices(
            ["unary", "binary", "number", "reduction", "view", "index", "gathering", "product", "function", "in place",
             "gradient", "leaf"],
            [4, 6, 3, 5, 4, 3, 4, 3, 3, 5, 5, 1],
        )[0]  # fmt: skip
        if kind == "leaf":
            return self.leaf()
        tensors = self.tensors()
        x, value = self.random.choices(tensors, [2 + k for k in range(len(tensors))])[0]
        y, z = self.partner(value), self.partner(value)
        d, n = r.choice([-1, -1, 0, 0, 1, -2]), r.choice(["2", "0.5", "-1", "3", "1.5", "0", "True", "-2", "0.25"])
        if kind == "gradient":
            return self.gradient(x, n)
        result = f"{self.new()} = "
        fill = {
            "x": x, "y": y, "z": z, "d": d, "n": n, "e": ", ".join(["-1"] * value.dim()),
            "o": ", ".join(["1"] * value.dim()), "p": ", ".join(map(str, r.sample(range(value.dim()), value.dim()))) or "()",
        }  # fmt: skip
        if kind == "unary":
            call = r.choice(UNARY)
            return f"{result}{x}.{call}" + ("" if call.endswith(")") else "()")
        if kind == "binary":
            return f"{result}T.{r.choice(BINARY)}({x}, {y})"
        if kind == "number":
            sign = r.choice(["+", "-", "*", "/", "**", ">", "//", "%", "=="])
            return result + r.choice([f"{x} {sign} {n}", f"{n} {sign} {x}"])
        if kind == "index":
            return f"{result}{x}[{r.choice(INDICES).format(**fill)}]"
        if kind in ("reduction", "view"):
            return f"{result}{x}.{r.choice(REDUCTIONS if kind == 'reduction' else VIEWS).format(**fill)}"
        if kind == "in place":
            return r.choice(IN_PLACE).format(**fill)
        return result + r.choice({"gathering": GATHERING, "product": PRODUCTS, "function": FUNCTIONS}[kind]).format(
            **fill
        )

    def partner(self, x: Any) -> str:
        """A tensor that broadcasts with x, most of the time."""

        def fits(y: Any) -> bool:
            try:
                return torch.broadcast_shapes(x.shape, y.shape) == x.shape
            except RuntimeError:
                return False

        names = [n for n, _ in self.tensors()]
        fitting = [n for n, y in self.tensors() if fits(y)]
        return self.random.choice(fitting if fitting and self.random.random() < 0.95 else names)

    def gradient(self, x: str, n: str) -> str | None:
        connected = [k for k, t in self.tensors() if t.requires_grad]
        leaves = [k for k, t in self.tensors() if t.requires_grad and t.is_leaf]
        if not connected or not leaves:
            return None
        l, v = self.random.choice(connected[-4:]), self.random.choice(leaves)  # noqa: E741
        if self.random.random() < 0.2:
            v = self.random.choice(connected)
        form = self.random.choice(GRADIENTS)
        return form.format(l=l, v=v, n=n, r=self.new() if "{r}" in form else "")


def lost(x: Any) -> bool:
    """Whether PyTorch has lost the history of a tensor, a view among several of a base that was changed in place."""
    try:
        return x.grad_fn is x
    except RuntimeError:
        return True


def shortest(lines: list[str], kind: str) -> Mismatch:
    """The same disagreement with as few lines as possible."""

    def disagreement(lines: list[str]) -> Mismatch | None:
        try:
            Program().run(lines)
        except Mismatch as found:
            return found if found.kind.split()[0] == kind.split()[0] else None
        return None

    best = disagreement(lines)
    assert best is not None
    k = 0
    while k < len(lines):
        fewer = lines[:k] + lines[k + 1 :]
        found = disagreement(fewer)
        if found is not None:
            best, lines = found, fewer
        else:
            k += 1
    return best
