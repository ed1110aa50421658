"""autograd.functional, compared with PyTorch."""

import pytest
from both import same


def at(t):
    return t.tensor([[0.5, -1.0], [2.0, 0.3]]), t.tensor([1.5, -0.5])


PROGRAMS = {
    "jacobian": lambda F, a, b: F.jacobian(lambda x: x.sin() * x, a),
    "jacobian of several": lambda F, a, b: F.jacobian(lambda x, y: (x @ y, x.sum()), (a, b)),
    "jacobian of what is unused": lambda F, a, b: F.jacobian(lambda x, y: y * 2, (a, b)),
    "hessian": lambda F, a, b: F.hessian(lambda x: (x**3).sum(), b),
    "hessian of several": lambda F, a, b: F.hessian(lambda x, y: ((x @ y) ** 2).sum(), (a, b)),
    "vjp": lambda F, a, b: F.vjp(lambda x: x @ b, a, b),
    "jvp": lambda F, a, b: F.jvp(lambda x: (x @ x).exp(), a, a),
    "vhp": lambda F, a, b: F.vhp(lambda x: (x**3).sum(), b, b * 2),
    "hvp": lambda F, a, b: F.hvp(lambda x: (x**3).prod(), b, b * 2),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_same(name):
    same(lambda t: PROGRAMS[name](t.autograd.functional, *at(t)))


def test_through_a_jacobian():
    def program(t):
        x = t.tensor([0.5, -1.0], requires_grad=True)
        t.autograd.functional.jacobian(lambda y: y.sin() * y, x, create_graph=True).sum().backward()
        return x.grad

    same(program)
