"""Products of matrices."""

from __future__ import annotations

from .table import translates


@translates()
def linear(w, input, weight, bias=None):
    if input.rank == 2 and weight.rank == 2:
        return w("Gemm", input, weight, bias, transB=1)
    turned = w.transposed(weight, 0, 1, 2) if weight.rank == 2 else weight
    made = w("MatMul", input, turned)
    return made if bias is None else w("Add", made, bias)


@translates("matmul", "mm", "bmm", "mv", "dot")
def matmul(w, input, other):
    return w("MatMul", input, other)


@translates("rmatmul")
def rmatmul(w, input, other):
    return w("MatMul", other, input)


@translates("addmm", "baddbmm", "addmv")
def addmm(w, input, a, b, beta=1, alpha=1):
    made = w("MatMul", a, b)
    if alpha != 1:
        made = w("Mul", made, w.number(alpha, w.out.dtype))
    if beta == 0:
        return made
    return w("Add", made, input if beta == 1 else w("Mul", input, w.number(beta, w.out.dtype)))


@translates("outer", "ger")
def outer(w, input, vec2):
    return w("Mul", w.unsqueeze(input, 1), w.unsqueeze(vec2, 0))


@translates()
def einsum(w, equation, *operands):
    given = operands[0] if len(operands) == 1 and isinstance(operands[0], (list, tuple)) else operands
    if not isinstance(equation, str):
        raise w.refuse("only with an equation")
    return w("Einsum", *given, equation=equation.replace(" ", ""))


@translates()
def bilinear(w, input1, input2, weight, bias=None):
    made = w("Einsum", input1, weight, input2, equation="...i,oij,...j->...o")
    return made if bias is None else w("Add", made, bias)


@translates("cosine_similarity")
def cosine_similarity(w, x1, x2, dim=1, eps=1e-8):
    rank = max(x1.rank, x2.rank)
    axes = [dim % rank]
    product = w.reduced("ReduceSum", w("Mul", x1, x2), axes, False)
    norms = [w("Max", w.reduced("ReduceL2", x, axes, False), w.number(eps, x.dtype)) for x in (x1, x2)]
    return w("Div", product, w("Mul", *norms))


@translates()
def pairwise_distance(w, x1, x2, p=2.0, eps=1e-6, keepdim=False):
    if p not in (1, 2):
        raise w.refuse("only for p of 1 or 2")
    difference = w("Add", w("Sub", x1, x2), w.number(eps, x1.dtype))
    return w.reduced(f"ReduceL{int(p)}", difference, [max(x1.rank, x2.rank) - 1], keepdim)
