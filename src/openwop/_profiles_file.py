"""The credentials file on the disk: read when nobody else may read it, and replaced as a whole.

At no moment is there a file that others can read: the new one is made for its owner alone, in the same folder, and
takes the place of the old one only when all of it is on the disk.
"""

from __future__ import annotations

import os
import secrets
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from openwop._private_files import refuse_if_others_can_read
from openwop.errors import ConfigurationError

__all__ = ["locked", "read_private", "replace"]

MAX_BYTES = 1024 * 1024
LOCK_WAIT_S = 10.0
_LOCK_LOOK_S = 0.02
# Not everywhere: O_NONBLOCK keeps a pipe in the place of the file from holding us up, O_NOFOLLOW is for files of ours.
_READ = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_WRITE = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)


def read_private(path: Path) -> bytes | None:
    """What is in the file, or ``None`` when there is none.

    Raises:
        ConfigurationError: others may read it, it belongs to somebody else, or it is no file.
    """
    try:
        descriptor = os.open(path, _READ)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise ConfigurationError(f"profile: {path} cannot be read ({_reason(error)})") from None
    try:
        # Of the open file, so that it is the one that is read, whatever is put in its place meanwhile.
        _refuse_if_not_private(path, os.fstat(descriptor))
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            content = file.read(MAX_BYTES + 1)
    finally:
        os.close(descriptor)
    if len(content) > MAX_BYTES:
        raise ConfigurationError(f"profile: {path} is longer than {MAX_BYTES} bytes")
    return content


def _refuse_if_not_private(path: Path, facts: os.stat_result) -> None:
    refuse_if_others_can_read("profile", path, facts)
    if sys.platform != "win32" and facts.st_uid not in (0, os.geteuid()):
        # Whoever can write to the folder could put a file of their own there, and point us to a host of theirs.
        raise ConfigurationError(
            f"profile: {path} belongs to another user (uid {facts.st_uid}); it has to be your own"
        )


@contextmanager
def locked(path: Path) -> Generator[Path]:
    """Be the only one who changes the file; gives the place to write to, behind a symbolic link if there is one.

    Raises:
        ConfigurationError: the folder cannot be written to, or another process is at it for too long.
    """
    try:
        _make_private_folder(path.parent)
        real = Path(os.path.realpath(path))
        # It stays: were it removed, a process that waits for it and one that comes later would hold different locks.
        lock = os.open(real.with_name(f"{real.name}.lock"), os.O_RDWR | os.O_CREAT | _WRITE, 0o600)
    except OSError as error:
        raise ConfigurationError(f"profile: {path.parent} cannot be written to ({_reason(error)})") from None
    try:
        deadline = time.monotonic() + LOCK_WAIT_S
        while not _try_lock(lock):
            if time.monotonic() >= deadline:
                raise ConfigurationError(f"profile: another process has been writing {path} for too long")
            time.sleep(_LOCK_LOOK_S)
        yield real
    finally:
        os.close(lock)  # which gives the lock back, as the end of the process does


def replace(path: Path, content: bytes) -> None:
    """Put ``content`` in the place of the file, all of it or nothing.  Call it only inside :func:`locked`."""
    try:
        _sweep(path)
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _WRITE, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                if sys.platform != "win32":
                    os.fchmod(descriptor, 0o600)  # a umask may have taken our own right to read it
                file.write(content)
                file.flush()
                os.fsync(descriptor)
            os.replace(temporary, path)
        except BaseException:
            with suppress(OSError):
                temporary.unlink()
            raise
        _sync_folder(path.parent)
    except OSError as error:
        raise ConfigurationError(f"profile: {path} cannot be written ({_reason(error)})") from None


def _sweep(path: Path) -> None:
    """Remove what a process left behind that was killed as it wrote: nobody else writes now."""
    for left in path.parent.glob(f".{path.name}.*.tmp"):
        with suppress(FileNotFoundError):
            left.unlink()


def _make_private_folder(folder: Path) -> None:
    missing: list[Path] = []
    while not folder.exists():
        missing.append(folder)
        folder = folder.parent
    for each in reversed(missing):
        with suppress(FileExistsError):
            each.mkdir(mode=0o700)


def _sync_folder(folder: Path) -> None:
    if sys.platform == "win32":
        return  # a folder cannot be opened there
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int) -> bool:
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    return True


def _reason(error: OSError) -> str:
    return error.strerror or type(error).__name__
