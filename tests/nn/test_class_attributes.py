"""Functions that a class of modules names are called as they are: they are no methods, as PyTorch's are none."""

import livegrad
from livegrad import nn
from livegrad.nn import functional as F


def test_functions_named_by_a_class_are_no_methods():
    class Net(nn.Module):
        activation = livegrad.tanh
        convolve = livegrad.conv1d
        project = F.linear
        inverse = livegrad.linalg.inv

    class Deeper(Net):
        activation = livegrad.sigmoid

    x = livegrad.arange(4.0)
    assert Net().activation(x).tolist() == livegrad.tanh(x).tolist()
    assert Deeper().activation(x).tolist() == livegrad.sigmoid(x).tolist()
    assert Net().convolve(x.view(1, 1, 4), livegrad.ones(1, 1, 2)).tolist() == [[[1.0, 3.0, 5.0]]]
    assert Net().project(x, livegrad.ones(1, 4)).tolist() == [6.0]
    assert Net().inverse(livegrad.eye(2)).tolist() == livegrad.eye(2).tolist()
    assert Net.activation is livegrad.tanh


def test_methods_stay_methods():
    def twice(self, x):
        return self.scale * x

    class Net(nn.Module):
        scale = 2.0
        forward = twice
        again = nn.Module.extra_repr

    assert Net()(livegrad.ones(1)).tolist() == [2.0] and Net().again() == ""


def test_classes_may_have_arguments():
    class Named(nn.Module):
        def __init_subclass__(cls, /, label, **kwargs):
            super().__init_subclass__(**kwargs)
            cls.label = label

    class One(Named, label="one"):
        act = livegrad.relu

    assert One.label == "one" and One().act(livegrad.tensor(-1.0)).item() == 0.0
