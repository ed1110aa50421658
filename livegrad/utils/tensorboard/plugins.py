"""Entries for TensorBoard's plugins: precision-recall curves, custom charts, meshes, and the projector's files."""

import os

import numpy as np

from .images import png, to_image
from .require import proto, require
from .values import to_numpy


def _tensor(array):
    return require("tensorboard.util.tensor_util").make_tensor_proto(array)


def _value(tag, array, metadata=None):
    return proto("summary").Summary.Value(tag=tag, tensor=_tensor(array), metadata=metadata)


def tensor(tag, value):
    return _value(tag, to_numpy(value))


def pr_curve(tag, labels, predictions, num_thresholds=127, weights=None):
    """How precision and recall go with the threshold, from labels of 0 and 1 and predictions from 0 to 1."""
    labels, predictions = to_numpy(labels).reshape(-1), to_numpy(predictions).reshape(-1)
    if labels.shape != predictions.shape:
        raise ValueError(f"there must be a label for each prediction, but got {labels.size} for {predictions.size}")
    weights = np.ones(labels.shape) if weights is None else np.broadcast_to(to_numpy(weights).reshape(-1), labels.shape)
    # A prediction counts as positive at all thresholds up to its own bucket: sums from the right.
    bucket = (
        np.floor(predictions.astype(np.float64) * (num_thresholds - 1)).astype(np.int64).clip(0, num_thresholds - 1)
    )
    hits, misses = (
        np.bincount(bucket, weights * part, num_thresholds)[::-1].cumsum()[::-1]
        for part in (labels.astype(np.float64), 1.0 - labels)
    )
    tiny = 1e-7
    negatives, missed = misses[0] - misses, hits[0] - hits
    precision = hits / np.maximum(tiny, hits + misses)
    recall = hits / np.maximum(tiny, hits + missed)
    return pr_curve_raw(tag, hits, misses, negatives, missed, precision, recall, num_thresholds)


def pr_curve_raw(tag, *columns):
    """The curve from its six columns, one number for each threshold, and how many thresholds there are."""
    *columns, num_thresholds = columns
    num_thresholds = min(num_thresholds, 127)
    table = np.stack([to_numpy(c).reshape(-1) for c in columns]).astype(np.float32)
    metadata = require("tensorboard.plugins.pr_curve.metadata").create_summary_metadata("", "", num_thresholds)
    return _value(tag, table, metadata)


def custom_scalars(layout):
    """A page of charts: ``{category: {title: ["Multiline" or "Margin", tags]}}``."""
    messages, metadata = (require(f"tensorboard.plugins.custom_scalar.{m}") for m in ("layout_pb2", "metadata"))
    categories = []
    for category, charts in layout.items():
        made = []
        for title, (kind, tags) in charts.items():
            if kind == "Margin":
                if len(tags) != 3:
                    raise ValueError(
                        f"a margin chart has three tags (value, lower, upper), but {title!r} has {len(tags)}"
                    )
                series = messages.MarginChartContent.Series(value=tags[0], lower=tags[1], upper=tags[2])
                made.append(messages.Chart(title=title, margin=messages.MarginChartContent(series=[series])))
            else:
                made.append(messages.Chart(title=title, multiline=messages.MultilineChartContent(tag=tags)))
        categories.append(messages.Category(title=category, chart=made))
    content = messages.Layout(category=categories).SerializeToString()
    return proto("summary").Summary.Value(
        tag=metadata.CONFIG_SUMMARY_TAG,
        metadata=metadata.create_summary_metadata(),
        tensor=proto("tensor").TensorProto(
            dtype="DT_STRING", string_val=[content], tensor_shape=proto("tensor_shape").TensorShapeProto()
        ),
    )


def mesh(tag, vertices, colors=None, faces=None, config=None):
    """The entries of a mesh: one for its vertices, and for its faces and colours where there are any."""
    import json

    metadata = require("tensorboard.plugins.mesh.metadata")
    kinds = require("tensorboard.plugins.mesh.plugin_data_pb2").MeshPluginData
    given = [(vertices, kinds.VERTEX), (faces, kinds.FACE), (colors, kinds.COLOR)]
    given = [(to_numpy(value), kind) for value, kind in given if value is not None]
    components = metadata.get_components_bitmask([kind for _, kind in given])
    text = json.dumps(config or {}, sort_keys=True)
    return [
        _value(
            metadata.get_instance_name(tag, kind), value,
            metadata.create_summary_metadata(tag, "", kind, components, value.shape, "", json_config=text),
        )
        for value, kind in given
    ]  # fmt: skip


def embedding(directory, mat, metadata, label_img, step, tag, header):
    """Write a matrix, a row for each point, with labels and pictures, for the projector."""
    mat = to_numpy(mat)
    if mat.ndim != 2:
        raise ValueError(f"mat should be 2D, where mat.size(0) is the number of data points, but got shape {mat.shape}")
    place = os.path.join(f"{0 if step is None else int(step):05d}", tag.replace("/", "%%"))
    folder = os.path.join(directory, place)
    os.makedirs(folder, exist_ok=True)
    config = require("tensorboard.plugins.projector.projector_config_pb2").EmbeddingInfo(
        tensor_name=f"{tag}:{0 if step is None else int(step):05d}", tensor_path=os.path.join(place, "tensors.tsv")
    )
    with open(os.path.join(folder, "tensors.tsv"), "w") as file:
        file.writelines("\t".join(map(str, row)) + "\n" for row in mat.tolist())
    if metadata is not None:
        if len(metadata) != len(mat):
            raise ValueError(f"#labels should equal with #data points: {len(metadata)} labels for {len(mat)} points")
        config.metadata_path = os.path.join(place, "metadata.tsv")
        rows = [*([header] if header else []), *metadata]
        with open(os.path.join(folder, "metadata.tsv"), "w", encoding="utf-8") as file:
            file.writelines(
                (str(row) if not isinstance(row, (list, tuple)) else "\t".join(map(str, row))) + "\n" for row in rows
            )
    if label_img is not None:
        label_img = to_numpy(label_img)
        if len(label_img) != len(mat):
            raise ValueError(f"#images should equal with #data points: {len(label_img)} images for {len(mat)} points")
        config.sprite.image_path = os.path.join(place, "sprite.png")
        config.sprite.single_image_dim.extend([label_img.shape[3], label_img.shape[2]])
        with open(os.path.join(folder, "sprite.png"), "wb") as file:
            file.write(png(to_image(label_img, "NCHW")))
    return config


def write_projector_config(directory, embeddings):
    """Say which embeddings there are, in the file where the projector looks."""
    config = require("tensorboard.plugins.projector.projector_config_pb2").ProjectorConfig(embeddings=embeddings)
    with open(os.path.join(directory, "projector_config.pbtxt"), "w") as file:
        file.write(require("google.protobuf.text_format").MessageToString(config))
