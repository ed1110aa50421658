"""DistributedDataParallel against PyTorch's, and against training in one process."""

import json

import numpy as np
import pytest
import together


def same(a, b, bound=1e-12):
    assert a.keys() == b.keys()
    for name in a:
        if isinstance(a[name], dict):
            same(a[name], b[name], bound)
        elif a[name] is None or b[name] is None:
            assert a[name] is b[name], name
        else:
            np.testing.assert_allclose(np.array(a[name]), np.array(b[name]), rtol=bound, atol=bound, err_msg=name)


def trained(size, folder, library, *cases):
    return [json.loads(text) for text in together.run("training", size, folder, library, cases)]


def states(found, case):
    """The models of all processes have the same bits."""
    for other in found[1:]:
        assert other[case]["state"] == found[0][case]["state"]
        assert other[case]["grads"] == found[0][case]["grads"]


def test_as_pytorch(tmp_path):
    pytest.importorskip("torch")
    cases = ("plain", "small buckets", "unused", "static", "unused later")
    ours, theirs = (trained(2, tmp_path, library, *cases) for library in ("livegrad", "torch"))
    for case in cases:
        states(ours, case)
        for a, b in zip(ours, theirs):
            same(a[case], b[case])


def test_several_processes_train_as_one_does(tmp_path):
    case = "small buckets"
    one, three = trained(1, tmp_path, "livegrad", case), trained(3, tmp_path, "livegrad", case)
    states(three, case)
    same(one[0][case]["state"], three[0][case]["state"], 1e-9)
    np.testing.assert_allclose(np.mean([r[case]["losses"] for r in three], axis=0), one[0][case]["losses"], rtol=1e-9)


def test_what_is_done_over_all_processes(tmp_path):
    assert together.run("over_processes", 2, tmp_path) == ["done\n"] * 2


def test_what_is_wrong_with_a_model_is_said_in_all_processes(tmp_path):
    first, second = (json.loads(text) for text in together.run("wrong_models", 2, tmp_path))
    for case in ("shapes", "count"):
        assert first[case] == second[case] and "expects same model across all ranks" in first[case]
    assert "first.weight" in first["shapes"] and "[3, 2]" in first["shapes"] and "[4, 2]" in first["shapes"]
    for found in (first, second):
        assert "finished reduction in the prior iteration" in found["unused"] and "second.bias" in found["unused"]
