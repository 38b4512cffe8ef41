import pytest


@pytest.fixture
def path(tmp_path):
    """For what is peculiar to the form that needs no other library."""
    return tmp_path / "layer.npz"


@pytest.fixture(params=["npz", "safetensors"])
def either(request, tmp_path):
    """A path of either form."""
    if request.param == "safetensors":
        pytest.importorskip("safetensors")
    return tmp_path / f"layer.{request.param}"
