"""How many cores this process may use: by its affinity, and by the quota of its container."""

import os
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")


def usable_cores() -> int:
    """Cores of the affinity mask, within what the control groups of the process allow."""
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    return min(cores, _quota_of_process())


@cache
def _quota_of_process() -> int:
    """The least quota; read once: the files take 200 us, and a limit may be set at every call."""
    found = quotas(Path("/proc/self/cgroup"), CGROUPS)
    return min((max(1, int(quota)) for quota in found), default=sys.maxsize)


def quotas(membership: Path, root: Path) -> Iterator[float]:
    """The limits in cores of the groups that the process is in, and of those around them.

    A line of `membership` is ``number:controllers:path``; version 2 has the number 0 and no
    controllers, and a file ``cpu.max`` in each group; version 1 has a folder of its own for the
    controller "cpu", and two files in each group. In a container the path may be one that is not
    seen from inside: there the group is mounted at the root. (cgroups(7); the kernel's
    admin-guide/cgroup-v2.rst and scheduler/sched-bwc.rst)
    """
    try:
        lines = membership.read_text().splitlines()
    except OSError:  # no such system
        lines = []
    for line in lines:
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0" and not controllers:
            mounts = [root, root / "unified"]
        elif "cpu" in controllers.split(","):
            mounts = [root / controllers, root / "cpu"]
        else:
            continue
        for mount in mounts:
            group = mount / path.lstrip("/")
            for folder in (group, *group.parents):
                if folder == mount.parent:
                    break
                quota = _quota(folder)
                if quota is not None:
                    yield quota


def _quota(folder: Path) -> float | None:
    """The limit of one group; None where it has none."""
    for names in (("cpu.max",), ("cpu.cfs_quota_us", "cpu.cfs_period_us")):
        try:
            quota, period = " ".join((folder / name).read_text() for name in names).split()
            if int(quota) > 0 and int(period) > 0:
                return int(quota) / int(period)
        except (OSError, ValueError):  # it has no such file, or a quota of "max"
            pass
    return None
