"""The sums of a convolution stay in registers: a way through memory in the innermost loop costs half of the speed."""

import itertools
import re

import pytest

from livegrad.codegen import conv, conv_weight, winograd, winograd_weight
from livegrad.llvm import machine
from livegrad.runtime import convolution_kernels

pytestmark = pytest.mark.skipif(
    not (machine.compiler_available() and machine.is_x86() and machine.host_has_fma()),
    reason="reads the assembly of x86 with fused multiply-adds",
)


def _innermost(text, least):
    """The blocks of a module's assembly that have at least so many multiply-adds."""
    llvm = machine._llvm()
    target = machine._target_machine()
    module = llvm.parse_assembly(text, context=llvm.create_context())
    module.triple, module.data_layout = target.triple, str(target.target_data)
    machine._optimise(llvm, module, target)
    blocks = re.split(r"\n\.L\w+:", target.emit_assembly(module))
    return [b for b in blocks if len(re.findall("vfn?madd", b)) >= least]


def _through_memory(block):
    return [line for line in block.splitlines() if re.search(r"[xyz]mm\d", line) and re.search(r"\(%rsp\)", line)]


@pytest.mark.parametrize("kind", ["f32", "f64"])
@pytest.mark.parametrize("outputs", [1, 2, 3, 64])
def test_sums_of_a_tile_stay_in_registers(kind, outputs):
    block, vectors = convolution_kernels.blocks_for(outputs)
    for packed, in_place in itertools.product((False, True), (False, True) if block >= 4 else (False,)):
        if in_place and not packed and not convolution_kernels.many_registers():
            continue
        text = conv.forward_source(kind, block, vectors, packed, in_place)
        found = _innermost(text, conv.UNROLLED * block * vectors)
        assert found
        assert [_through_memory(b) for b in found] == [[]] * len(found)


@pytest.mark.parametrize("kind", ["f32", "f64"])
def test_sums_of_the_gradient_by_the_weight_stay_in_registers(kind):
    width = machine.host_vector_bytes() // (4 if kind == "f32" else 8)
    across = 12 if convolution_kernels.many_registers() else 6
    found = _innermost(conv_weight.gradient_source(kind, 2 * width, across, True), 2 * across)
    assert found
    assert [_through_memory(b) for b in found] == [[]] * len(found)


@pytest.mark.parametrize("kind", ["f32", "f64"])
def test_sums_of_products_of_tiles_stay_in_registers(kind):
    width = machine.host_vector_bytes() // (4 if kind == "f32" else 8)
    if width * (4 if kind == "f32" else 8) < 32:
        pytest.skip("vectors of 32 bytes are needed")
    block, vectors = convolution_kernels.blocks_for(64)
    across = 8 if convolution_kernels.many_registers() else 6
    for text, least in (
        (winograd.forward_source(kind, block, vectors), conv.UNROLLED * block * vectors),
        (winograd_weight.gradient_source(kind, 3, across), 2 * across),
    ):
        found = _innermost(text, least)
        assert found
        assert [_through_memory(b) for b in found] == [[]] * len(found)
