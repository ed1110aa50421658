"""cuDNN's frontend, as far as it is asked for: graphs of one node over addresses, done as they are defined.

Which plans there are, and how fast or how precise they are, is cuDNN's own business and not shown by this.
"""

from __future__ import annotations

import ctypes
from types import SimpleNamespace

import ml_dtypes
import numpy as np
import stand_in

data_type = SimpleNamespace(FLOAT=np.float32, DOUBLE=np.float64, HALF=np.float16, BFLOAT16=ml_dtypes.bfloat16)
build_plan_policy = SimpleNamespace(HEURISTICS_CHOICE="one", ALL="all")
heur_mode = SimpleNamespace(A="A", FALLBACK="FALLBACK")
numerical_note = SimpleNamespace(
    NONDETERMINISTIC="nondeterministic", TENSOR_CORE="tensor core", DOWN_CONVERT_INPUTS="down convert"
)
graphs: list = []


class cudnnGraphNotSupportedError(RuntimeError):
    pass


executed: list = []
tried: list = []  # the plans that were run, where all of them were asked for
PLANS, FASTEST = 4, 2


def backend_version():
    return 91200


def create_handle():
    return SimpleNamespace(stream=None)


def set_stream(handle, stream):
    handle.stream = stream


class Tensor:
    def __init__(self, dim=None, stride=None, data_type=None, uid=None, name=""):
        self.dim, self.stride, self.type, self.uid = dim, stride, data_type, uid

    def set_output(self, wanted):
        return self

    def set_data_type(self, wanted):
        self.type = wanted
        return self

    def set_uid(self, uid):
        self.uid = uid
        return self

    def set_dim(self, dim):
        self.dim = dim
        return self

    def set_stride(self, stride):
        self.stride = stride
        return self

    def at(self, address):
        size = np.dtype(self.type).itemsize
        count = 1 + sum((n - 1) * s for n, s in zip(self.dim, self.stride))
        raw = np.frombuffer((ctypes.c_char * (count * size)).from_address(address), np.uint8).view(self.type)
        return np.lib.stride_tricks.as_strided(raw, self.dim, [s * size for s in self.stride])


class pygraph:
    def __init__(self, io_data_type, intermediate_data_type, compute_data_type, handle):
        self.done, self.without = [], []
        graphs.append(self)

    tensor = staticmethod(Tensor)

    def _node(self, kind, operands, options):
        self.kind, self.operands, self.options, self.result = kind, operands, options, Tensor()
        return self.result

    def conv_fprop(self, image, weight, **options):
        return self._node("fprop", (image, weight), options)

    def conv_dgrad(self, loss, filter, **options):
        return self._node("dgrad", (loss, filter), options)

    def conv_wgrad(self, image, loss, **options):
        return self._node("wgrad", (image, loss), options)

    def sdpa(self, name, q, k, v, generate_stats, attn_scale, use_causal_mask):
        assert generate_stats
        self.kind, self.operands, self.options = "sdpa", (q, k, v), (attn_scale, use_causal_mask)
        self.results = (Tensor(), Tensor())
        return self.results

    def sdpa_backward(self, name, q, k, v, o, dO, stats, attn_scale, use_causal_mask, use_deterministic_algorithm):
        self.kind, self.operands, self.options = "sdpa_backward", (q, k, v, o, dO, stats), (attn_scale, use_causal_mask)
        self.deterministic, self.results = use_deterministic_algorithm, (Tensor(), Tensor(), Tensor())
        return self.results

    def _attend(self, addresses):
        q, k, v, *more = (t.at(addresses[t.uid]) for t in self.operands)
        results = [t.at(addresses[t.uid]) for t in self.results]
        assert all(t.dim[-1] % 8 == 0 and t.stride[-1] == 1 for t in self.operands[:3])
        scale, causal = self.options
        q, k, v = (x.astype(np.float64) for x in (q, k, v))
        scores = q @ np.swapaxes(k, -1, -2) * scale
        if causal:
            scores[..., ~np.tril(np.ones(scores.shape[-2:], bool))] = -np.inf
        logs = np.log(np.exp(scores).sum(-1, keepdims=True))
        weights = np.exp(scores - logs)
        if self.kind == "sdpa":
            results[0][...], results[1][...] = weights @ v, logs
            return
        o, g, stats = more
        np.testing.assert_allclose(stats, logs, rtol=1e-3, atol=1e-3)
        np.testing.assert_allclose(o.astype(np.float64), weights @ v, rtol=0.05, atol=0.05)
        g = g.astype(np.float64)
        by_scores = weights * (g @ np.swapaxes(v, -1, -2) - (g * (weights @ v)).sum(-1, keepdims=True)) * scale
        results[0][...] = by_scores @ k
        results[1][...] = np.swapaxes(by_scores, -1, -2) @ q
        results[2][...] = np.swapaxes(weights, -1, -2) @ g

    def validate(self):
        if self.kind.startswith("sdpa"):
            return
        (a, b), (c,) = self.operands, (self.result,)
        image, weight, loss = {"fprop": (a, b, c), "dgrad": (c, b, a), "wgrad": (a, c, b)}[self.kind]
        o = self.options
        for n, k, m, p, q, s, d in zip(
            image.dim[2:], weight.dim[2:], loss.dim[2:], o["pre_padding"], o["post_padding"], o["stride"], o["dilation"]
        ):
            assert p >= 0 and q >= 0 and (n + p + q - (k - 1) * d - 1) // s + 1 == m
        assert (image.dim[0], weight.dim[0]) == (loss.dim[0], loss.dim[1]) and image.dim[1] % weight.dim[1] == 0
        assert len(image.dim) in (4, 5)
        self.image, self.weight, self.loss = image, weight, loss

    def build_operation_graph(self):
        self.done.append("graph")

    def create_execution_plans(self, modes):
        assert self.done == ["graph"] and modes == ["A", "FALLBACK"]

    def deselect_numeric_notes(self, notes):
        self.without = notes

    def check_support(self):
        if self.operands[0].dim[0] == 13:  # for the tests
            raise cudnnGraphNotSupportedError("no plan")

    def build_plans(self, policy="one"):
        self.done.append("plans")
        self.policy = policy

    def get_workspace_size(self):
        return 64

    def get_execution_plan_count(self):
        return PLANS

    def get_workspace_size_plan_at_index(self, index):
        return 64 * index

    def execute_plan_at_index(self, addresses, workspace, index, handle):
        """Every plan does the same; of some it is known how long they take."""
        assert self.policy == "all" and 0 <= index < PLANS
        tried.append(index)
        if index == 1:
            raise RuntimeError("a plan that could not be built")
        self.execute(addresses, workspace or 1, handle)
        stand_in.LATER[0] += 0 if index == FASTEST else 1000.0

    def execute(self, addresses, workspace, handle):
        assert self.done == ["graph", "plans"] and workspace and handle.stream is not None
        executed.append(self.kind)
        if self.kind.startswith("sdpa"):
            self._attend(addresses)
            return
        arrays = {id(t): t.at(addresses[t.uid]) for t in (*self.operands, self.result)}
        image, weight, loss = (arrays[id(t)] for t in (self.image, self.weight, self.loss))
        wide = np.float64
        groups = image.shape[1] // weight.shape[1]
        o = self.options
        pads = [(0, 0), (0, 0), *zip(o["pre_padding"], o["post_padding"])]
        padded = np.pad(image.astype(wide) if self.kind != "dgrad" else np.zeros(image.shape), pads)
        total_loss, total_weight = np.zeros(loss.shape), np.zeros(weight.shape)
        outputs, channels = weight.shape[0] // groups, weight.shape[1]
        for g in range(groups):
            o_, c_ = slice(g * outputs, (g + 1) * outputs), slice(g * channels, (g + 1) * channels)
            for place in np.ndindex(*weight.shape[2:]):
                at = tuple(
                    slice(k * d, k * d + (m - 1) * s + 1, s)
                    for k, d, m, s in zip(place, o["dilation"], loss.shape[2:], o["stride"])
                )
                tap = weight[(o_, slice(None), *place)].astype(wide)
                if self.kind == "fprop":
                    total_loss[:, o_] += np.einsum("oc,nc...->no...", tap, padded[(slice(None), c_, *at)])
                elif self.kind == "dgrad":
                    padded[(slice(None), c_, *at)] += np.einsum("oc,no...->nc...", tap, loss[:, o_].astype(wide))
                else:
                    read = padded[(slice(None), c_, *at)]
                    spatial = "xyz"[: read.ndim - 2]
                    total_weight[(o_, slice(None), *place)] += np.einsum(
                        f"nc{spatial},no{spatial}->oc", read, loss[:, o_].astype(wide)
                    )
        if self.kind == "fprop":
            loss[...] = total_loss
        elif self.kind == "dgrad":
            image[...] = padded[(..., *(slice(p, p + n) for p, n in zip(o["pre_padding"], image.shape[2:])))]
        else:
            weight[...] = total_weight
