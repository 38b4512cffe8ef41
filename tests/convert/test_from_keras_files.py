"""The files of Keras: old ones, those of weights alone, and that nothing is imported for them."""

import io
import json
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from in_keras import outputs, randomised
from numpy.testing import assert_allclose, assert_array_equal

from rnncore.convert import hdf5
from rnncore.convert.from_keras import from_keras
from rnncore.convert.keras_masks import without_masked

DATA = Path(__file__).parents[1] / "data"
CLOSE = {"rtol": 1e-5, "atol": 1e-6}
OLD = ["keras_2_12.keras", "keras_2_13.keras", "keras_2_15.h5"]


def recorded(name):
    """An input of a recorded model, as it is here, and the output."""
    with np.load((DATA / name).with_suffix(".npz")) as arrays:
        return without_masked(arrays["x"], 0.5), arrays["y"]


@pytest.mark.parametrize("name", OLD)
def test_files_of_keras_2(name):
    (x, lengths), y = recorded(name)
    model = from_keras(DATA / name)
    assert_allclose(model(x, lengths=lengths)[0], y, **CLOSE)
    hard, _ = model["gru_1"].options["activations"]
    assert tuple(hard) == ("hardsigmoid", 0.2, 0.5)


def test_layers_of_cudnn():
    with np.load(DATA / "keras_cudnn.npz") as arrays:
        x, y = arrays["x"], arrays["y"]
    assert_allclose(from_keras(DATA / "keras_cudnn.h5")(x)[0], y, **CLOSE)


@pytest.mark.parametrize("name", OLD)
def test_the_suffix_says_nothing(name, tmp_path):
    path = tmp_path / "model.bin"
    shutil.copy(DATA / name, path)
    assert_array_equal(from_keras(path).params["gru.weight_hh_l0"],
                       from_keras(DATA / name).params["gru.weight_hh_l0"])  # fmt: skip


def test_neither_keras_nor_a_library_of_hdf5_is_imported(tmp_path):
    code = """
import sys
from rnncore.convert.from_keras import from_keras
for path in sys.argv[1:]:
    from_keras(path)
print(*sorted({"keras", "tensorflow", "tf_keras", "torch", "h5py", "jax"} & sys.modules.keys()))
"""
    paths = [str(DATA / name) for name in OLD]
    done = subprocess.run(
        [sys.executable, "-c", code, *paths],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout.strip() == ""


def test_a_compressed_zip(tmp_path):
    path = tmp_path / "model.keras"
    with (
        zipfile.ZipFile(DATA / "keras_2_13.keras") as old,
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for name in old.namelist():
            new.writestr(name, old.read(name))
    (x, lengths), y = recorded("keras_2_13.keras")
    assert_allclose(from_keras(path)(x, lengths=lengths)[0], y, **CLOSE)


# Weights alone


@pytest.fixture
def weights(tmp_path):
    """A file of weights alone, and the config that belongs to it."""
    with zipfile.ZipFile(DATA / "keras_2_13.keras") as archive:
        path = tmp_path / "model.weights.h5"
        path.write_bytes(archive.read("model.weights.h5"))
        return path, {**json.loads(archive.read("config.json")), "keras_version": "2.13.1"}


def test_weights_alone(weights):
    path, config = weights
    with pytest.raises(ValueError, match=r"weights\.h5: it has weights alone, .*give config="):
        from_keras(path)
    (x, lengths), y = recorded("keras_2_13.keras")
    for told in config, json.dumps(config):
        assert_allclose(from_keras(path, config=told)(x, lengths=lengths)[0], y, **CLOSE)
    with pytest.raises(ValueError, match="config is given, and the file has one of its own"):
        from_keras(DATA / "keras_2_12.keras", config=config)
    with pytest.raises(ValueError, match="config is given beside a model"):
        from_keras(object(), config=config)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_weights_alone_of_keras_3(tmp_path, rng):
    keras = pytest.importorskip("keras", reason="Keras is not installed")

    layers = [keras.Input((None, 3)), keras.layers.GRU(4), keras.layers.Dense(2)]
    model = randomised(keras.Sequential(layers), rng)
    x = rng.standard_normal((2, 5, 3)).astype(np.float32)
    path = tmp_path / "model.weights.h5"
    model.save_weights(path)
    made = from_keras(path, config=model.to_json())
    assert_allclose(made(x)[0], outputs(model, x), **CLOSE)


def test_what_does_not_belong_together(weights):
    path, config = weights
    wrong = json.loads(json.dumps(config).replace('"units": 2', '"units": 3'))
    with pytest.raises(
        ValueError, match=r"layer 'gru_1' \(GRU\) has arrays of the shapes \(3, 6\)"
    ):
        from_keras(path, config=wrong)
    config["config"]["layers"].insert(4, config["config"]["layers"][3])
    with pytest.raises(ValueError, match=r"layer 'gru' \(GRU\) has 0 arrays at /.*/gru_4/cell"):
        from_keras(path, config=config)


# HDF5


def same(ours, theirs):
    h5py = pytest.importorskip("h5py")
    for name, value in theirs.attrs.items():
        found = ours.attributes[name]
        if isinstance(value, np.ndarray) and value.dtype.kind in "OS":
            decoded = [text.decode() if isinstance(text, bytes) else text for text in value.ravel()]
            assert found == decoded
        elif isinstance(value, str | bytes):
            assert found == (value.decode() if isinstance(value, bytes) else value)
        else:
            assert_array_equal(found, value)
    if isinstance(theirs, h5py.Dataset):
        assert_array_equal(ours.read(), theirs[()])
        return
    assert ours.members.keys() == theirs.keys()
    for name in theirs:
        same(ours.find(name), theirs[name])


def test_hdf5_as_h5py_reads_it(tmp_path, rng):
    h5py = pytest.importorskip("h5py", reason="h5py is not installed")
    path = tmp_path / "arrays.h5"
    with h5py.File(path, "w") as file:
        for k in range(300):  # a tree of some floors
            file[f"many/{k}"] = rng.standard_normal(k % 5)
        for dtype in "<f2", "<f4", ">f4", "<f8", ">f8":
            file[f"types/{dtype}"] = rng.standard_normal((3, 4)).astype(dtype)
        file["shapes/none"] = np.zeros((0, 7), np.float32)
        file["shapes/scalar"] = np.float32(3)
        small = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        small.set_layout(h5py.h5d.COMPACT)
        space = h5py.h5s.create_simple((4,))
        made = h5py.h5d.create(
            file["shapes"].id, b"compact", h5py.h5t.IEEE_F32LE, space, dcpl=small
        )
        made.write(h5py.h5s.ALL, h5py.h5s.ALL, np.arange(4, dtype=np.float32))
        group = file["types"]
        group.attrs["long"] = "ä" * 100_000
        group.attrs["texts"] = ["a", "bc", ""]
        group.attrs["bytes"] = np.array([b"a", b"bcd"])
        group.attrs["empty"] = np.zeros(0)
        group.attrs["number"] = 3
        for k in range(30):  # a header with continuations
            group.attrs[f"more {k}"] = k
    with h5py.File(path) as theirs, open(path, "rb") as file:
        same(hdf5.File(file).root, theirs)


@pytest.mark.parametrize("name", OLD)
def test_old_files_as_h5py_reads_them(name):
    h5py = pytest.importorskip("h5py", reason="h5py is not installed")
    if zipfile.is_zipfile(DATA / name):
        with zipfile.ZipFile(DATA / name) as archive:
            content = archive.read("model.weights.h5")
    else:
        content = (DATA / name).read_bytes()
    with h5py.File(io.BytesIO(content)) as theirs:
        same(hdf5.File(io.BytesIO(content)).root, theirs)


def test_bfloat16(tmp_path):
    h5py = pytest.importorskip("h5py", reason="h5py is not installed")
    ml_dtypes = pytest.importorskip("ml_dtypes")
    values = np.array([1.5, -2.0, 3.0e38], ml_dtypes.bfloat16)
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["a"] = values
    with open(tmp_path / "b.h5", "rb") as file:
        array = hdf5.File(file).root.find("a")
        assert array.kind.bfloat16
        assert_array_equal(array.read().view(ml_dtypes.bfloat16), values)


REFUSED = {
    "compressed": (
        lambda file, z: file.create_dataset("a", data=z, compression="gzip"),
        "is stored compressed",
    ),
    "pieces": (
        lambda file, z: file.create_dataset("a", data=z, chunks=(2,)),
        "is stored in pieces",
    ),
    "outside": (
        lambda file, z: file.create_dataset("a", (9,), "f4", external=[("/etc/passwd", 0, 36)]),
        "is stored outside",
    ),
    "texts": (lambda file, z: file.create_dataset("a", data=["a", "b"]), "holds no floats"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_arrays_that_are_not_read(name, tmp_path):
    h5py = pytest.importorskip("h5py", reason="h5py is not installed")
    make, message = REFUSED[name]
    with h5py.File(tmp_path / "a.h5", "w") as file:
        make(file, np.zeros(9, np.float32))
    with open(tmp_path / "a.h5", "rb") as file, pytest.raises(ValueError, match=message):
        hdf5.File(file).root.find("a").read()


def test_links_lead_nowhere(tmp_path):
    h5py = pytest.importorskip("h5py", reason="h5py is not installed")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["a"] = np.zeros(3)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["here"] = np.zeros(3)
        file["there"] = h5py.SoftLink("/here")
    with open(tmp_path / "a.h5", "rb") as file:
        assert list(hdf5.File(file).root.members) == ["here"]
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["there"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "/a")
    with open(tmp_path / "b.h5", "rb") as file:
        assert hdf5.File(file).root.find("there") is None


def test_another_form_of_hdf5(tmp_path):
    h5py = pytest.importorskip("h5py", reason="h5py is not installed")
    with h5py.File(tmp_path / "a.h5", "w", libver="latest") as file:
        file["a"] = np.zeros(3)
    message = f"^{re.escape(str(tmp_path / 'a.h5'))}: it has the HDF5 superblock 3, and Keras"
    with pytest.raises(ValueError, match=message):
        from_keras(tmp_path / "a.h5")
