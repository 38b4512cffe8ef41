"""The compiled part of the build; everything else is in pyproject.toml.

One Cython source, ``src_cython/core.pyx``, is compiled once per instruction set. The name and the
init symbol of an extension module come from its file name, so every instruction set has a stub of
one line in ``rnncore/_core`` that includes the source. ``rnncore._core`` picks one at import.
"""

import os
import sys
import sysconfig
import tempfile
from pathlib import Path

import numpy as np
from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import CCompilerError, ExecError, PlatformError

SOURCES = Path("src_cython")
SUFFIXES = {".pyx", ".pxi", ".pxd", ".h"}

# Neither flag changes a result: errno and trapping are not looked at, NaN and rounding are.
# -ffast-math is not here: it removes the rounding trick of exp and the meaning of NaN.
COMPILE = ["-std=c++17", "-O3", "-fno-math-errno", "-fno-trapping-math"]
# Clones of functions for constant arguments take a tenth of the size, copies of loops for either
# side of a condition within them a thirtieth; neither gains anything.
COMPILE += ["-g0", "-fvisibility=hidden", "-fno-ipa-cp-clone", "-fno-unswitch-loops"]
LINK = ["-s", "-pthread"]

# RNNCORE_SANITIZE=address,undefined builds the core with the sanitizers of that name, and with the
# line numbers that their reports tell: see .ci/sanitize.
if sanitizers := os.environ.get("RNNCORE_SANITIZE"):
    LINK = [f"-fsanitize={sanitizers}", "-pthread"]
    COMPILE += ["-O1", "-g1", "-fno-omit-frame-pointer", "-fno-sanitize-recover=all", LINK[0]]

# RNNCORE_EMULATE=amx computes the tiles of that unit one number at a time, so that the products
# built on it can be tested on any processor with AVX-512.
if os.environ.get("RNNCORE_EMULATE") == "amx":
    COMPILE += ["-DRNNCORE_EMULATE_TILES"]

# -O2 inlines too little of what asks for it. With the limit of -O3 it takes the same time (LSTM and
# GRU, 12 shapes, inference and training, AVX2: 0.99 to 1.01) and six sevenths of the size. With
# AVX-512 the instructions were compared: every tile and gate has the same sums and no more spills.
SMALL = ["-O2", "--param=max-inline-insns-single=200"]
# A twentieth of the size: places of functions and jumps, and an order of instructions that
# processors of these generations find themselves (LSTM and GRU, 5 shapes, inference and training:
# 0.99 of the time with v2, where loops are not placed either, 1.00 with v3).
SMALLER = [f"-fno-align-{what}" for what in ("functions", "jumps", "labels")]
SMALLER += ["-fno-schedule-insns2", "-fno-reorder-blocks-and-partition", "-fno-partial-inlining"]

ISA = {
    "x86_64_v2": ["-march=x86-64-v2", *SMALL, *SMALLER, "-fno-align-loops"],
    "x86_64_v3": ["-march=x86-64-v3", *SMALL, *SMALLER],
    # GCC and Clang prefer 256 bits even here, which leaves half of every register unused.
    "x86_64_v4": ["-march=x86-64-v4", "-mprefer-vector-width=512", *SMALL],
    "baseline": [],
}

DIRECTIVES = {
    "language_level": 3,
    "boundscheck": False,
    "wraparound": False,
    "initializedcheck": False,
    "cdivision": True,
    "embedsignature": True,
    "auto_pickle": False,  # what travels says how; 27 KB of a core would say so again
}

NO_COMPILER = """\
rnncore is compiled when it is installed, and a small C++17 program that includes Python.h could
not be compiled here. A C++ compiler (GCC 11, Clang 12 or newer) and Python's headers are needed:

    Debian, Ubuntu    apt-get install build-essential python3-dev
    Fedora, RHEL      dnf install gcc-c++ python3-devel
    Alpine            apk add build-base python3-dev
    macOS             xcode-select --install
    Windows           "Desktop development with C++" of the Visual Studio Build Tools

The compiler said: {reason}"""

PROBE = """\
#include <Python.h>
#include <type_traits>
static_assert(std::is_same_v<int, int>, "C++17");
"""


def instruction_sets():
    """What to build here: a universal macOS build is arm64 too, MSVC has no -march."""
    if sysconfig.get_platform().endswith("-x86_64"):
        return ["x86_64_v2", "x86_64_v3", "x86_64_v4"]
    return ["baseline"]


def extension(name, flags=()):
    msvc = sys.platform == "win32"
    return Extension(
        f"rnncore._core.{name}",
        [f"rnncore/_core/{name}.pyx"],
        language="c++",
        include_dirs=[str(SOURCES), np.get_include()],
        define_macros=[("NPY_NO_DEPRECATED_API", "NPY_2_0_API_VERSION")],
        depends=sorted(str(p) for p in SOURCES.rglob("*") if p.suffix in SUFFIXES),
        extra_compile_args=["/std:c++17", "/O2"] if msvc else [*COMPILE, *flags],
        extra_link_args=LINK if sys.platform.startswith("linux") else [],
    )


class BuildExt(build_ext):
    """Check the compiler, translate with Cython into the build directory, compile in parallel."""

    def finalize_options(self):
        super().finalize_options()
        if self.parallel is None:
            self.parallel = min(os.cpu_count() or 1, len(self.extensions or ()) or 1)

    def build_extensions(self):
        self._check_compiler()
        translated = cythonize(
            self.extensions,
            build_dir=str(Path("build", "cython")),
            include_path=[str(SOURCES)],
            compiler_directives=DIRECTIVES,
            force=self.force,
        )
        sources = {ext.name: ext.sources for ext in translated}
        for ext in self.extensions:
            ext.sources = sources[ext.name]
        super().build_extensions()

    def _check_compiler(self):
        with tempfile.TemporaryDirectory() as folder:
            probe = Path(folder, "probe.cpp")
            probe.write_text(PROBE)
            flags = self.extensions[-1].extra_compile_args  # the widest instruction set
            try:
                self.compiler.compile([str(probe)], output_dir=folder, extra_postargs=flags)
            except (CCompilerError, ExecError, PlatformError, OSError) as error:
                raise PlatformError(NO_COMPILER.format(reason=error)) from error


setup(
    ext_modules=[extension("_machine"), *(extension(isa, ISA[isa]) for isa in instruction_sets())],
    cmdclass={"build_ext": BuildExt},
)
