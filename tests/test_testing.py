"""assert_close accepts and refuses what PyTorch's does."""

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
