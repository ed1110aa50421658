"""A convolutional network on handwritten digits: MNIST, if its IDX files are in a folder, else scikit-learn's digits.

python mnist_cnn.py [--data FOLDER] [--epochs N]
"""

import argparse
import gzip
from pathlib import Path

import numpy as np

import livegrad
from livegrad import nn
from livegrad.utils.data import DataLoader, TensorDataset


def idx(folder, name):
    """The array in an IDX file, gzipped or not: two zeros, a type, the number of dimensions, the sizes, the data."""
    path = next(path for path in (folder / name, folder / f"{name}.gz") if path.exists())
    data = (gzip.open if path.suffix == ".gz" else open)(path, "rb").read()
    shape = np.frombuffer(data, ">i4", data[3], 4)
    return np.frombuffer(data, np.uint8, offset=4 + 4 * data[3]).reshape(shape)


def mnist(folder):
    """(images, digits) to train with and to test with."""
    parts = []
    for part in ("train", "t10k"):
        images, digits = idx(folder, f"{part}-images-idx3-ubyte"), idx(folder, f"{part}-labels-idx1-ubyte")
        pixels = livegrad.tensor(images).float().unsqueeze(1) / 255
        parts.append(((pixels - 0.1307) / 0.3081, livegrad.tensor(digits).long()))
    return parts


def small_digits():
    """The same from scikit-learn, 8 x 8."""
    from sklearn.datasets import load_digits

    pixels, digits = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(digits))
    x, y = livegrad.tensor(pixels[order]).float().reshape(-1, 1, 8, 8) / 16, livegrad.tensor(digits[order])
    return (x[:1437], y[:1437]), (x[1437:], y[1437:])


class Net(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 32, 3), nn.ReLU(), nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(0.25)
        )
        self.head = nn.Sequential(
            nn.Flatten(), nn.Linear(64 * ((size - 4) // 2) ** 2, 128), nn.ReLU(), nn.Dropout(0.5), nn.Linear(128, 10)
        )

    def forward(self, x):
        return self.head(self.features(x)).log_softmax(1)


parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
parser.add_argument("--data", type=Path, help="a folder with MNIST's four IDX files")
parser.add_argument("--epochs", type=int, default=10)
options = parser.parse_args()

livegrad.manual_seed(1)
found = options.data is not None and any(options.data.glob("train-images-idx3-ubyte*"))
(x_train, y_train), (x_test, y_test) = mnist(options.data) if found else small_digits()
model = Net(x_train.size(2))
optimizer = livegrad.optim.Adadelta(model.parameters(), lr=1.0)
schedule = livegrad.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.7)
loader = DataLoader(TensorDataset(x_train, y_train), batch_size=64, shuffle=True)

for epoch in range(1, options.epochs + 1):
    model.train()
    for x, y in loader:
        optimizer.zero_grad()
        loss = nn.functional.nll_loss(model(x), y)
        loss.backward()
        optimizer.step()
    schedule.step()
    model.eval()
    with livegrad.no_grad():
        right = sum((model(x).argmax(1) == y).sum().item() for x, y in zip(x_test.split(1000), y_test.split(1000)))
    print(f"epoch {epoch}: test accuracy {100 * right / len(y_test):.1f} %")
