"""Convolutional networks and single convolutions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cases import case


@case(0.8)
def mnist_cnn(m: Any) -> Callable:
    """The CNN of PyTorch's MNIST example, batch 64, one Adadelta step."""
    m.manual_seed(0)
    nn = m.nn
    model = nn.Sequential(
        nn.Conv2d(1, 32, 3), nn.ReLU(), nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(0.25),
        nn.Flatten(), nn.Linear(9216, 128), nn.ReLU(), nn.Dropout(0.5), nn.Linear(128, 10), nn.LogSoftmax(1),
    )  # fmt: skip
    x, y = m.randn(64, 1, 28, 28), m.randint(0, 10, (64,))
    optimizer = m.optim.Adadelta(model.parameters(), lr=1.0)

    def step() -> float:
        optimizer.zero_grad()
        loss = nn.functional.nll_loss(model(x), y)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


@case(0.9)
def resnet_block(m: Any) -> Callable:
    """Two basic blocks of a ResNet, 64 channels, 32 images of 32 x 32, one SGD step."""
    m.manual_seed(0)
    nn = m.nn

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv1, self.bn1 = nn.Conv2d(64, 64, 3, padding=1, bias=False), nn.BatchNorm2d(64)
            self.conv2, self.bn2 = nn.Conv2d(64, 64, 3, padding=1, bias=False), nn.BatchNorm2d(64)

        def forward(self, x: Any) -> Any:
            made = self.bn1(self.conv1(x)).relu()
            return (self.bn2(self.conv2(made)) + x).relu()

    model = nn.Sequential(Block(), Block())
    x = m.randn(32, 64, 32, 32)
    optimizer = m.optim.SGD(model.parameters(), lr=0.01)

    def step() -> float:
        optimizer.zero_grad()
        loss = model(x).mean()
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def _conv(m: Any, images: int, channels: int, size: int, outputs: int, window: int, **options: Any) -> Callable:
    """One convolution layer, forward and backward."""
    layer = m.nn.Conv2d(channels, outputs, window, **options)
    x = m.randn(images, channels, size, size, requires_grad=True)
    g = m.randn(*layer(x).shape)

    def step() -> float:
        x.grad = layer.weight.grad = None
        layer(x).backward(g)
        return x.grad[0, 0, 0, 0].item() + layer.weight.grad[0, 0, 0, 0].item()

    return step


@case(1.0)
def conv_3x3(m: Any) -> Callable:
    """Convolution 64 to 64 channels, 3 x 3, 32 images of 32 x 32, forward and backward."""
    return _conv(m, 32, 64, 32, 64, 3, padding=1)


@case(1.0)
def conv_deep(m: Any) -> Callable:
    """Convolution 256 to 256 channels, 3 x 3, 16 images of 14 x 14, forward and backward."""
    return _conv(m, 16, 256, 14, 256, 3, padding=1)


@case(1.0)
def conv_1x1(m: Any) -> Callable:
    """Convolution 64 to 256 channels, 1 x 1, 16 images of 28 x 28, forward and backward."""
    return _conv(m, 16, 64, 28, 256, 1)


@case(1.0)
def conv_stem(m: Any) -> Callable:
    """Convolution 3 to 64 channels, 7 x 7, stride 2, 4 images of 224 x 224, forward and backward."""
    return _conv(m, 4, 3, 224, 64, 7, stride=2, padding=3)


@case(1.0)
def conv_depthwise(m: Any) -> Callable:
    """Depthwise convolution of 128 channels, 3 x 3, 16 images of 28 x 28, forward and backward."""
    return _conv(m, 16, 128, 28, 128, 3, padding=1, groups=128)
