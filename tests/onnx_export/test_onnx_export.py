"""`onnx.export`: names, sizes that change, files, what is refused."""

import io

import pytest

import livegrad
from livegrad import nn
from livegrad.onnx import OnnxExporterError, export

onnx = pytest.importorskip("onnx", reason="the extra `onnx` is not installed")


def net():
    livegrad.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.Dropout(), nn.Flatten(), nn.Linear(8, 3))


def test_names_and_dynamic_axes():
    model = net()
    made = export(
        model, livegrad.rand(2, 1, 4, 4), None, input_names=["image"], output_names=["scores"],
        dynamic_axes={"image": {0: "batch"}, "scores": {0: "batch"}},
    )  # fmt: skip
    (image,), (scores,) = made.model_proto.graph.input, made.model_proto.graph.output
    assert image.name == "image" and scores.name == "scores"
    assert [d.dim_param or d.dim_value for d in image.type.tensor_type.shape.dim] == ["batch", 1, 4, 4]
    assert {i.name for i in made.model_proto.graph.initializer} >= {"0.weight", "1.running_mean", "5.bias"}
    x = livegrad.rand(5, 1, 4, 4)
    assert model.training and model[0].training
    livegrad.testing.assert_close(made(x)[0], model.eval()(x).detach())
    made = export(model, (livegrad.rand(2, 1, 4, 4),), input_names=["x"], dynamic_axes={"x": [0]})
    assert made.model_proto.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "x_dim_0"


def test_files(tmp_path):
    model, x = net().eval(), livegrad.rand(2, 1, 4, 4)
    made = export(model, (x,), tmp_path / "net.onnx", verify=True)
    onnx.checker.check_model(str(tmp_path / "net.onnx"), full_check=True)
    file = io.BytesIO()
    export(model, (x,), file)
    assert onnx.load_from_string(file.getvalue()).graph.name == onnx.load(str(tmp_path / "net.onnx")).graph.name
    large = export(nn.Linear(64, 64), (livegrad.rand(1, 64),))
    large.save(tmp_path / "large.onnx", external_data=True)
    assert (tmp_path / "large.onnx.data").stat().st_size >= 64 * 64 * 4
    assert len(onnx.load(str(tmp_path / "large.onnx")).graph.initializer) == 2
    with pytest.raises(ValueError, match="expected 1 tensors"):
        made(x, x)


def test_every_node_names_its_line():
    made = export(net(), (livegrad.rand(2, 1, 4, 4),))
    sites = {p.value for node in made.model_proto.graph.node for p in node.metadata_props}
    assert sites and all("test_onnx_export.py" in s or "modules" in s for s in sites)


def test_an_exported_program_and_one_from_a_file():
    model, x = net().eval(), livegrad.rand(2, 1, 4, 4)
    program = livegrad.export.export(model, (x,), dynamic_shapes=({0: livegrad.export.Dim("n")},))
    file = io.BytesIO()
    livegrad.export.save(program, file)
    file.seek(0)
    for each in (program, livegrad.export.load(file)):
        y = livegrad.rand(3, 1, 4, 4)
        livegrad.testing.assert_close(export(each)(y)[0], model(y).detach())


class Model(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, *args, **kwargs):
        return self.function(*args, **kwargs)


def test_nested_inputs_numbers_and_results():
    model = Model(lambda x, pair, scale=1.0: {"a": x * scale, "b": [pair[0] + pair[1], None]})
    x = livegrad.rand(2, 3)
    made = export(model, (x, (x, x)), kwargs={"scale": 2.0}, input_names=["x", "p", "q"])
    assert [i.name for i in made.model_proto.graph.input] == ["x", "p", "q"]
    a, b = made(x, (x, x), scale=2.0)
    assert (a == x * 2).all() and (b == x + x).all()


@pytest.mark.parametrize("function, text", [
    (lambda x: livegrad.fft.fft(x).real, "fft.fft has no translation.*test_onnx_export.py"),
    (lambda x: x.cummax(0)[0], "Tensor.cummax has no translation.*test_onnx_export.py"),
    (lambda x: nn.functional.dropout(x, 0.5, True), "dropout has no translation.*evaluation mode.*test_onnx_export.py"),
    (lambda x: x + livegrad.rand(3), "rand has no translation.*test_onnx_export.py"),
    (lambda x: nn.functional.max_pool1d(x[None], 2, return_indices=True)[1], "indices of maxima"),
    (lambda x: (y := x.clone(), y[0].add_(1), y + 1)[2], "changes memory that.*test_onnx_export.py"),
])  # fmt: skip
def test_what_has_no_translation(function, text):
    with pytest.raises(OnnxExporterError, match=text):
        export(Model(function), (livegrad.rand(2, 3),))


def test_a_size_that_has_to_stay():
    with pytest.raises(OnnxExporterError, match="size of dimension 0.*may change.*test_onnx_export.py"):
        export(Model(lambda x: x.var(0)), (livegrad.rand(4, 3),), input_names=["x"], dynamic_axes={"x": [0]})
    with pytest.raises(livegrad.export.ExportError, match="something else.*test_onnx_export.py"):
        export(Model(lambda x: x.unbind(0)[-1] * 2), (livegrad.rand(4, 3),), input_names=["x"], dynamic_axes={"x": [0]})


def test_a_translation_of_ones_own():
    def cummax(w, input, dim):
        return (w("Identity", input), w("Identity", input))

    program = Model(lambda x: x.cummax(0)[0])
    made = export(program, (livegrad.rand(2, 3),), custom_translation_table={livegrad.cummax: cummax})
    assert "Identity" in {n.op_type for n in made.model_proto.graph.node}


def test_arguments():
    with pytest.raises(ValueError, match="17 or newer"):
        export(net(), (livegrad.rand(2, 1, 4, 4),), opset_version=11)
    with pytest.raises(TypeError, match="module or an exported program"):
        export(lambda x: x, (livegrad.rand(2),))


def test_is_in_onnx_export():
    seen = []
    export(Model(lambda x: (seen.append(livegrad.onnx.is_in_onnx_export()), x * 2)[1]), (livegrad.rand(2),))
    assert all(seen) and not livegrad.onnx.is_in_onnx_export()


def test_the_same_numbers_as_pytorchs_model():
    torch = pytest.importorskip("torch")
    model = net().eval()
    theirs = torch.nn.Sequential(
        torch.nn.Conv2d(1, 2, 3), torch.nn.BatchNorm2d(2), torch.nn.ReLU(), torch.nn.Dropout(), torch.nn.Flatten(),
        torch.nn.Linear(8, 3),
    ).eval()  # fmt: skip
    theirs.load_state_dict({k: torch.tensor(v.tolist()) for k, v in model.state_dict().items()})
    x = livegrad.rand(2, 1, 4, 4)
    mine = export(model, (x,))(x)[0]
    assert abs(mine.numpy() - theirs(torch.tensor(x.numpy())).detach().numpy()).max() < 1e-5
