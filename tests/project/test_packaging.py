"""The package as it is installed: files, version, the choice of a core, a checkout without one."""

import importlib.metadata
import io
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

import rnncore
from rnncore import _core

PACKAGE = Path(rnncore.__file__).parent
DISTRIBUTION = importlib.metadata.distribution("rnncore")
CORES = ("x86_64_v4", "x86_64_v3", "x86_64_v2", "baseline")


def run_python(code: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess:
    """Run `code` in a new interpreter, away from the checkout."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "RNNCORE_"))}
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=cwd,
        env={**inherited, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def editable() -> bool:
    url = json.loads(DISTRIBUTION.read_text("direct_url.json") or "{}")
    return url.get("dir_info", {}).get("editable", False)


def test_the_tests_see_the_installed_package():
    if editable():
        assert (PACKAGE.parent / "pyproject.toml").is_file()
    else:
        assert Path(DISTRIBUTION.locate_file("rnncore/__init__.py")) == PACKAGE / "__init__.py"


def test_version_is_the_one_of_the_metadata():
    assert rnncore.__version__ == DISTRIBUTION.version


def test_numpy_is_the_only_requirement():
    needed = [r for r in DISTRIBUTION.requires if "extra ==" not in r]
    assert needed == ["numpy>=2.0"]


def test_every_public_name_is_there():
    for name in rnncore.__all__:
        assert getattr(rnncore, name).__doc__, name


def test_installed_files_are_what_runs_and_no_sources():
    suffixes = {p.suffix for p in PACKAGE.rglob("*") if p.is_file()}
    assert (PACKAGE / "py.typed").is_file()
    if not editable():
        assert not suffixes & {".pyx", ".pxd", ".c", ".cpp", ".h"}
        wheel = io.BytesIO()
        with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as packed:
            for path in PACKAGE.rglob("*"):
                if path.is_file() and path.suffix != ".pyc":
                    packed.write(path, path.relative_to(PACKAGE.parent))
        assert len(wheel.getvalue()) < 2_000_000


def test_import_brings_nothing_but_numpy(tmp_path):
    heavy = "{'matplotlib', 'rich', 'scipy', 'torch', 'jax', 'multiprocessing', 'concurrent'}"
    done = run_python(
        f"import sys, rnncore; print({heavy} & {{m.partition('.')[0] for m in sys.modules}})",
        tmp_path,
    )
    assert done.stdout == "set()\n", done.stderr


# The choice of a core


def test_the_widest_core_is_chosen(tmp_path):
    done = run_python("from rnncore import _core; print(_core.isa, _core.core.__name__)", tmp_path)
    widest = _core.available()[0]
    assert done.stdout.split() == [widest, f"rnncore._core.{widest}"], done.stderr


@pytest.mark.parametrize("isa", _core.available())
@pytest.mark.parametrize("short", [False, True])
def test_environment_chooses_a_core(isa, short, tmp_path):
    wanted = isa.removeprefix("x86_64_") if short else isa
    code = "import sys; from rnncore import _core; print(_core.isa, *sorted(sys.modules))"
    done = run_python(code, tmp_path, RNNCORE_ISA=wanted)
    chosen, *modules = done.stdout.split()
    assert chosen == isa
    loaded = [name for name in CORES if f"rnncore._core.{name}" in modules]
    assert loaded == [isa]


@pytest.mark.parametrize("wanted", ["v9", "avx2", "x86_64_v"])
def test_unknown_core_is_an_error_that_names_the_choices(wanted, tmp_path):
    done = run_python("import rnncore", tmp_path, RNNCORE_ISA=wanted)
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith(f"ValueError: RNNCORE_ISA is '{wanted}', expected one of ")
    assert all(isa in last for isa in _core.available())


def test_a_core_that_the_processor_does_not_run_is_refused():
    with pytest.raises(ValueError, match="RNNCORE_ISA is 'v4', expected one of x86_64_v3, x86_64_"):
        _core.choose(["x86_64_v3", "x86_64_v2"], "v4")


def test_a_processor_below_every_core_gets_an_import_error(monkeypatch):
    monkeypatch.setattr(_core, "available", list)
    with pytest.raises(ImportError, match="x86-64-v2"):
        _core._load()


def test_show_config(capsys):
    config = rnncore.show_config("dicts")
    assert config["rnncore"] == rnncore.__version__
    assert config["numpy"] == np.__version__
    assert config["instruction set"] == _core.isa
    assert rnncore.show_config() is None
    printed = capsys.readouterr().out
    assert len(printed.splitlines()) == len(config)
    assert all(value in printed for value in config.values())
    with pytest.raises(ValueError, match="'html'"):
        rnncore.show_config("html")


# A checkout that was not built


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """The Python files of the package and nothing compiled."""
    folder = tmp_path_factory.mktemp("checkout")
    for source in PACKAGE.rglob("*.py"):
        target = folder / "rnncore" / source.relative_to(PACKAGE)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target)
    return folder


def test_unbuilt_import_says_so_and_how_to_build(checkout):
    done = run_python("import rnncore", checkout)
    assert done.returncode == 0
    assert f"{checkout} is a checkout that was not built" in done.stderr
    assert "pip install -e ." in done.stderr


@pytest.mark.parametrize(
    "use",
    [
        "import rnncore; rnncore.LSTM",
        "from rnncore import GRU",
        "import rnncore.functional",
        "import rnncore.layers",
        "import rnncore._core",
    ],
)
def test_unbuilt_use_of_the_core_is_an_import_error(checkout, use):
    done = run_python(f"import warnings; warnings.simplefilter('ignore'); {use}", checkout)
    assert done.returncode == 1
    assert "ImportError: rnncore has no compiled core here" in done.stderr
    assert "pip install -e ." in done.stderr


def test_unbuilt_unknown_name_is_an_attribute_error(checkout):
    done = run_python("import rnncore; rnncore.LTSM", checkout)
    assert "AttributeError: module 'rnncore' has no attribute 'LTSM'" in done.stderr


def test_unbuilt_reference_computes(checkout):
    code = """
import warnings

warnings.simplefilter("ignore")
import numpy as np
from rnncore import reference

z = np.zeros
trace = reference.lstm_forward(
    z((1, 1, 1)), z((4, 1)), z((4, 1)), z(4), c0=np.array([[2.0]])
)
print(trace.c.ravel())
"""
    done = run_python(code, checkout)
    assert done.stdout == "[2. 1.]\n", done.stderr
