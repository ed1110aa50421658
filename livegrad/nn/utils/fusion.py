"""Folding a batch norm that no longer learns into the layer before it."""

import copy

import livegrad

from ..parameter import Parameter

__all__ = ["fuse_conv_bn_eval", "fuse_conv_bn_weights", "fuse_linear_bn_eval", "fuse_linear_bn_weights"]


def _folded(w, b, running_mean, running_var, eps, weight, bias, axis):
    """(w, b) scaled by weight / √(var + eps) along an axis of w, and shifted to match."""
    scale = livegrad.rsqrt(running_var + eps)
    if weight is not None:
        scale = scale * weight
    shape = [1] * w.dim()
    shape[axis] = -1
    shift = -running_mean if b is None else b - running_mean
    folded = shift * scale if bias is None else shift * scale + bias
    trained = w.requires_grad
    return (
        Parameter((w * scale.reshape(shape)).detach().to(w.dtype), trained),
        Parameter(folded.detach().to(w.dtype if b is None else b.dtype), trained if b is None else b.requires_grad),
    )


def fuse_conv_bn_weights(conv_w, conv_b, bn_rm, bn_rv, bn_eps, bn_w, bn_b, transpose=False):
    """The weight and bias of a convolution that does what a convolution and a batch norm (in eval mode) do."""
    return _folded(conv_w, conv_b, bn_rm, bn_rv, bn_eps, bn_w, bn_b, 1 if transpose else 0)


def fuse_linear_bn_weights(linear_w, linear_b, bn_rm, bn_rv, bn_eps, bn_w, bn_b):
    """The weight and bias of a linear layer that does what a linear layer and a batch norm (in eval mode) do."""
    return _folded(linear_w, linear_b, bn_rm, bn_rv, bn_eps, bn_w, bn_b, 0)


def _fused(layer, norm, *options):
    if layer.training or norm.training:
        raise AssertionError("Fusion only for eval!")
    made = copy.deepcopy(layer)
    made.weight, made.bias = _folded(
        made.weight, made.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias, *options
    )
    return made


def fuse_conv_bn_eval(conv, bn, transpose=False):
    """A convolution that does what `conv` and then `bn` do, both in eval mode.

    >>> from livegrad import nn
    >>> nn.utils.fuse_conv_bn_eval(nn.Conv2d(3, 4, 3).eval(), nn.BatchNorm2d(4).eval())
    Conv2d(3, 4, kernel_size=(3, 3), stride=(1, 1))
    """
    return _fused(conv, bn, 1 if transpose else 0)


def fuse_linear_bn_eval(linear, bn):
    """A linear layer that does what `linear` and then `bn` do, both in eval mode.

    Raises AssertionError where their numbers of features differ.
    """
    if linear.out_features != bn.num_features and bn.num_features != 1:
        raise AssertionError("To fuse, linear.out_features == bn.num_features or bn.num_features == 1")
    return _fused(linear, bn, 0)
