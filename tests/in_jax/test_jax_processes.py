"""JAX in processes of their own: long runs that must not hang, several devices, imports."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("jax", reason="JAX is not installed")

import rnncore


def run_python(code: str, seconds: float, *arguments: object, **environment: str) -> str:
    """What `code` prints; one that takes longer hangs."""
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=Path(rnncore.__file__).parents[1],
        env=os.environ | {"JAX_PLATFORMS": "cpu"} | environment,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


HANGS = """
import os
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
import jax, jax.numpy as jnp, rnncore as rc, rnncore.jax as rj
layer = rc.GRU(512, 16, 2, rng=0)
params, x = jax.tree.map(jnp.asarray, layer.params), jnp.ones((64, 32, 512), "f4")  # 4 MB
grad = jax.jit(jax.value_and_grad(lambda p, x: (rj.gru(p, x)[0] ** 2).mean(), (0, 1)))
for k in range(200):
    loss, grads = grad(params, x + k)
    if k % 50 == 0:
        rc.GRU(3, 4)  # Python goes on beside it
print(float(loss) > 0)
"""


@pytest.mark.parametrize("dispatch", ["True", "False"])
def test_two_hundred_runs_of_large_arrays_on_one_core_end(dispatch):
    assert run_python(HANGS, 200, JAX_CPU_ENABLE_ASYNC_DISPATCH=dispatch).strip() == "True"


BESIDE = """
import threading, jax, jax.numpy as jnp, numpy as np, rnncore as rc, rnncore.jax as rj
rc.set_num_threads(2)
layer = rc.LSTM(64, 96, 2, rng=0)
x = np.random.default_rng(0).standard_normal((40, 16, 64)).astype("f4")
want = layer(x)[0]
call = jax.jit(lambda p, x: rj.lstm(p, x)[0])
right = []
def work():
    right.append(all(np.array_equal(call(layer.params, x), want) for _ in range(20)))
threads = [threading.Thread(target=work) for _ in range(4)]
for thread in threads:
    thread.start()
for _ in range(20):  # and the layer itself, on the same pool
    right.append(np.array_equal(layer(x)[0], want))
for thread in threads:
    thread.join()
print(len(right), all(right))
"""


def test_threads_of_python_and_of_xla_share_the_pool():
    assert run_python(BESIDE, 200).split() == ["24", "True"]


SHARDED = """
import sys, numpy as np, jax, rnncore as rc, rnncore.jax as rj
from jax.sharding import NamedSharding, PartitionSpec as P
first = sys.argv[1] == "True"
mesh = jax.sharding.Mesh(np.array(jax.devices()).reshape(4, 1), ("rows", "other"))
layer = rc.LSTM(3, 5, 2, bidirectional=True, proj_size=2, batch_first=first, rng=0)
x = np.random.default_rng(0).standard_normal((8, 6, 3) if first else (6, 8, 3)).astype("f4")
rows = P("rows") if first else P(None, "rows")
params = jax.device_put(layer.params, NamedSharding(mesh, P()))
split = jax.device_put(x, NamedSharding(mesh, rows))
worst = 0.0
for lengths in (None, np.array([1, 6, 0, 3, 2, 2, 5, 4])):
    def call(p, x, n):
        return rj.lstm(p, x, lengths=n, batch_first=first)
    def loss(p, x, n):
        y, (h, c) = call(p, x, n)
        return (y ** 2).sum() + (c ** 3).sum()
    def by_rows(p, x, n):
        own = jax.shard_map(lambda p, x, n: jax.lax.psum(loss(p, x, n), "rows"), mesh=mesh,
                            in_specs=(P(), rows, P("rows")), out_specs=P(), check_vma=False)
        return own(p, x, n)
    y = jax.jit(call)(params, split, lengths)[0]
    assert y.sharding.spec == rows  # each device has computed its own
    assert np.array_equal(y, layer(x, lengths=lengths)[0])
    want = jax.grad(loss, (0, 1))(layer.params, x, lengths)
    for each in (loss, by_rows):
        grad = jax.jit(jax.grad(each, (0, 1))).lower(params, split, lengths).compile()
        if lengths is None:
            assert "all-gather" not in grad.as_text() and "all-reduce" in grad.as_text()
        got = grad(params, split, lengths)
        for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
            worst = max(worst, float(abs(np.asarray(a) - np.asarray(b)).max() / abs(b).max()))
print(len(jax.devices()), worst < 1e-6)
"""


@pytest.mark.parametrize("batch_first", [True, False])
def test_rows_on_four_devices_give_what_one_device_gives(batch_first):
    flag = "--xla_force_host_platform_device_count=4"
    assert run_python(SHARDED, 200, batch_first, XLA_FLAGS=flag).split() == ["4", "True"]


def test_importing_rnncore_imports_no_jax():
    assert run_python("import sys, rnncore; print('jax' in sys.modules)", 60).strip() == "False"


def test_another_version_of_the_interface_is_refused_before_it_is_used():
    code = """
import rnncore._core as c
c.core.XLA_MAJOR = 1
try:
    import rnncore.jax
except ImportError as error:
    print(error)
"""
    found = run_python(code, 60)
    assert "foreign function interface of JAX" in found
    assert "expected 1: another rnncore or another JAX is needed" in found


def test_without_jax_it_is_said_what_to_install():
    code = """
import sys
sys.modules["jax"] = None
try:
    import rnncore.jax
except ImportError as error:
    print(error)
"""
    assert "pip install 'rnncore[jax]'" in run_python(code, 60)
