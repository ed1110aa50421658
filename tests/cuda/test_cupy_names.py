"""What livegrad asks of CuPy is there, with these parameters: looked at where CuPy is installed, with or without a GPU.

The stand-in is what livegrad runs over in the other tests of this folder, so its names are those that livegrad uses.
While CuPy is installed, every call of the stand-in is checked as well.
"""

import inspect

import cupy_names
import pytest
import stand_in

pytestmark = pytest.mark.skipif(cupy_names.library() is None, reason="CuPy is not installed")

_ARRAY = ("astype", "reshape", "copy", "sum", "any", "all", "transpose", "max", "min", "cumsum", "fill", "get", "set",
          "dtype", "shape", "ndim", "size", "nbytes", "flags", "T", "data", "device")  # fmt: skip


def _public(owner):
    return [name for name in vars(owner) if not name.startswith("_")]


def _functions():
    """(path in CuPy, the stand-in's function, whether it is a method) of everything that can be called."""
    yield from ((name, getattr(stand_in, name), False) for name in ("array", "asarray", "get_default_memory_pool"))
    for name in _public(stand_in.cuda):
        owner = getattr(stand_in.cuda, name)
        if name in ("runtime", "cublas", "nvtx"):
            yield from ((f"cuda.{name}.{inner}", getattr(owner, inner), False) for inner in _public(owner))
        elif name == "driver":
            methods = ("moduleLoadData", "moduleGetFunction", "launchKernel")
            yield from ((f"cuda.driver.{inner}", getattr(owner, inner), False) for inner in methods)
        elif isinstance(owner, type):
            yield f"cuda.{name}", owner, False
            methods = [inner for inner in _public(owner) if inspect.isfunction(vars(owner)[inner])]
            yield from ((f"cuda.{name}.{inner}", getattr(owner, inner), True) for inner in methods)
        else:
            yield f"cuda.{name}", owner, False
    for name in _public(stand_in.Pool):
        if inspect.isfunction(vars(stand_in.Pool)[name]):
            yield f"cuda.MemoryPool.{name}", getattr(stand_in.Pool, name), True


@pytest.mark.parametrize("path, function, method", list(_functions()), ids=[path for path, _, _ in _functions()])
def test_parameters(path, function, method):
    """CuPy takes as many arguments by place as the stand-in, and those of its names that may be left out by name."""
    try:
        theirs = cupy_names.signature(path)
    except ImportError as error:
        pytest.skip(f"a library of CUDA's is not installed: {error}")
    try:
        ours = inspect.signature(function)
    except ValueError:  # a class without parameters
        return
    parameters = [p for p in list(ours.parameters.values())[method:] if p.kind is p.POSITIONAL_OR_KEYWORD]
    named = {p.name: None for p in parameters if p.default is not p.empty}
    bound = bool(theirs) and next(iter(theirs.parameters), "") == "self"
    assert theirs is None or theirs.bind(*[None] * (bound + len(parameters) - len(named)), **named)


@pytest.mark.parametrize("name", _ARRAY)
def test_attributes_of_arrays(name):
    cupy_names.found(f"ndarray.{name}")


@pytest.mark.parametrize("name", sorted(vars(stand_in.special)))
def test_special_functions(name):
    cupy_names.found(f"cupyx.scipy.special.{name}")


def test_graphs_can_be_changed():
    """The handles of graphs, streams and memory are there to be read."""
    for path in ("cuda.Graph.graphExec", "cuda.MemoryPointer.ptr", "cuda.PinnedMemoryPointer.ptr",
                 "cuda.runtime.PointerAttributes.type"):  # fmt: skip
        assert inspect.isdatadescriptor(cupy_names.found(path)), path
    assert cupy_names.found("cuda.Stream.null").ptr == 0


def test_numbers_of_cublas():
    """The numbers of CUDA's enumerations are those that CuPy knows."""
    from livegrad import dtypes
    from livegrad.runtime.cuda import cublas

    runtime = "cuda.runtime."
    for dtype, name in ((dtypes.float32, "CUDA_R_32F"), (dtypes.float64, "CUDA_R_64F"), (dtypes.float16, "CUDA_R_16F"),
                        (dtypes.bfloat16, "CUDA_R_16BF")):  # fmt: skip
        assert cublas._TYPES[dtype] == cupy_names.found(runtime + name)
    try:
        there = cupy_names.found("cuda.cublas")
    except ImportError as error:
        pytest.skip(f"cuBLAS is not installed: {error}")
    assert (cublas._FLOAT32, cublas._FLOAT64, cublas._TF32) == (
        there.CUBLAS_COMPUTE_32F, there.CUBLAS_COMPUTE_64F, there.CUBLAS_COMPUTE_32F_FAST_TF32
    )  # fmt: skip
    assert (cublas._PLAIN, cublas._TRANSPOSED) == (there.CUBLAS_OP_N, there.CUBLAS_OP_T)
    assert cublas._BEST == there.CUBLAS_GEMM_DEFAULT


def test_ways_of_copies():
    from livegrad.runtime.cuda import pinned

    assert cupy_names.found("cuda.runtime.memcpyHostToDevice") == pinned._TO_DEVICE
    assert cupy_names.found("cuda.runtime.memcpyDeviceToHost") == pinned._TO_HOST
    assert cupy_names.found("cuda.runtime.memoryTypeHost") == pinned._HOST
