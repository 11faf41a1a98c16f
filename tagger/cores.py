"""How many cores this process may use: fewer than the machine has under `taskset`, in a container, in a batch job."""

import math
import os
from pathlib import Path, PurePosixPath


def usable_cores(files: Path = Path("/")) -> int:
    """Return the number of cores that this process may use, at least 1.

    It is the number in the process's affinity mask or, where a control group (cgroup v1 or v2) grants it less processor
    time than these cores have, that quota, rounded up.

    Args:
        files: Root of the file system in which Linux describes control groups.
    """
    affinity = getattr(os, "sched_getaffinity", None)  # not on macOS and Windows
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    quota = _quota(files)
    return max(1, cores if quota is None else min(cores, math.ceil(quota)))


def _quota(files: Path) -> float | None:
    """Return the smallest quota of the process's control groups and of those around them, in cores; None for none."""
    quotas = []
    for folder, group in _groups(files):
        # In a container the path may be that of the machine, of which only the end, or nothing, can be seen here.
        for part in (group, *group.parents):
            if (quota := _quota_in(folder / str(part).lstrip("/"))) is not None:
                quotas.append(quota)
    return min(quotas, default=None)


def _groups(files: Path) -> list[tuple[Path, PurePosixPath]]:
    """Return where the control groups for processor time are, and the path of this process's group in each."""
    try:
        lines = (files / "proc/self/cgroup").read_text("utf-8", "replace").splitlines()
    except OSError:
        return []
    groups, root = [], files / "sys/fs/cgroup"
    for number, controllers, path in (line.split(":", 2) for line in lines if line.count(":") >= 2):
        if number == "0" and not controllers:  # version 2, alone or beside version 1
            groups += [(folder, PurePosixPath(path)) for folder in (root, root / "unified")]
        elif "cpu" in controllers.split(","):
            groups += [(root / name, PurePosixPath(path)) for name in dict.fromkeys((controllers, "cpu"))]
    return groups


def _quota_in(group: Path) -> float | None:
    """Return the quota that the files of one control group set, in cores."""
    try:
        if (group / "cpu.max").exists():
            quota, period = (group / "cpu.max").read_text("ascii").split()[:2]  # "150000 100000", or "max 100000"
        else:
            quota, period = ((group / f"cpu.cfs_{name}_us").read_text("ascii") for name in ("quota", "period"))
        cores = int(quota) / int(period)  # the quota of version 1 is -1 where there is none
    except (OSError, ValueError, ZeroDivisionError):
        return None
    return cores if cores > 0 else None
