"""assert_close accepts and refuses what PyTorch's does."""

import math

import pytest

import livegrad

torch = pytest.importorskip("torch", reason="compares with PyTorch, which is not installed")

CASES = [
    ("m.tensor([1.0])", "m.tensor([1.0 + 1e-7])", {}),
    ("m.tensor([1.0, 2.0])", "m.tensor([1.0, 2.1])", {}),
    ("m.tensor([1.0, 2.0])", "m.tensor([1.0, 2.1])", {"rtol": 0.1, "atol": 0}),
    ("m.tensor(1.0)", "m.tensor(1.1)", {}),
    ("m.tensor([1.0])", "m.tensor([1.0]).double()", {}),
    ("m.tensor([1.0])", "m.tensor([1.0]).double()", {"check_dtype": False}),
    ("m.tensor([1.0])", "m.tensor([[1.0]])", {}),
    ("m.tensor([1, 2])", "m.tensor([1, 2])", {}),
    ("m.tensor([1, 2])", "m.tensor([1, 3])", {}),
    ("m.tensor([float('nan')])", "m.tensor([float('nan')])", {}),
    ("m.tensor([float('nan')])", "m.tensor([float('nan')])", {"equal_nan": True}),
    ("m.tensor([float('inf')])", "m.tensor([float('inf')])", {}),
    ("[m.tensor([1.0]), m.tensor([2.0])]", "[m.tensor([1.0]), m.tensor([2.5])]", {}),
    ("[m.tensor([1.0])]", "[m.tensor([1.0])] * 2", {}),
    ("{'a': m.tensor([1.0])}", "{'a': m.tensor([1.0])}", {}),
    ("{'a': m.tensor([1.0])}", "{'b': m.tensor([1.0])}", {}),
    ("1.0", "1.0 + 1e-9", {}),
    ("1", "2", {}),
    ("m.tensor([1.0], dtype=m.float16)", "m.tensor([1.0005], dtype=m.float16)", {}),
]


@pytest.mark.parametrize(("a", "b", "options"), CASES)
def test_verdicts(a, b, options):
    found = []
    for m in (livegrad, torch):
        try:
            m.testing.assert_close(eval(a), eval(b), **options)
            found.append("")
        except AssertionError as error:
            found.append(str(error).splitlines()[0])
    assert bool(found[0]) == bool(found[1])
    if "keys" not in found[0]:
        assert found[0] == found[1].replace("object mode", "")


def test_message():
    with pytest.raises(AssertionError, match="mine"):
        livegrad.testing.assert_close(1.0, 2.0, msg="mine")
    with pytest.raises(AssertionError, match="before: Scalars are not close"):
        livegrad.testing.assert_close(1.0, 2.0, msg=lambda text: "before: " + text)
    with pytest.raises(AssertionError, match=r"Mismatched elements: 1 / 2 \(50.0%\)"):
        livegrad.testing.assert_close(livegrad.tensor([1.0, 2.0]), livegrad.tensor([1.0, 3.0]))
    with pytest.raises(ValueError, match="both rtol and atol"):
        livegrad.testing.assert_close(1.0, 1.0, rtol=0.1)
    with pytest.raises(TypeError, match="No comparison pair"):
        livegrad.testing.assert_close("a", 1.0)


@pytest.mark.parametrize("options", [
    {"dtype": "float32"}, {"dtype": "float64", "low": 2, "high": 2.5}, {"dtype": "bfloat16"}, {"dtype": "uint8"},
    {"dtype": "int64", "low": -3.5, "high": 2.5}, {"dtype": "bool", "exclude_zero": True}, {"dtype": "complex64"},
    {"dtype": "float32", "noncontiguous": True}, {"dtype": "float32", "low": -3e38, "high": 3e38},
    {"dtype": "int8", "low": 100, "high": 1000},
])  # fmt: skip
def test_make_tensor_draws_what_pytorch_draws(options):
    options = dict(options)
    name = options.pop("dtype")
    made = []
    for m in (livegrad, torch):
        m.manual_seed(3)
        made.append(m.testing.make_tensor((5, 6), dtype=getattr(m, name), device="cpu", **options))
    assert made[0].stride() == made[1].stride()
    assert made[0].tolist() == made[1].tolist()


@pytest.mark.parametrize("options", [
    {"low": 2.0, "high": 1.0}, {"low": math.nan}, {"noncontiguous": True, "memory_format": "contiguous_format"},
    {"dtype": "int32", "requires_grad": True}, {"dtype": "uint8", "low": 256, "high": 300},
])  # fmt: skip
def test_make_tensor_refuses(options):
    texts = []
    for m in (livegrad, torch):
        given = {k: getattr(m, v) if isinstance(v, str) else v for k, v in {"dtype": "float32", **options}.items()}
        with pytest.raises(ValueError) as error:
            m.testing.make_tensor(2, 2, device="cpu", **given)
        texts.append(str(error.value))
    assert texts[0] == texts[1]
