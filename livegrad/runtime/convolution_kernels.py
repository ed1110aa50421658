"""The kernels of convolutions, and what the machine says about their tiles."""

from __future__ import annotations

from ..codegen.kernels import Kernel
from ..llvm import machine, service

ITEM_BYTES = {"f32": 4, "f64": 8}  # of the kinds that there are kernels for
SERIAL_WORK = 200_000  # multiply-adds that the calling thread does alone

_kernels: dict[tuple, Kernel] = {}


def width_of(kind: str) -> int:
    """Lanes of one vector of this machine."""
    return machine.host_vector_bytes() // ITEM_BYTES[kind]


def kernel(name: str, kind: str, *sizes: int | bool) -> Kernel:
    """The kernel of that name: of a module `codegen.conv*` or `codegen.winograd*`."""
    key = (name, kind, *sizes)
    found = _kernels.get(key)
    if found is None:
        service.load(*(f"livegrad.codegen.{m}" for m in ("conv", "conv_weight", "winograd", "winograd_weight")))
        from ..codegen import conv, conv_weight, winograd, winograd_weight

        source = {
            "forward": conv.forward_source,
            "weight": conv_weight.gradient_source,
            "order": conv_weight.order_source,
            "winograd": winograd.forward_source,
            "winograd order": winograd.weight_source,
            "winograd weight": winograd_weight.gradient_source,
            "winograd finish": winograd_weight.finish_source,
        }[name]
        found = _kernels[key] = Kernel(lambda: ("conv", *key), lambda: source(kind, *sizes), "q", 1)
    return found


def many_registers() -> bool:
    """Whether there are 32 vector registers, not 16."""
    return not machine.is_x86() or machine.host_vector_bytes() == 64


def blocks_for(outputs: int) -> tuple[int, int]:
    """(output channels, vectors) of a tile: the block that leaves the least unused."""
    choices = ((8, 3), (4, 6), (3, 6), (2, 8), (1, 8)) if many_registers() else ((4, 3), (3, 3), (2, 4), (1, 4))
    slower = {1: 2, 2: 1.15, 3: 1.05}  # small blocks have more loads for each product
    return min(choices, key=lambda c: -(-outputs // c[0]) * c[0] * slower.get(c[0], 1))
