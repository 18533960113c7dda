"""How much memory is left, read from files like those of containers and machines of several kinds."""

from pathlib import Path

import pytest

from speedyzero.system.memory_limits import group_limits, is_in_memory, tightest_memory_limit

MIB = 2**20
MEMINFO = "MemTotal:       16384 kB\nMemFree:         1024 kB\nMemAvailable:    8192 kB\nHugePages_Total:       0\n"
NO_LIMIT_V1 = str(2**63 - 4096)


class Machine:
    """A /proc and a /sys/fs/cgroup."""

    def __init__(self, folder: Path):
        self.proc, self.groups = folder / "proc", folder / "groups"
        self.roots = {"proc": self.proc, "groups": self.groups}
        (self.proc / "self").mkdir(parents=True)
        self.write("meminfo", MEMINFO)

    def write(self, name: str, text: str) -> None:
        (self.proc / name).write_text(text)

    def group_v2(self, path: str, *, limit: str, used: int, droppable: int = 0) -> None:
        self._group(path, {"memory.max": limit, "memory.current": used}, f"anon 1\ninactive_file {droppable}\n")

    def group_v1(self, path: str, *, limit: str, used: int, droppable: int = 0) -> None:
        numbers = {"memory.limit_in_bytes": limit, "memory.usage_in_bytes": used}
        self._group(f"memory/{path}", numbers, f"inactive_file 7\ntotal_inactive_file {droppable}\n")

    def _group(self, path: str, numbers: dict[str, object], stat: str) -> None:
        folder = self.groups / path
        folder.mkdir(parents=True, exist_ok=True)
        for name, number in numbers.items():
            (folder / name).write_text(f"{number}\n")
        (folder / "memory.stat").write_text(stat)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_every_group_up_to_the_root_binds(machine):
    machine.write("self/cgroup", "0::/outer/inner\n")
    machine.group_v2("outer", limit=str(6 * MIB), used=5 * MIB, droppable=MIB)
    machine.group_v2("outer/inner", limit=str(5 * MIB), used=MIB)
    machine.group_v2("outer/inner/not-ours", limit="1", used=0)
    limits = {limit.where: (limit.limit_bytes, limit.free_bytes) for limit in group_limits(**machine.roots)}
    assert limits == {
        f"{machine.groups}/outer/inner/memory.max": (5 * MIB, 4 * MIB),
        f"{machine.groups}/outer/memory.max": (6 * MIB, 2 * MIB),
    }
    tightest = tightest_memory_limit(**machine.roots)
    assert tightest.where == f"{machine.groups}/outer/memory.max" and tightest.free_bytes == 2 * MIB


def test_version_1_beside_an_empty_version_2(machine):
    machine.write("self/cgroup", "9:cpu,cpuacct:/job\n4:memory:/job/step\n0::/\n")
    machine.group_v1("", limit=NO_LIMIT_V1, used=9 * MIB)
    machine.group_v1("job", limit=str(8 * MIB), used=7 * MIB, droppable=4 * MIB)
    machine.group_v1("job/step", limit=NO_LIMIT_V1, used=MIB)
    (limit,) = group_limits(**machine.roots)
    assert limit.where == f"{machine.groups}/memory/job/memory.limit_in_bytes"
    assert (limit.limit_bytes, limit.free_bytes) == (8 * MIB, 5 * MIB)


@pytest.mark.parametrize("path", ["/docker/abc", "/", "/../elsewhere"])
def test_a_container_that_sees_its_own_group_alone(machine, path):
    machine.write("self/cgroup", f"0::{path}\n")
    machine.group_v2("", limit=str(3 * MIB), used=MIB)
    (limit,) = group_limits(**machine.roots)
    assert limit.free_bytes == 2 * MIB and limit.where == f"{machine.groups}/memory.max"


def test_without_a_limit_the_machine_is_one(machine):
    machine.write("self/cgroup", "0::/job\n")
    machine.group_v2("job", limit="max", used=MIB)
    limit = tightest_memory_limit(**machine.roots)
    assert limit.where == "this machine (MemAvailable)"
    assert (limit.limit_bytes, limit.free_bytes) == (16 * MIB, 8 * MIB)
    machine.group_v2("job", limit=str(9 * MIB), used=0)
    assert tightest_memory_limit(**machine.roots).free_bytes == 8 * MIB, "a limit above what there is"
    machine.group_v2("job", limit=str(MIB), used=3 * MIB, droppable=MIB)
    assert tightest_memory_limit(**machine.roots).free_bytes == 0, "a group beyond its limit"


def test_a_kernel_that_tells_nothing_limits_nothing(tmp_path):
    assert tightest_memory_limit(proc=tmp_path, groups=tmp_path) is None and not is_in_memory(tmp_path, proc=tmp_path)


def test_the_real_files_of_this_machine_are_understood():
    limit = tightest_memory_limit()
    assert limit is not None and 0 < limit.free_bytes <= limit.limit_bytes
    assert is_in_memory(Path("/dev/shm"))


def test_which_directories_are_memory(machine, tmp_path):
    disk, inside, again = tmp_path / "disk", tmp_path / "disk" / "in memory", tmp_path / "disk" / "in memory" / "not"
    again.mkdir(parents=True)
    lines = (("/", "ext4"), (inside, "tmpfs"), (again, "tmpfs"), (again, "ext4"))  # the last hides what is under it
    text = [f"none {str(point).replace(' ', chr(92) + '040')} {kind} rw 0 0" for point, kind in lines]
    machine.write("self/mounts", "\n".join(text))
    (tmp_path / "link").symlink_to(inside)
    known = {directory: is_in_memory(directory, proc=machine.proc) for directory in (disk, inside, again)}
    assert known == {disk: False, inside: True, again: False}
    assert is_in_memory(tmp_path / "link", proc=machine.proc)
    (disk / "in memory also").mkdir()
    assert not is_in_memory(disk / "in memory also", proc=machine.proc)
