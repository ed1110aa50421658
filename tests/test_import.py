"""What `import livegrad` loads, and that the rest comes when it is asked for."""

import inspect
import os
import subprocess
import sys
import textwrap

from livegrad.ops.parameters import parameters


def run(program):
    environment = {name: value for name, value in os.environ.items() if name != "LIVEGRAD_NATIVE"}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=120, env=environment
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


LATER = {
    "llvmlite", "ml_dtypes", "numpy.random", "hashlib", "secrets", "tempfile", "safetensors", "tensorboard",
    "multiprocessing", "concurrent.futures", "livegrad.codegen.ir", "livegrad.codegen.math", "livegrad.nn",
    "livegrad.optim", "livegrad.linalg", "livegrad.serialization", "livegrad.printing", "livegrad.graph",
    "livegrad.utils", "livegrad.sampling", "livegrad.cuda",
}  # fmt: skip


def test_what_takes_long_is_loaded_on_first_use():
    program = "import sys, numpy; before = set(sys.modules); import livegrad; print(*(set(sys.modules) - before))"
    assert not LATER.intersection(run(program).split())


def test_ways_to_import():
    run("""
        import livegrad
        assert livegrad.optim.Adam and livegrad.nn.Linear and livegrad.linalg.norm and livegrad.utils
        assert livegrad.save and livegrad.graph
    """)
    run("""
        import livegrad.nn as nn
        from livegrad import optim, manual_seed, save, bfloat16
        from livegrad.nn import functional as F
        import livegrad.optim.lr_scheduler
        assert nn.Linear and optim.Adam and F.relu
    """)


def test_no_thread_before_the_first_use():
    run(
        "import threading, livegrad; assert threading.active_count() == 1; import sys; assert len(sys._current_frames()) == 1"
    )


def test_bfloat16_is_known_however_it_comes_in():
    run("""
        import livegrad
        assert livegrad.bfloat16.itemsize == 2 and livegrad.bfloat16.is_floating_point
        import ml_dtypes, numpy as np
        a = livegrad.tensor(np.array([1.5], ml_dtypes.bfloat16))
        assert a.dtype is livegrad.bfloat16
        assert livegrad.from_numpy(np.zeros(2, ml_dtypes.bfloat16)).dtype is livegrad.bfloat16
        assert not hasattr(livegrad.float32, "nothing")
    """)


def test_parameters_are_those_of_the_signature():
    def every(a, b=1, /, c=2, *rest, d, e=3, **more):
        return sum((a, b, c))

    class Callable:
        def __call__(self, x, y): ...

        def method(self, x): ...

    def wrapper(*args): ...

    wrapper.__wrapped__ = every
    functions = [
        every, lambda: 0, lambda x, *y: x, lambda *, k: k, lambda **kw: kw, Callable(), Callable().method, wrapper, divmod
    ]  # fmt: skip
    for f in functions:
        assert parameters(f) == tuple(inspect.signature(f).parameters)
