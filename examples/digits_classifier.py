"""Handwritten digits: train, test, save, load. Needs scikit-learn for the data."""

import sys
import tempfile
from pathlib import Path

from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import livegrad
from livegrad import nn
from livegrad.utils.data import DataLoader, TensorDataset

livegrad.manual_seed(0)
pixels, digits = load_digits(return_X_y=True)
parts = train_test_split(pixels / 16, digits, test_size=0.2, random_state=0, stratify=digits)
x_train, x_test, y_train, y_test = (livegrad.tensor(part) for part in parts)
x_train, x_test = x_train.float(), x_test.float()


class Classifier(nn.Module):
    def __init__(self, hidden=256):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(64, hidden), nn.ReLU(), nn.Dropout(0.3), nn.Linear(hidden, hidden))
        self.head = nn.Linear(hidden, 10)

    def forward(self, x):
        return self.head(self.layers(x).relu())


model = Classifier()
optimizer = livegrad.optim.AdamW(model.parameters(), lr=3e-3)
epochs = int(sys.argv[1]) if len(sys.argv) > 1 else 20
schedule = livegrad.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
loader = DataLoader(TensorDataset(x_train, y_train), batch_size=64, shuffle=True)

for _ in range(epochs):
    model.train()
    for x, y in loader:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y, label_smoothing=0.05)
        loss.backward()
        optimizer.step()
    schedule.step()

model.eval()
with livegrad.no_grad():
    predicted = model(x_test).argmax(1)
print(f"test accuracy {100 * (predicted == y_test).float().mean().item():.1f} %")

with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "digits.safetensors"
    livegrad.save(model.state_dict(), path)
    again = Classifier()
    again.load_state_dict(livegrad.load(path))
again.eval()
with livegrad.no_grad():
    print("the loaded model predicts the same:", livegrad.equal(again(x_test).argmax(1), predicted))
