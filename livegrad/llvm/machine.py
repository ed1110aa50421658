"""This machine: what its processor can do, and turning LLVM IR into machine code that can be called.

Everything that calls llvmlite is here, and happens on the helper thread (see `llvm.service`): an interruption
inside llvmlite would free its objects twice. llvmlite is imported when first needed. Where it is missing
:class:`CompilerMissing` is raised, which is an ``ImportError``: the library then evaluates without compiled kernels.

Loaded code stays until the process ends, but for objects that are loaded as `passing`, which is what kernels are: those
go once nobody holds them and all calls that were put off have been made.
"""

from __future__ import annotations

import functools
import platform
import struct
import weakref
from collections.abc import Callable
from typing import Any

from . import service

__all__ = [
    "CompiledObject", "CompilerMissing", "compile_cpu", "compile_ptx", "compiler_available", "host_description",
    "host_has_bf16_tiles", "host_has_f16c", "host_has_fma", "host_has_rounding", "host_vector_bytes", "load_object",
    "set_settle",
]  # fmt: skip


class CompilerMissing(ImportError):
    """llvmlite, or the back end that was asked for, cannot be used here."""


@functools.cache
def _binding() -> Any:
    """llvmlite's binding, imported."""
    try:
        service.load("llvmlite.binding")
        import llvmlite
        import llvmlite.binding as llvm
    except (ImportError, OSError) as error:
        raise CompilerMissing(f"compiled kernels need llvmlite, which cannot be imported: {error}") from error
    if tuple(int(part) for part in llvmlite.__version__.split(".")[:2]) < (0, 45):
        raise CompilerMissing(f"compiled kernels need llvmlite 0.45 or later, not {llvmlite.__version__}")
    return llvm


@functools.cache
def _llvm() -> Any:
    """llvmlite's binding, initialised. On the helper thread only, like all that uses it."""
    llvm = _binding()
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    return llvm


# The host


@functools.cache
def compiler_available() -> bool:
    """Whether kernels can be compiled here."""
    try:
        _host()
    except CompilerMissing:
        return False
    return True


def _ask_host() -> tuple[str, str, dict[str, bool], str]:
    llvm = _llvm()
    features = llvm.get_host_cpu_features()
    version = ".".join(map(str, llvm.llvm_version_info))
    return llvm.get_host_cpu_name(), features.flatten(), dict(features), f"llvm {version}; {llvm.get_process_triple()}"


@functools.cache
def _host() -> tuple[str, str, dict[str, bool], str]:
    """The host's processor, its features as LLVM writes them, the same as a mapping, and LLVM's version and triple."""
    _binding()
    return service.call(_ask_host)


def is_x86() -> bool:
    return platform.machine().lower() in ("x86_64", "amd64", "i386", "i686")


def _host_feature(name: str) -> bool:
    """Whether an x86 host has a feature; without llvmlite, whether the usual machine has it."""
    try:
        return bool(_host()[2].get(name, False))
    except CompilerMissing:
        return True


@functools.cache
def host_has_fma() -> bool:
    """Whether the host has fused multiply-add."""
    return not is_x86() or _host_feature("fma")


@functools.cache
def host_has_f16c() -> bool:
    """Whether the host converts half precision itself."""
    return not is_x86() or _host_feature("f16c")


@functools.cache
def host_has_rounding() -> bool:
    """Whether the host rounds to whole numbers in one instruction."""
    return not is_x86() or _host_feature("sse4.1")


@functools.cache
def host_vector_bytes() -> int:
    """The width of the host's vector registers: 64, 32 or 16 bytes."""
    if not is_x86():
        return 16
    if all(_host_feature(f"avx512{part}") for part in ("f", "vl", "dq", "bw")):
        return 64
    return 32 if _host_feature("avx2") else 16


@functools.cache
def host_has_bf16_tiles() -> bool:
    """Whether the host multiplies tiles of bfloat16 (AMX), and its vectors convert to it."""
    if not is_x86() or host_vector_bytes() != 64:
        return False
    return all(_host_feature(name) for name in ("amx-tile", "amx-bf16", "avx512bf16"))


@functools.cache
def host_description() -> str:
    """What a compiled object depends on beside its IR: LLVM's version, processor and features."""
    name, features, _, version = _host()
    return f"{version}; {name}; {features}"


# Compiling


def _target_machine(opt: int = 2) -> Any:
    llvm = _llvm()
    name, features, _, _ = _host()
    return llvm.Target.from_triple(llvm.get_process_triple()).create_target_machine(
        cpu=name, features=features, opt=opt, reloc="pic" if not is_x86() else "default", codemodel="jitdefault"
    )


def _optimise(llvm: Any, module: Any, machine: Any) -> None:
    """The passes that pay for code that is vectorised already: clean-up, no unrolling, no vectoriser."""
    builder = llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options(speed_level=2))
    passes = llvm.create_new_function_pass_manager()
    passes.add_simplify_cfg_pass()
    passes.add_instruction_combine_pass()
    passes.add_new_gvn_pass()
    passes.add_loop_simplify_pass()
    passes.add_lcssa_pass()
    passes.add_loop_rotate_pass()
    passes.add_instruction_combine_pass()
    passes.add_simplify_cfg_pass()
    for function in module.functions:
        if not function.is_declaration:
            passes.run(function, builder)


def _optimise_calls(llvm: Any, module: Any, machine: Any, thorough: frozenset) -> None:
    """Put functions into each other where that was asked for, and clean up those that are worth it."""
    builder = llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options(speed_level=2))
    inliner = llvm.create_new_module_pass_manager()
    inliner.add_always_inliner_pass()
    inliner.run(module, builder)
    passes = llvm.create_new_function_pass_manager()
    passes.add_sroa_pass()
    passes.add_simplify_cfg_pass()
    passes.add_new_gvn_pass()
    passes.add_instruction_combine_pass()
    passes.add_simplify_cfg_pass()
    for name in thorough:
        passes.run(module.get_function(name), builder)


def _emit(module_text: str, opt: int, thorough: frozenset | None = None) -> bytes:
    llvm = _llvm()
    machine = _target_machine(opt)
    module = llvm.parse_assembly(module_text, context=llvm.create_context())
    module.triple = machine.triple
    module.data_layout = str(machine.target_data)
    if thorough is not None:
        module.verify()  # before LLVM trips over it, which would end the process
        _optimise_calls(llvm, module, machine, thorough)
    elif opt:
        _optimise(llvm, module, machine)
    return machine.emit_object(module)


def compile_cpu(module_text: str, opt: int = 2, passing: bool = False) -> CompiledObject:
    """Compile a module for this machine. passing: see `load_object`."""
    _host()
    return load_object(service.call(_emit, module_text, opt), passing=passing)


def object_code(module_text: str, opt: int, thorough: frozenset) -> bytes:
    """The machine code of a large module that mostly calls, for `load_object`.

    thorough: the names of the functions that are worth more than the least.
    """
    _host()
    return service.call(_emit, module_text, opt, thorough)


def _emit_ptx(module_text: str, arch: str) -> str:
    llvm = _llvm()
    try:
        llvm.initialize_all_targets()
        llvm.initialize_all_asmprinters()
        target = llvm.Target.from_triple("nvptx64-nvidia-cuda")
    except (RuntimeError, AttributeError) as error:
        raise CompilerMissing(f"this llvmlite cannot write PTX: {error}") from error
    machine = target.create_target_machine(cpu=arch, opt=3)
    module = llvm.parse_assembly(module_text, context=llvm.create_context())
    module.triple = "nvptx64-nvidia-cuda"
    module.data_layout = str(machine.target_data)
    _optimise(llvm, module, machine)
    return machine.emit_assembly(module)


def compile_ptx(module_text: str, arch: str = "sm_80") -> str:
    """Compile a module for an NVIDIA GPU; the result is PTX text."""
    _host()
    return service.call(_emit_ptx, module_text, arch)


# Loading


class CompiledObject:
    """Machine code in memory, and what it was made from.

    addresses: of its functions; None: the engine knows them. home: what keeps the code in memory; None: it stays.
    """

    def __init__(self, engine: Any, addresses: dict[str, int] | None, object_code: bytes, home: Any = None) -> None:
        self._engine = engine
        self._addresses = addresses
        self.home = home
        self.object_code = object_code

    def address(self, name: str) -> int:
        """The address of a function."""
        if self._addresses is None:
            address = service.call(self._engine.get_function_address, name)
        else:
            address = self._addresses.get(name)
        if not address:
            raise KeyError(f"no function {name!r} in this object")
        return address


def symbols(code: bytes) -> tuple[set[str], set[str], set[str]] | None:
    """Of an ELF64 object the names of its functions, of all that it defines, and of what others are to define.

    From the System V ABI: the section headers lead to the symbol table; an undefined symbol has section index 0.
    None for objects of other formats.
    """
    if code[:5] != b"\x7fELF\x02" or code[5] != 1:
        return None
    (table,) = struct.unpack_from("<Q", code, 0x28)
    size, count = struct.unpack_from("<HH", code, 0x3A)
    sections = [struct.unpack_from("<IIQQQQIIQQ", code, table + k * size) for k in range(count)]
    functions: set[str] = set()
    defined: set[str] = set()
    needed: set[str] = set()
    for _, kind, _, _, start, length, link, _, _, step in sections:
        if kind != 2:  # SHT_SYMTAB
            continue
        strings = sections[link][4]
        for at in range(start + step, start + length, step):
            place, info, _, section = struct.unpack_from("<IBBH", code, at)
            if place:
                end = code.index(b"\0", strings + place)
                name = code[strings + place : end].decode()
                (defined if section else needed).add(name)
                if section and info == 0x12:  # STB_GLOBAL, STT_FUNC
                    functions.add(name)
    return functions, defined, needed


class _Home:
    """An engine whose code goes when nobody holds this any more."""

    def __init__(self, engine: Any) -> None:
        self.engine = engine
        self.defined: set[str] = set()  # by the objects in there
        self.left = _TOGETHER  # how many more objects it takes


class _Grave(weakref.ref):
    """What is left of a `_Home`."""

    engine: Any
    __slots__ = ("engine",)


_TOGETHER = 32  # objects in an engine that may go: all of them go at once


class _Loader:
    """One of LLVM's engines for many objects: one for each takes many times the memory of its code, and the time.

    An engine knows one function of a name, that of the object which was loaded last; so addresses are asked for at
    once, and what needs a name that some object has defined by chance gets an engine of its own. LLVM's memory for ARM
    keeps the parts of an object together, whenever it is loaded: with tensors between them, 2 GiB apart, they could not
    reach each other.
    """

    def __init__(self) -> None:
        self.shared: Any = None
        self.defined: set[str] = set()  # by the objects in there
        self.others: list = []  # never emptied: see above
        self.home: _Home | None = None  # that still takes objects
        self.graves: set[_Grave] = set()
        self.dead: list[_Grave] = []

    def load(self, *codes: bytes) -> CompiledObject:
        llvm = _llvm()
        if self.shared is None:
            self.shared = self.engine()  # which makes this process's own symbols known
        engine, addresses = self.shared, None
        tables = [symbols(code) for code in codes]
        if any(table is None for table in tables):
            engine = self.engine()
        else:
            functions, defined, needed = (set().union(*names) for names in zip(*tables))  # type: ignore[arg-type]
            self.refuse_missing(needed)
            if self.defined.isdisjoint(needed):
                self.defined |= defined
            else:
                engine = self.engine()
        if engine is not self.shared:
            self.others.append(engine)
        for code in codes:
            engine.add_object_file(llvm.ObjectFileRef.from_data(code))
        engine.finalize_object()
        if None not in tables:
            addresses = {name: engine.get_function_address(name) for name in functions}
        return CompiledObject(engine, addresses, codes[0])

    def load_in_home(self, code: bytes) -> CompiledObject:
        """Load an object that may go again, where its format can be read."""
        if self.dead:
            self.bury()
        table = symbols(code)
        if table is None:
            return self.load(code)
        if self.shared is None:
            self.shared = self.engine()
        functions, defined, needed = table
        self.refuse_missing(needed)
        home = self.home
        if home is None or not home.left or not home.defined.isdisjoint(needed):
            home = self.home = _Home(self.engine())
            grave = _Grave(home, self.dead.append)  # a function of C, which no interruption can keep from being called
            grave.engine = home.engine
            self.graves.add(grave)
        home.left -= 1
        home.defined |= defined
        if not home.left:
            self.home = None
        home.engine.add_object_file(_llvm().ObjectFileRef.from_data(code))
        home.engine.finalize_object()
        addresses = {name: home.engine.get_function_address(name) for name in functions}
        return CompiledObject(home.engine, addresses, code, home)

    def bury(self) -> None:
        """Free code that nobody can call any more, once the calls that were put off have been made."""
        dead, self.dead[:] = self.dead[:], []
        _settle()
        for grave in dead:
            self.graves.discard(grave)
            grave.engine.close()

    @staticmethod
    def refuse_missing(needed: set[str]) -> None:
        """Raise RuntimeError where code calls what is not there, which would end the process."""
        missing = sorted(name for name in needed if _llvm().address_of_symbol(name) is None)
        if missing:
            raise RuntimeError(f"the compiled code calls functions that are not there: {', '.join(missing)}")

    @staticmethod
    def engine() -> Any:
        llvm = _llvm()
        empty = llvm.parse_assembly("", context=llvm.create_context())
        return llvm.create_mcjit_compiler(empty, _target_machine(), use_lmm=True)


_loader = _Loader()
_settle: Callable[[], None] = lambda: None  # noqa: E731


def set_settle(function: Callable[[], None]) -> None:
    """Set what waits until all calls that were put off have been made."""
    global _settle
    _settle = function


def load_object(*codes: bytes, passing: bool = False) -> CompiledObject:
    """Make code that was compiled on a machine of the same :func:`host_description` callable.

    Several objects, whose functions have names of their own, become one, which takes less time. passing: for a single
    object, that its code may go when nobody holds the result's `home`; whoever keeps an address keeps that too.
    """
    _host()
    return service.call(_loader.load_in_home if passing else _loader.load, *codes)


def loaded_homes() -> int:
    """How many engines there are whose code may go."""
    return len(_loader.graves)
