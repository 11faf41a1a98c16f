import os

import pytest

from tagger import cores


def files(root, group, **contents):
    """Lay out what Linux shows of control groups: lines of /proc/self/cgroup, and files by path."""
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(group, "utf-8")
    for path, content in contents.items():
        file = root / "sys/fs/cgroup" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content, "utf-8")
    return root


PERIOD = {"cpu,cpuacct/a/cpu.cfs_period_us": "100000"}


@pytest.fixture
def sixteen(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(16)), raising=False)


@pytest.mark.parametrize(
    ("group", "contents", "expected"),
    [
        ("0::/", {"cpu.max": "300000 100000\n"}, 3),
        ("0::/", {"cpu.max": "max 100000\n"}, 16),
        ("0::/", {"cpu.max": "50000 100000\n"}, 1),
        ("0::/", {"cpu.max": "250000 100000\n"}, 3),
        ("0::/jobs/7", {"jobs/7/cpu.max": "max 100000", "jobs/cpu.max": "200000 100000"}, 2),
        ("0::/outside/of/here", {"cpu.max": "400000 100000"}, 4),
        ("4:memory:/\n3:cpu,cpuacct:/a", {"cpu,cpuacct/a/cpu.cfs_quota_us": "200000", **PERIOD}, 2),
        ("3:cpu,cpuacct:/a", {"cpu/cpu.cfs_quota_us": "500000", "cpu/cpu.cfs_period_us": "100000"}, 5),
        ("1:cpu:/", {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, 16),
        ("1:cpu:/\n0::/", {"unified/cpu.max": "100000 100000"}, 1),
        ("0::/", {"cpu.max": "9900000 100000"}, 16),
        ("0::/", {"cpu.max": "what"}, 16),
        ("nothing like it", {}, 16),
    ],
)  # fmt: skip
def test_a_quota_of_processor_time_counts(tmp_path, sixteen, group, contents, expected):
    assert cores.usable_cores(files(tmp_path, group, **contents)) == expected


def test_cores_that_a_process_must_not_use_do_not_count(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {3}, raising=False)
    assert cores.usable_cores(tmp_path) == 1


def test_without_an_affinity_the_cores_of_the_machine_count(tmp_path, monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 7)
    assert cores.usable_cores(tmp_path) == 7
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert cores.usable_cores(tmp_path) == 1
