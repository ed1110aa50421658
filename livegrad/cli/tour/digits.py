"""A classifier of handwritten digits: trained, tested, saved, loaded again and compared."""

from __future__ import annotations

from pathlib import Path
from time import perf_counter
from typing import Any

import livegrad
from livegrad import Tensor, nn
from livegrad.site import INTERNAL
from livegrad.utils.data import DataLoader, TensorDataset

from ..console import Console
from ..problem import Problem

INTERNAL[__file__] = False  # what is below is a program that uses the library: the graph names its lines
EPOCHS = 30
QUICK_EPOCHS = 12
BATCH = 64
NOISE = 0.1  # added to the pixels while learning, against learning by heart


def model() -> nn.Sequential:
    """The classifier: 64 pixels to 10 digits."""
    return nn.Sequential(
        nn.Linear(64, 256),
        nn.ReLU(),
        nn.Dropout(0.3),
        nn.Linear(256, 256),
        nn.ReLU(),
        nn.Dropout(0.3),
        nn.Linear(256, 10),
    )


def run(shown: Console, out: Path, quick: bool, seed: int) -> list[tuple[Path, str]]:
    """Train, test, save and compare; returns the files written."""
    from livegrad.utils.tensorboard import SummaryWriter

    shown.step("A classifier on real data")
    train, test = _data(seed)
    epochs = QUICK_EPOCHS if quick else EPOCHS
    shown.say(f"{len(train)} handwritten digits of 8 × 8 pixels to learn from, and {len(test)} to be tested on.")
    classifier = model()
    shown.show(str(classifier))
    folder = out / "runs" / "digits"
    with SummaryWriter(folder) as writer:
        classifier.eval()
        writer.add_graph(classifier, test.tensors[0][:1])
        seconds = _train(shown, classifier, train, test, epochs, writer)
    right = _predict(classifier, test.tensors[0]) == test.tensors[1]
    accuracy = right.float().mean().item()
    steps = epochs * -(-len(train) // BATCH)
    shown.say(f"Test accuracy: {100 * accuracy:.1f} % after {epochs} epochs, {seconds:.1f} seconds "
              f"({1e6 * seconds / steps:.0f} µs a step).")  # fmt: skip
    path = out / "digits.safetensors"
    livegrad.save(classifier.state_dict(), path)
    _compare(shown, classifier, path, test.tensors[0])
    return [(folder, "the model's graph and its training curves, for TensorBoard"), (path, "the trained model")]


def _data(seed: int) -> tuple[TensorDataset, TensorDataset]:
    """Four fifths of the digits to learn from, and the rest."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    pixels, digits = load_digits(return_X_y=True)
    parts = train_test_split(pixels / 16, digits, test_size=0.2, random_state=seed, stratify=digits)
    x, x_test, y, y_test = (livegrad.tensor(part) for part in parts)
    return TensorDataset(x.float(), y.long()), TensorDataset(x_test.float(), y_test.long())


def _train(
    shown: Console, classifier: nn.Module, train: TensorDataset, test: TensorDataset, epochs: int, writer: Any
) -> float:
    """Train, showing how it goes; returns the seconds that it took."""
    optimizer = livegrad.optim.AdamW(classifier.parameters(), lr=3e-3, weight_decay=0.01)
    schedule = livegrad.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    loader = DataLoader(train, batch_size=BATCH, shuffle=True)
    begun = perf_counter()
    with shown.progress("training", epochs) as advance:
        for epoch in range(1, epochs + 1):
            classifier.train()
            total = livegrad.zeros(())
            for x, y in loader:
                optimizer.zero_grad()
                noisy = x + NOISE * livegrad.randn_like(x)
                loss = nn.functional.cross_entropy(classifier(noisy), y, label_smoothing=0.05)
                loss.backward()
                optimizer.step()
                total += loss.detach() * len(x)
            schedule.step()
            mean = total.item() / len(train)
            accuracy = (_predict(classifier, test.tensors[0]) == test.tensors[1]).float().mean().item()
            writer.add_scalar("loss/train", mean, epoch)
            writer.add_scalar("accuracy/test", accuracy, epoch)
            advance(epoch, f"loss {mean:.4f}, test accuracy {100 * accuracy:.1f} %")
    return perf_counter() - begun


def _predict(classifier: nn.Module, x: Tensor) -> Tensor:
    classifier.eval()
    with livegrad.no_grad():
        return classifier(x).argmax(1)


def _compare(shown: Console, classifier: nn.Module, path: Path, x: Tensor) -> None:
    """Load the saved model into a new one and check that both say the same."""
    again = model()
    again.load_state_dict(livegrad.load(path))
    classifier.eval()
    again.eval()
    with livegrad.no_grad():
        same = livegrad.equal(classifier(x), again(x))
    if not same:
        raise Problem(f"the model loaded from {path} does not predict what the saved one did: this is a bug", status=1)
    shown.say(f"Saved, loaded into a new model: the same {len(x)} predictions, bit for bit.")
