"""What the kernel says of a server's processes: processor time and resident memory.

Reads /proc and changes nothing but the high-water mark of the memory of processes that we started.
"""

import contextlib
import os
from pathlib import Path

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def parse_stat(text: str) -> tuple[int, float]:
    """The parent and the processor seconds (user and system) of a line of /proc/PID/stat.

    The name in it may hold blanks and parentheses.
    """
    fields = text.rpartition(")")[2].split()
    return int(fields[1]), (int(fields[11]) + int(fields[12])) / _TICKS_PER_S


def tree(root: int) -> dict[int, float]:
    """The processor seconds of a process and of all its descendants that are alive."""
    known: dict[int, tuple[int, float]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError):
                known[int(entry)] = parse_stat(Path(f"/proc/{entry}/stat").read_text())
    found: dict[int, float] = {}
    waiting = [root]
    while waiting:
        pid = waiting.pop()
        if pid in known and pid not in found:
            found[pid] = known[pid][1]
            waiting += [child for child, (parent, _) in known.items() if parent == pid]
    return found


def cpu_s(root: int) -> float:
    """Processor seconds of the whole tree so far, in steps of 10 ms on most kernels."""
    return sum(tree(root).values())


def parse_high_water_mib(text: str) -> float:
    """VmHWM of /proc/PID/status in MiB; 0 where there is none."""
    for line in text.splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return 0.0


def high_water_mib(root: int) -> float:
    """The most memory that was resident since `forget_high_water`, summed over the tree (shared pages count for each)."""
    total = 0.0
    for pid in tree(root):
        with contextlib.suppress(OSError):
            total += parse_high_water_mib(Path(f"/proc/{pid}/status").read_text())
    return total


def forget_high_water(root: int) -> None:
    """Begin the high-water marks of the tree anew."""
    for pid in tree(root):
        with contextlib.suppress(OSError):
            Path(f"/proc/{pid}/clear_refs").write_text("5")
