"""Elementwise operators and their instructions: an operator specialised to operand kinds and dtypes.

An operator's entry is one formula. From it come the dtype rule, the instruction for each combination of operands,
the gradient operators (by differentiating the formula), the kernels and the NumPy reference.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from typing import Any, NoReturn

from .. import dtypes
from ..native import hot, slotted
from . import scalar
from .parameters import parameters
from .scalar import Expr

_ids = itertools.count(1)
BY_ID: dict[int, Instruction] = {}


@slotted
class Instruction:
    """An elementwise operator specialised to a pattern of operands and dtypes.

    pattern: a letter per argument, "t" for a tensor and "s" for a Python number.
    in_dtypes: dtype of each tensor argument. compute: dtype in which the formula is evaluated. dtype: of the result.
    relabels: whether it gives its operand in another shape of as many elements (see `RELABELS`).
    """

    __slots__ = ("id", "op", "pattern", "in_dtypes", "compute", "dtype", "rules", "rules_made", "keeps_inputs",
                 "keeps_result", "differentiable", "kept_operands", "scalar_positions", "tensor_positions",
                 "relabels", "singles")  # fmt: skip

    def __init__(self, op: ElementwiseOp, pattern: str, in_dtypes: tuple, compute: dtypes.dtype, dtype: dtypes.dtype):
        self.id = next(_ids)
        self.op = op
        self.pattern = pattern
        self.in_dtypes = in_dtypes
        self.compute = compute
        self.dtype = dtype
        self.rules: list = []
        self.differentiable = op.differentiable and dtype.category >= dtypes.FLOATING
        self.kept_operands: dict[tuple, tuple] = {}  # which operands require gradients -> which to keep
        self.rules_made = False
        self.tensor_positions = tuple(i for i, p in enumerate(pattern) if p == "t")
        self.scalar_positions = tuple(i for i, p in enumerate(pattern) if p == "s")
        self.keeps_inputs, self.keeps_result = op.keeps(pattern, compute.category == dtypes.COMPLEX)
        self.relabels = False
        self.singles: dict[tuple, Any] = {}  # how it is launched alone, by shape (`lazy.single`)
        BY_ID[self.id] = self

    def __repr__(self) -> str:
        return f"{self.op.name}[{self.pattern}]"

    def describe(self) -> tuple:
        """What identifies the instruction in every process, for the kernels kept on disk."""
        names = tuple(d.name for d in self.in_dtypes)
        return self.op.canonical(), self.pattern, names, self.compute.name, self.dtype.name

    def gradient(self, i: int) -> Any:
        """How g flows to tensor argument i: see `ElementwiseOp.gradient`, specialised to these dtypes."""
        return (self.rules if self.rules_made else self.all_rules())[i]

    def all_rules(self) -> list:
        """How g flows to each tensor argument; worked out when first needed."""
        self.rules = [self._rule(k) for k in range(len(self.tensor_positions))]
        self.rules_made = True
        return self.rules

    def _rule(self, i: int) -> Any:
        position = self.tensor_positions[i]
        rule = self.op.gradient(position, self.compute.category == dtypes.COMPLEX)
        if rule is None or self.dtype.category < dtypes.FLOATING:
            return None
        target = self.in_dtypes[i]
        if target.category < dtypes.FLOATING:
            return None
        if rule.__class__ is Refusal:
            return rule
        if rule == "g":
            return IDENTITY if target is self.dtype else CastRule(target)
        op, names = rule
        pattern, in_dtypes, tensors, scalars = "", [], [], []
        tensor_index = {p: k for k, p in enumerate(self.tensor_positions)}
        scalar_index = {p: k for k, p in enumerate(self.scalar_positions)}
        for name in names:
            if name == "g" or name == "result":
                pattern += "t"
                in_dtypes.append(self.dtype)
                tensors.append(name)
                continue
            p = self.op.names.index(name)
            if p in tensor_index:
                pattern += "t"
                in_dtypes.append(self.in_dtypes[tensor_index[p]])
                tensors.append(tensor_index[p])
            else:
                pattern += "s"
                scalars.append(scalar_index[p])
        compute = self.compute if self.compute.category >= dtypes.FLOATING else self.dtype
        return GradientRule(op.specialise(pattern, tuple(in_dtypes), compute, target), tuple(tensors), tuple(scalars))


@slotted
class GradientRule:
    """One gradient: the instruction, and where its operands come from ("g", "result" or the index of an input)."""

    __slots__ = ("instr", "tensors", "scalars", "inputs", "wants_result", "op")

    def __init__(self, instr: Instruction, tensors: tuple, scalars: tuple):
        self.instr = instr
        self.op = instr.op
        self.tensors = tensors
        self.scalars = scalars
        self.inputs = tuple(t for t in tensors if isinstance(t, int))
        self.wants_result = "result" in tensors


class CastRule:
    """The gradient is g in another dtype."""

    __slots__ = ("dtype", "inputs", "wants_result")

    def __init__(self, dtype: dtypes.dtype):
        self.dtype = dtype
        self.inputs = ()
        self.wants_result = False


class Refusal:
    """Stands for a gradient that PyTorch does not have: going backward raises. name: PyTorch's name of the operator."""

    inputs = ()
    wants_result = False

    def __init__(self, name: str):
        self.name = name

    def refuse(self) -> None:
        raise RuntimeError(f"derivative for aten::{self.name} is not implemented")


class _Identity:
    inputs = ()
    wants_result = False


IDENTITY = _Identity()


@slotted
class ElementwiseOp:
    """An elementwise operator: a formula over scalars.

    name: the operator's public name. node: name of its graph node without "Backward0".
    formula: Python function over scalars, written with the functions of `ops.scalar`.
    rule: how the result's dtype follows, one of
        "same": operands promote; "floating": the same, and integers are refused;
        "float": like "same", integers become the default float;
        "bool": operands promote for comparing, the result is bool; "bits": integers and bools only;
        "integer": integers only;
        "number": like "same" but bool is refused; "count": like "same", bools become int64;
        "complex": like "floating", and the result is the complex number whose parts have that dtype.
    aside: names of arguments that take no part in promotion (conditions, scales); the others decide.
    differentiable: whether gradients flow; else the result never requires one.
    grads: gradients that are stated instead of derived, by argument: functions of scalars whose parameters are among
    "g", the operator's arguments and "result"; or a `Refusal`. fixed: numbers that the formula has built in, to show.
    not_complex: what refuses complex operands where the formula would take them, or the words do: the error, or the
    name of PyTorch's kernel that has none.
    """

    __slots__ = ("name", "node", "formula", "names", "rule", "differentiable", "_instructions", "same_tt", "_gradients",
                 "_canonical", "_keeps", "expr", "scalar_tables", "bool_error",
                 "stated", "fixed", "aside", "updates", "not_complex")  # fmt: skip

    def __init__(
        self,
        name: str,
        formula: Any,
        *,
        names: tuple | None = None,
        rule: str = "same",
        node: str | None = None,
        differentiable: bool = True,
        bool_error: str | None = None,
        grads: dict[str, Any] | None = None,
        fixed: tuple = (),
        aside: tuple = (),
        not_complex: Exception | str | None = None,
    ):
        self.stated = grads or {}
        self.not_complex = not_complex
        self.updates: dict = {}  # dtype -> instruction, for `dispatch.update`
        self.fixed = fixed
        self.name = name
        camel = "".join(part.capitalize() for part in name.split("_"))
        self.node = node or re.sub(r"(?<=\d)[a-z]", lambda m: m[0].upper(), camel)
        self.rule = rule
        self.formula = formula
        self.differentiable = differentiable and rule not in ("bool", "bits", "integer")
        self.bool_error = bool_error
        self.names = names if names is not None else parameters(formula)
        if "g" in self.names or "result" in self.names:
            raise ValueError(
                f"operator {name}: arguments may not be called g or result, which gradients call their own"
            )
        self._instructions: dict = {}
        self._gradients: dict[tuple[int, bool], Any] = {}
        self._keeps: dict[tuple[str, bool], tuple] = {}
        if isinstance(formula, scalar.Primitive):
            formula = _over_inputs(formula, len(self.names))
        self.aside = tuple(self.names.index(n) for n in aside)
        self.expr = formula if formula.__class__ is Expr else formula(*(Expr(None, (), n) for n in self.names))
        self._canonical: str | None = None
        table = _SameDtype(self)
        self.same_tt = table
        self.scalar_tables = {c: _WithScalar(self, c) for c in (float, int, bool, complex)}
        dtypes._DEFAULT_DEPENDENT.append(self._instructions)
        dtypes._DEFAULT_DEPENDENT.append(table)
        dtypes._DEFAULT_DEPENDENT.extend(self.scalar_tables.values())

    def __repr__(self) -> str:
        return f"<operator {self.name}>"

    def __call__(self, *args: Any) -> Any:
        """Apply it to tensors and numbers, or to values and numbers, which records nothing."""
        from . import dispatch  # it depends on this module

        return dispatch.value_call(self, args) if args[0].__class__ is dispatch.Value else dispatch.call(self, args)

    def canonical(self) -> str:
        """The formula as text: one step a line, shared parts once."""
        if self._canonical is None:
            steps: list[str] = []
            numbers: dict[int, str] = {}
            for node in scalar.postorder(self.expr):
                if node.primitive is None:
                    numbers[id(node)] = f"${self.names.index(node.name)}"
                    continue
                args = ",".join(numbers[id(a)] if a.__class__ is Expr else repr(a) for a in node.args)
                numbers[id(node)] = f"%{len(steps)}"
                steps.append(f"{node.primitive.name}({args})")
            root = numbers[id(self.expr)] if self.expr.__class__ is Expr else repr(self.expr)
            self._canonical = ";".join([*steps, root])
        return self._canonical

    # --- dtypes -------------------------------------------------------------------------------------------------

    @hot
    def instruction(self, pattern: str, ranked: list[tuple[dtypes.dtype, int]]) -> Instruction:
        """The instruction for arguments given as (dtype, priority) pairs (see `dtypes.promote_operands`)."""
        key = (pattern, *ranked)
        found = self._instructions.get(key)
        if found is None:
            found = self._instructions[key] = self._specialised(pattern, ranked)
        return found

    def _specialised(self, pattern: str, ranked: list) -> Instruction:
        out, compute = self.result(self.common(ranked))
        in_dtypes = tuple(d for (d, _), p in zip(ranked, pattern) if p == "t")
        return self.specialise(pattern, in_dtypes, compute, out)

    def common(self, ranked: list) -> dtypes.dtype:
        if self.aside:
            number = max(d.category for i, (d, _) in enumerate(ranked) if i in self.aside)
            ranked = [r for i, r in enumerate(ranked) if i not in self.aside]
            common = dtypes.promote_operands(ranked)
            if number >= dtypes.FLOATING and common.category < number and self.rule != "float":
                scale = self.names[self.aside[-1]]
                if number == dtypes.COMPLEX:
                    raise RuntimeError(f"For non-complex input tensors, argument {scale} must not be a complex number.")
                raise RuntimeError(f"For integral input tensors, argument {scale} must not be a floating point number.")
        else:
            common = dtypes.promote_operands(ranked)
        if self.bool_error is not None and any(d is dtypes.bool_ for d, _ in ranked):
            two = all(d is dtypes.bool_ for d, _ in ranked)
            raise RuntimeError(self.bool_error if two else self.bool_error.replace("two bool tensors", "a bool tensor"))
        return common

    def result(self, common: dtypes.dtype) -> tuple[dtypes.dtype, dtypes.dtype]:
        """(dtype of the result, dtype to compute in)."""
        rule = self.rule
        if common.category == dtypes.COMPLEX:
            refused = rule in ("bits", "integer") or self.not_complex
            gives = None if refused else scalar.over_complex(self.expr)
            if gives is None:
                refuse(self.not_complex or f"{self.name}_cpu", common)
            return (dtypes.bool_ if rule == "bool" else common.to_real() if gives == "real" else common), common
        if rule == "count" and common is dtypes.bool_:
            return dtypes.int64, dtypes.int64
        if rule == "same" or rule == "count":
            return common, common
        if rule == "float":
            out = common if common.category == dtypes.FLOATING else dtypes.get_default_dtype()
            return out, out
        if rule == "floating" or rule == "complex":
            if common.category != dtypes.FLOATING:
                raise NotImplementedError(f"\"{self.name}\" not implemented for '{_NAMES[common]}'")
            return (common, common) if rule == "floating" else (common.to_complex(), common.to_complex())
        if rule == "bool":
            return dtypes.bool_, common
        if rule == "bits" or rule == "integer":
            if common.category == dtypes.FLOATING or (rule == "integer" and common.category == dtypes.BOOL):
                raise NotImplementedError(f"\"{self.name}\" not implemented for '{_NAMES[common]}'")
            return common, common
        if rule == "number":
            if common.category == dtypes.BOOL:
                raise NotImplementedError(f"\"{self.name}\" not implemented for 'Bool'")
            return common, common
        raise ValueError(f"unknown dtype rule {rule!r} of operator {self.name}")

    def specialise(self, pattern: str, in_dtypes: tuple, compute: dtypes.dtype, out: dtypes.dtype) -> Instruction:
        key = ("exact", pattern, in_dtypes, compute, out)
        found = self._instructions.get(key)
        if found is None:
            found = self._instructions[key] = Instruction(self, pattern, in_dtypes, compute, out)
        return found

    # --- gradients ----------------------------------------------------------------------------------------------

    @hot
    def gradient(self, i: int, over_complex: bool = False) -> Any:
        """How the gradient g of the result flows to argument i. over_complex: in complex numbers.

        None: not at all. "g": unchanged. A `Refusal`: it raises. Otherwise (operator, names): an elementwise operator
        and the names of its arguments among "g", "result" and this operator's own.
        """
        found = self._gradients.get((i, over_complex), self)
        if found is self:
            found = self._gradients[i, over_complex] = self._differentiate(i, over_complex)
        return found

    def _differentiate(self, i: int, over_complex: bool) -> Any:
        if not self.differentiable:
            return None
        g, result = Expr(None, (), "g"), Expr(None, (), "result")
        inputs = {n: Expr(None, (), n) for n in self.names}
        expr = _substitute(self.expr, inputs)
        if expr.__class__ is not Expr:
            return None
        stated = self.stated.get(self.names[i])
        if stated.__class__ is Refusal:
            return stated
        if stated is not None:
            known = {**inputs, "result": result}
            if over_complex:  # as in `scalar.differentiate`
                known = {n: scalar.conj(x) for n, x in known.items()}
            known["g"] = g
            part = stated(*(known[n] for n in parameters(stated)))
        else:
            part = scalar.differentiate(expr, [inputs[n] for n in self.names], g, result, over_complex)[i]
        if part is None:
            # The formula does not vary with it (floor, sign): the gradient is zero, and defined.
            part = scalar.mul(g, 0.0) if self.names[i] in scalar.inputs_of(expr) else None
            if part is None:
                return None
            return _ZERO, ("g",)
        if part is g:
            return "g"
        used = scalar.inputs_of(part)
        names = tuple(n for n in ("g", *self.names, "result") if n in used)
        if "g" not in names:
            names = ("g", *names)
        # As arguments of an operator that has a gradient itself, "g" and "result" need names of their own.
        formal = []
        for n in names:
            n = {"g": "grad", "result": "output"}.get(n, n)
            while n in formal:
                n += "_"
            formal.append(n)
        part = _substitute(part, {n: Expr(None, (), f) for n, f in zip(names, formal)})
        label = f"{self.name}_grad_{self.names[i]}"
        return ElementwiseOp(label, part, names=tuple(formal), node=f"{self.node}Backward"), names

    def keeps(self, pattern: str, over_complex: bool = False) -> tuple[bool, bool]:
        """Whether any gradient reads an input, and whether any reads the result."""
        found = self._keeps.get((pattern, over_complex))
        if found is None:
            inputs = result = False
            scales = [self.names[k] for k in self.aside if pattern[k] == "s"]
            for i, p in enumerate(pattern):
                rule = self.gradient(i, over_complex) if p == "t" else None
                if rule.__class__ is tuple:
                    result = result or "result" in rule[1]
                    inputs = inputs or any(n not in ("g", "result") and n not in scales for n in rule[1])
            found = self._keeps[pattern, over_complex] = (inputs, result)
        return found


class _SameDtype(dict):
    """dtype -> instruction for two tensors of that dtype (with dimensions or both without)."""

    def __init__(self, op: ElementwiseOp):
        self.op = op

    def __missing__(self, d: dtypes.dtype) -> Instruction:
        n = len(self.op.names)
        found = self[d] = self.op.instruction("t" * n, [(d, 2)] * n)
        return found


class _WithScalar(dict):
    """(pattern, dtype, whether it has dimensions) -> instruction, for a tensor and a Python number of one class."""

    def __init__(self, op: ElementwiseOp, number: type):
        self.op = op
        self.number_dtype = dtypes.given(number, "an operator")

    def __missing__(self, key: tuple) -> Instruction:
        pattern, d, has_dims = key
        scalar_dtype = self.number_dtype
        tensor = (d, 2 if has_dims else 1)
        ranked = [tensor if p == "t" else (scalar_dtype, 0) for p in pattern]
        found = self[key] = self.op.instruction(pattern, ranked)
        return found


def _over_inputs(primitive: scalar.Primitive, n: int) -> Callable:
    return lambda *xs: Expr(primitive, xs)


def _substitute(expr: Any, inputs: dict[str, Expr]) -> Any:
    """A copy of an expression with its named inputs replaced; sharing is kept."""
    made: dict[int, Any] = {}
    stack = [(expr, False)]
    while stack:
        node, done = stack.pop()
        if node.__class__ is not Expr or id(node) in made:
            continue
        if node.primitive is None:
            made[id(node)] = inputs.get(node.name, node)
        elif done:
            args = tuple(made[id(a)] if a.__class__ is Expr else a for a in node.args)
            made[id(node)] = Expr(node.primitive, args)
        else:
            stack.append((node, True))
            stack.extend((a, False) for a in node.args)
    return made[id(expr)] if expr.__class__ is Expr else expr


_NAMES = {
    dtypes.bool_: "Bool", dtypes.uint8: "Byte", dtypes.int8: "Char", dtypes.int16: "Short", dtypes.int32: "Int",
    dtypes.int64: "Long", dtypes.float16: "Half", dtypes.bfloat16: "BFloat16", dtypes.float32: "Float",
    dtypes.float64: "Double", dtypes.complex64: "ComplexFloat", dtypes.complex128: "ComplexDouble",
}  # fmt: skip
SCALAR_TYPE_NAMES = _NAMES


def type_in_c(d: dtypes.dtype) -> str:
    """What PyTorch's messages call a dtype after what C++ calls it."""
    name = {dtypes.int64: "long int", dtypes.uint8: "unsigned char", dtypes.int8: "signed char"}.get(d)
    name = name or SCALAR_TYPE_NAMES[d].lower()
    return f"c10::complex<{name[7:]}>" if d.is_complex else name


def refuse(how: Exception | str, d: dtypes.dtype) -> NoReturn:
    """Refuse operands of a dtype. how: the error, or the name of PyTorch's kernel that has no such form."""
    if isinstance(how, Exception):
        raise type(how)(*how.args)
    raise NotImplementedError(f"\"{how}\" not implemented for '{_NAMES[d]}'")


@hot
def real_only(x: Any, how: Exception | str) -> None:
    """Refuse a complex tensor (see `refuse`)."""
    if x.dtype.category == dtypes.COMPLEX:
        refuse(how, x.dtype)


_ZERO = ElementwiseOp("zero", Expr(scalar.where, (False, Expr(None, (), "x"), 0.0)), names=("x",))
CAST = ElementwiseOp("to", Expr(None, (), "x"), names=("x",), node="ToCopy")


class _Casts(dict):
    """(dtype, wanted dtype) -> instruction."""

    def __missing__(self, key: tuple) -> Instruction:
        found = self[key] = CAST.specialise("t", key[:1], key[1], key[1])
        return found


CASTS = _Casts()


def _relabel(d: dtypes.dtype) -> Instruction:
    made = ElementwiseOp("view", Expr(None, (), "x"), names=("x",)).specialise("t", (d,), d, d)
    made.relabels = True
    return made


# By dtype: the operand's elements in the same order in another shape. Nothing is computed: memory that has been written
# for the operand is this value's as well.
RELABELS = {d: _relabel(d) for d in dtypes.ALL}
