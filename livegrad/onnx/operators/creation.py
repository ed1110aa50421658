"""Tensors whose shape depends on sizes that may change. (What depends on nothing is a constant.)"""

from __future__ import annotations

import livegrad

from ..writer import is_value
from .shapes import listed
from .table import TABLE, translates


def _filled(w, shape, value):
    return w("Expand", w.cast(value, w.out.dtype), shape)


for _name, _value in {"zeros": 0, "ones": 1}.items():
    TABLE[_name] = lambda w, *size, value=_value, **options: _filled(w, w.sizes(listed(size)), value)
    TABLE[f"new_{_name}"] = lambda w, input, *size, value=_value, **options: _filled(w, w.sizes(listed(size)), value)
    TABLE[f"{_name}_like"] = lambda w, input, value=_value, **options: _filled(w, w("Shape", input), value)


@translates()
def full(w, size, fill_value, **options):
    return _filled(w, w.sizes(list(size)), fill_value)


@translates()
def new_full(w, input, size, fill_value, **options):
    return _filled(w, w.sizes(list(size)), fill_value)


@translates()
def full_like(w, input, fill_value, **options):
    return _filled(w, w("Shape", input), fill_value)


@translates()
def arange(w, *ends, start=0, end=None, step=1, **options):
    given = [*ends]
    if len(given) == 1:
        end = given[0]
    elif given:
        start, end, step = [*given, step][:3]
    return w("Range", *(w.cast(x, w.out.dtype) for x in (start, end, step)))


@translates("tensor", "as_tensor", "scalar_tensor")
def tensor(w, data, **options):
    if is_value(data):
        return w.cast(data, w.out.dtype)
    made = w.sizes(list(data))
    made.dtype, made.shape = livegrad.int64, (len(data),)
    return w.cast(made, w.out.dtype)


@translates()
def eye(w, n, m=None, **options):
    shape = w.sizes([n, n if m is None else m])
    zeros = w("ConstantOfShape", shape)
    return w("Identity", w.cast(_of(w("EyeLike", zeros), livegrad.float32), w.out.dtype))


def _of(value, dtype):
    value.dtype = dtype
    return value
