"""``livegrad info``: what is here and what is missing. A row that fails harms no other."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sys
from collections.abc import Callable
from pathlib import Path

from .console import console

# The environment variables that are read; docs/evaluation.md says what they mean.
_VARIABLES = {
    f"LIVEGRAD_{name}"
    for name in (
        "AMX", "CACHE_BYTES", "CACHE_DIR", "COMPILE", "CUDA_GRAPHS", "EAGER", "LOG", "NATIVE", "NUM_THREADS", "QUEUE",
        "STRICT",
    )
}  # fmt: skip
_EXTRAS = {
    "tensorboard": "graphs, scalars and images for TensorBoard",
    "matplotlib": "plots",
    "sklearn": "the tour's data",
    "rich": "colours in the terminal",
    "tqdm": "progress bars where rich is missing",
}


def info() -> int:
    """Print the report; returns 0."""
    shown = console()
    seen: list[tuple[str, str]] = []
    for name, find in _ROWS.items():
        for i, line in enumerate(_safe(find).splitlines()):
            seen.append((name if i == 0 else "", line))
    shown.table(("", ""), seen)
    return 0


def _safe(find: Callable[[], str]) -> str:
    try:
        return find()
    except Exception as error:
        return f"unknown ({type(error).__name__}: {error})"


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "missing"


def _livegrad() -> str:
    import livegrad

    return f"{livegrad.__version__}, {Path(livegrad.__file__).parent}"


def _python() -> str:
    return f"{platform.python_version()} ({platform.python_implementation()}), {sys.executable}"


def _libraries() -> str:
    names = ("numpy", "ml_dtypes", "llvmlite", "scipy-openblas32")
    return ", ".join(f"{name} {_version(name)}" for name in names)


def _processor() -> str:
    model = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo") as file:
            model = next((line.partition(":")[2].strip() for line in file if line.startswith("model name")), model)
    except OSError:
        pass
    return f"{model}, {os.cpu_count()} logical cores, {platform.system()} {platform.release()}"


def _target() -> str:
    from livegrad.llvm import machine

    version, triple, name, features = (part.strip() for part in machine.host_description().split(";", 3))
    there = {f[1:] for f in features.split(",") if f.startswith("+")}
    wide = [f for f in ("neon", "sve", "avx2", "fma", "avx512f", "avx512bf16", "amx-bf16") if f in there]
    return f"{version}, {triple}, {name}" + (f" with {' '.join(wide)}" if wide else "")


def _devices() -> str:
    import livegrad
    from livegrad.runtime.cuda import driver

    count = livegrad.cuda.device_count()
    if not count:
        return f"cpu\nno CUDA: {driver.missing()}"
    return "\n".join(["cpu", *map(_device, range(count)), _cuda()])


def _device(index: int) -> str:
    import livegrad

    major, minor = livegrad.cuda.get_device_capability(index)
    memory = livegrad.cuda.get_device_properties(index).total_memory
    return f"cuda:{index} {livegrad.cuda.get_device_name(index)}, sm_{major}{minor}, {memory / 2**30:.0f} GiB"


def _cuda() -> str:
    """The versions of what CUDA devices are used through."""
    from livegrad.runtime.cuda import cudnn, driver

    cupy = driver.cupy()
    runtime = cupy.cuda.runtime
    libraries = f"cuDNN {cudnn.version()}" if cudnn.available() else "no cuDNN (pip install 'livegrad[cudnn]')"
    takes, has = (f"{v // 1000}.{v % 1000 // 10}" for v in (runtime.driverGetVersion(), runtime.runtimeGetVersion()))
    return f"CuPy {cupy.__version__}, CUDA {has}, a driver that takes CUDA {takes}, {libraries}"


def _threads() -> str:
    import livegrad

    return f"{livegrad.get_num_threads()} (LIVEGRAD_NUM_THREADS changes it)"


def _blas() -> str:
    from livegrad.runtime import blas

    return blas.info()


def _kernels() -> str:
    from livegrad.codegen import kernels
    from livegrad.llvm import cache

    folder, count, size = cache.stats()
    if folder is None:
        kept = "none kept on disk: LIVEGRAD_CACHE_DIR is empty, or its folder cannot be written to by this user alone"
    else:
        kept = f"{count} kept in {folder}, {size / 1e6:.1f} MB of at most {cache.LIMIT_BYTES / 1e6:.0f}"
    return f"{kept}\ncompilation: {kernels.Policy.mode}"


def _settings() -> str:
    found = [
        f"{name}={value}" + ("" if name in _VARIABLES else "   unknown: nothing reads it")
        for name, value in sorted(os.environ.items())
        if name.startswith("LIVEGRAD_")
    ]
    return "\n".join(found) or "none of the LIVEGRAD_* environment variables is set"


def _missing() -> str:
    from .problem import found, package

    lines = []
    if not found("llvmlite"):
        lines.append("llvmlite: everything runs, but slowly, with NumPy; pip install llvmlite")
    if not found("scipy_openblas32"):
        lines.append("scipy-openblas32: matrix products go through NumPy; pip install scipy-openblas32")
    lines += [f"{package(m)}: {purpose}; pip install {package(m)}" for m, purpose in _EXTRAS.items() if not found(m)]
    return "\n".join(lines) or "nothing"


_ROWS: dict[str, Callable[[], str]] = {
    "livegrad": _livegrad,
    "Python": _python,
    "libraries": _libraries,
    "processor": _processor,
    "kernels for": _target,
    "devices": _devices,
    "threads": _threads,
    "matrix products": _blas,
    "kernels": _kernels,
    "settings": _settings,
    "missing": _missing,
}
