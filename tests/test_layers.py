"""Dependencies run downwards only: a module imports modules of its own layer and of the layers below it.

What a function imports when it runs is not looked at: that is how heavy or optional parts are loaded on first use.
"""

import ast
from pathlib import Path

import pytest

import livegrad

# From the bottom up. A name stands for a module, or for a package with all that is in it (but for its `__init__` where
# that has a place of its own); what is not listed is the top layer.
LAYERS = [
    "blocks capsules decorating futures settings typed version",
    "llvm",
    "backends devices native.__init__ observe site",
    "dtypes formats precision",
    "ops.parameters ops.scalar ops.scalar_numpy ops.instruction ops.rowprogram",
    "runtime.array runtime.caches runtime.dispatcher runtime.dispatcher_queue runtime.few runtime.memory runtime.moves runtime.pool runtime.raw runtime.refusal",
    "codegen",
    "native runtime",
    "lazy",
    "autograd.anomaly autograd.engine autograd.mode autograd.node autograd.saving",
    "described overridden_methods overriding readable tensor",
    "counter ops sampling",
    "convert creation from_data memory printing random",
    "autograd linalg",
    "distributed graph nn recurrences",
    "autograd.profiler profiler",
]
ROOT = Path(livegrad.__file__).parent
MODULES = {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix("__init__").strip("."): path
           for path in ROOT.rglob("*.py")}  # fmt: skip
RANKS = {name: rank for rank, layer in enumerate(LAYERS) for name in layer.split()}


def rank(module):
    if f"{module}.__init__" in RANKS:
        return RANKS[f"{module}.__init__"]
    while module and module not in RANKS:
        module = module.rpartition(".")[0]
    return RANKS.get(module, len(LAYERS))


def named(module, statement):
    """The modules of the package that an import statement names."""
    if isinstance(statement, ast.Import):
        return [a.name.partition(".")[2] for a in statement.names if a.name.startswith("livegrad.")]
    base = statement.module or ""
    if statement.level:
        package = module.split(".") if module else []
        if MODULES[module].name != "__init__.py":
            package = package[:-1]
        base = ".".join([*package[: len(package) - statement.level + 1], *filter(None, [base])])
    elif base != "livegrad" and not base.startswith("livegrad."):
        return []
    else:
        base = base.partition(".")[2]
    found = [".".join(filter(None, (base, a.name))) for a in statement.names]
    return [name if name in MODULES else base for name in found]


def imports(module):
    """What a module imports when it is imported, but for types' sake."""
    todo = [ast.parse(MODULES[module].read_text())]
    for node in todo:
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            yield from ((name, node.lineno) for name in named(module, node) if name in MODULES and name != module)
        elif isinstance(node, (ast.FunctionDef, ast.Lambda)) or (
            isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        ):
            continue
        todo.extend(ast.iter_child_nodes(node))


def test_every_name_in_the_layers_exists():
    assert {name.removesuffix(".__init__") for name in RANKS} <= set(MODULES)


@pytest.mark.parametrize("layer", range(len(LAYERS)))
def test_imports_run_downwards(layer):
    upwards = [
        f"livegrad/{MODULES[module].relative_to(ROOT)}:{line} imports {name}"
        for module in sorted(MODULES)
        if rank(module) == layer and module
        for name, line in imports(module)
        if rank(name) > layer and name
    ]
    assert not upwards


def test_the_search_sees_what_there_is():
    assert {"lazy.value", "runtime.array"} <= {name for name, _ in imports("lazy.backend")}
    assert "runtime.memory" in {name for name, _ in imports("runtime.array")}
