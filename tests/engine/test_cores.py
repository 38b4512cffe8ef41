"""How many cores there are: what the quotas of control groups say, of both versions."""

import os

import pytest

from rnncore._engine import cores


def found(tmp_path, membership, files):
    """The quotas of a process with these lines in /proc/self/cgroup, by the files of its groups."""
    (tmp_path / "membership").write_text(membership)
    for name, text in files.items():
        path = tmp_path / "root" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return list(cores.quotas(tmp_path / "membership", tmp_path / "root"))


V1 = "5:memory:/pod/one\n4:cpu,cpuacct:/pod/one\n1:name=systemd:/pod/one\n"


@pytest.mark.parametrize(
    ("membership", "files", "expected"),
    [
        ("0::/\n", {"cpu.max": "150000 100000\n"}, [1.5]),
        ("0::/\n", {"cpu.max": "max 100000\n"}, []),
        ("0::/\n", {}, []),
        ("", {"cpu.max": "150000 100000\n"}, []),
        ("0::/a/b\n", {"a/b/cpu.max": "max 100000", "a/cpu.max": "300000 100000"}, [3.0]),
        ("0::/of/the/host\n", {"cpu.max": "50000 100000"}, [0.5]),
        ("0::/a\n", {"cpu.max": "nonsense"}, []),
        ("0::/a\n", {"cpu.max": "100000 0"}, []),
        (V1, {"cpu,cpuacct/pod/one/cpu.cfs_quota_us": "200000"}, []),
        (V1, {"cpu,cpuacct/pod/one/cpu.cfs_quota_us": "-1",
              "cpu,cpuacct/pod/one/cpu.cfs_period_us": "100000"}, []),
        (V1, {"cpu,cpuacct/pod/one/cpu.cfs_quota_us": "200000",
              "cpu,cpuacct/pod/one/cpu.cfs_period_us": "100000"}, [2.0]),
        (V1, {"cpu/cpu.cfs_quota_us": "400000", "cpu/cpu.cfs_period_us": "100000"}, [4.0]),
        (V1, {"memory/pod/one/cpu.max": "100000 100000"}, []),
    ],
)  # fmt: skip
def test_the_quotas_of_control_groups(tmp_path, membership, files, expected):
    assert found(tmp_path, membership, files) == expected


def test_a_system_without_control_groups(tmp_path):
    assert list(cores.quotas(tmp_path / "none", tmp_path / "none")) == []


@pytest.mark.parametrize(("quota", "expected"), [(0.5, 1), (1.9, 1), (2.0, 2), (1000.0, 2)])
def test_a_quota_is_rounded_down_to_whole_cores(monkeypatch, quota, expected):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 3}, raising=False)
    monkeypatch.setattr(cores, "quotas", lambda membership, root: iter([quota, 7.0]))
    cores._quota_of_process.cache_clear()
    try:
        assert cores.usable_cores() == expected
    finally:
        cores._quota_of_process.cache_clear()
