"""Collective operations in several processes, against PyTorch's and against NumPy's."""

import json

import pytest
import together


def test_every_operation_gives_what_pytorch_gives(tmp_path):
    pytest.importorskip("torch")
    ours, theirs = (
        [json.loads(text) for text in together.run("collectives", 3, tmp_path, library)]
        for library in ("livegrad", "torch")
    )
    assert len(ours) == 3
    for rank in range(3):
        assert ours[rank].keys() == theirs[rank].keys()
        for name in ours[rank]:
            assert ours[rank][name] == theirs[rank][name], (rank, name)


@pytest.mark.parametrize("size", [2, 4, 5])
def test_sums_are_right_and_the_same_everywhere(size, tmp_path):
    assert together.run("sums", size, tmp_path) == ["done\n"] * size
