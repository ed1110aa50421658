"""The protocol buffers of each kind of entry."""

import functools
import time

import numpy as np

from .images import png
from .require import proto, require
from .values import to_number, to_numpy


def summary(*values):
    return proto("event").Event(summary=proto("summary").Summary(value=values))


def scalar(tag, value, new_style=False, double_precision=False, display_name="", description=""):
    metadata = None
    if new_style or display_name or description:
        metadata = require("tensorboard.plugins.scalar.metadata").create_summary_metadata(display_name, description)
    value = to_number(value)
    if not (new_style or double_precision):
        return proto("summary").Summary.Value(tag=tag, simple_value=value, metadata=metadata)
    metadata = metadata or require("tensorboard.plugins.scalar.metadata").create_summary_metadata("", "")
    dtype = np.float64 if double_precision else np.float32
    tensor = require("tensorboard.util.tensor_util").make_tensor_proto(np.asarray(value, dtype))
    return proto("summary").Summary.Value(tag=tag, tensor=tensor, metadata=metadata)


@functools.cache
def _default_edges():
    """Edges whose width grows with the distance from zero, by a tenth each: TensorFlow's choice."""
    positive = 1e-12 * 1.1 ** np.arange(774)
    return np.concatenate([-positive[::-1], [0.0], positive])


def histogram(tag, values, bins="tensorflow", max_bins=None):
    values = to_numpy(values).astype(np.float64).reshape(-1)
    values = values[np.isfinite(values)]
    if values.size == 0:
        raise ValueError(f"the histogram {tag!r} has no finite value to count")
    is_default = isinstance(bins, str) and bins == "tensorflow"
    counts, edges = np.histogram(values, bins=_default_edges() if is_default else bins)
    if max_bins is not None and len(counts) > max_bins:
        every = -(-len(counts) // max_bins)
        counts = np.add.reduceat(counts, np.arange(0, len(counts), every))
        edges = np.append(edges[:-1:every], edges[-1])
    used = np.flatnonzero(counts)
    first, last = (used[0], used[-1] + 1) if used.size else (0, len(counts))
    # A bucket is given by its right edge only, so an empty one in front says where the first one begins.
    proto_value = proto("histogram").HistogramProto(
        min=values.min(),
        max=values.max(),
        num=values.size,
        sum=values.sum(),
        sum_squares=np.square(values).sum(),
        bucket_limit=edges[first : last + 1].tolist(),
        bucket=[0.0, *counts[first:last].tolist()],
    )
    return proto("summary").Summary.Value(tag=tag, histo=proto_value)


def counted(tag, low, high, num, total, total_squares, limits, counts):
    """A histogram from its numbers; buckets are given by their right edges."""
    limits, counts = (to_numpy(x).reshape(-1).tolist() for x in (limits, counts))
    if len(limits) != len(counts):
        raise ValueError(f"len(bucket_limits) != len(bucket_counts): {len(limits)} limits for {len(counts)} counts")
    numbers = {"min": low, "max": high, "num": num, "sum": total, "sum_squares": total_squares}
    value = proto("histogram").HistogramProto(
        **{name: to_number(x) for name, x in numbers.items()}, bucket_limit=limits, bucket=counts
    )
    return proto("summary").Summary.Value(tag=tag, histo=value)


def image(tag, pixels):
    height, width, channels = pixels.shape
    value = proto("summary").Summary.Image(height=height, width=width, colorspace=channels)
    value.encoded_image_string = png(pixels)
    return proto("summary").Summary.Value(tag=tag, image=value)


def text(tag, content):
    metadata = require("tensorboard.plugins.text.metadata").create_summary_metadata(display_name="", description="")
    tensor = proto("tensor").TensorProto(
        dtype="DT_STRING",
        string_val=[content.encode()],
        tensor_shape=proto("tensor_shape").TensorShapeProto(dim=[{"size": 1}]),
    )
    return proto("summary").Summary.Value(tag=f"{tag}/text_summary", metadata=metadata, tensor=tensor)


def hparams(values, metrics, domains=None):
    """The three entries of a run with hyperparameters: the experiment, its start and its end."""
    api = require("tensorboard.plugins.hparams.api_pb2")
    metadata = require("tensorboard.plugins.hparams.metadata")
    data = require("tensorboard.plugins.hparams.plugin_data_pb2")
    values = {name: _hparam(name, value) for name, value in values.items()}
    start = data.SessionStartInfo(start_time_secs=time.time())
    infos = []
    for name, value in values.items():
        kind, field = _HPARAM_KINDS[type(value)]
        setattr(start.hparams[name], field, value)
        info = api.HParamInfo(name=name, type=api.DataType.Value(kind))
        for option in (domains or {}).get(name, ()):
            setattr(info.domain_discrete.values.add(), field, _hparam(name, option))
        infos.append(info)
    metric_infos = [api.MetricInfo(name=api.MetricName(tag=tag)) for tag in metrics]
    experiment = api.Experiment(hparam_infos=infos, metric_infos=metric_infos, time_created_secs=time.time())
    end = data.SessionEndInfo(status=api.Status.Value("STATUS_SUCCESS"), end_time_secs=time.time())
    entries = [
        (metadata.EXPERIMENT_TAG, data.HParamsPluginData(experiment=experiment)),
        (metadata.SESSION_START_INFO_TAG, data.HParamsPluginData(session_start_info=start)),
        (metadata.SESSION_END_INFO_TAG, data.HParamsPluginData(session_end_info=end)),
    ]
    make, null = metadata.create_summary_metadata, metadata.NULL_TENSOR
    return [proto("summary").Summary.Value(tag=tag, metadata=make(content), tensor=null) for tag, content in entries]


_HPARAM_KINDS = {
    bool: ("DATA_TYPE_BOOL", "bool_value"),
    float: ("DATA_TYPE_FLOAT64", "number_value"),
    str: ("DATA_TYPE_STRING", "string_value"),
}


def _hparam(name, value):
    if isinstance(value, (bool, str)):
        return value
    if isinstance(value, (int, float)) or hasattr(value, "item"):
        return to_number(value)
    kind = type(value).__name__
    raise ValueError(f"the hyperparameter {name!r} must be a bool, number, str or tensor, but is {kind}")
