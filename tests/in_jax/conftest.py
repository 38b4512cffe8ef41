import importlib.util

import pytest

if importlib.util.find_spec("jax") is None:
    collect_ignore_glob = ["test_*.py"]
else:
    import jax

    @pytest.fixture(autouse=True)
    def x64():
        """Both dtypes, whatever other tests have left; a test may do without."""
        before = jax.config.jax_enable_x64
        jax.config.update("jax_enable_x64", True)
        yield
        jax.config.update("jax_enable_x64", before)
