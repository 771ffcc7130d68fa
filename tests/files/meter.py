"""Memory that a piece of work takes, and a bound on it, so that a bomb fails its test and not the machine."""

from __future__ import annotations

import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MIB = 2**20
STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


@contextmanager
def at_most(mib: int = 200, room: int = 1024) -> Iterator[None]:
    """Fail if the block takes more than so many MiB at once; past ``room`` MiB there is no memory for it at all."""
    limits = resource.getrlimit(resource.RLIMIT_AS)
    try:
        CLEAR.write_text("5")  # the peak begins anew
        before, mapped = held("VmRSS"), held("VmSize")
        resource.setrlimit(resource.RLIMIT_AS, (mapped + room * MIB, limits[1]))
    except OSError:  # no Linux: the block runs unmeasured
        yield
        return
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)
    taken = (held("VmHWM") - before) / MIB
    assert taken < mib, f"{taken:.0f} MiB were taken, and {mib} are allowed"


def held(name: str) -> int:
    """Bytes of a line of this process's status."""
    (line,) = [line for line in STATUS.read_text().splitlines() if line.startswith(f"{name}:")]
    return int(line.split()[1]) * 1024


@contextmanager
def full_disk(room: int) -> Iterator[None]:
    """A disk on which no file grows past so many bytes, as the system says it, not as a test plays it."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
