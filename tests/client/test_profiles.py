"""Profiles on the disk: written for their owner alone, changed without harm, and used for their own host only."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from openwop import AsyncOpenwopClient, ConfigurationError
from openwop import _profiles_file as profiles_file
from openwop.credentials import (
    Secret,
    credentials_path,
    delete_profile,
    profile_names,
    profile_settings,
    save_profile,
)
from support.fault_server import FaultServer, json_response, snapshot_doc

posix_only = pytest.mark.skipif(sys.platform == "win32", reason="permission bits are those of POSIX")


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder for settings that is the test's own."""
    for name in ("OPENWOP_BASE_URL", "OPENWOP_API_KEY", "OPENWOP_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "settings"))
    monkeypatch.setenv("APPDATA", str(tmp_path / "settings"))
    return tmp_path / "settings" / "openwop"


@pytest.fixture
def generous_umask() -> Iterator[None]:
    """Nothing is taken from the permissions that a file is made with."""
    before = os.umask(0)
    yield
    os.umask(before)


def write(text: str) -> Path:
    path = credentials_path()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8", newline="")
    path.chmod(0o600)
    return path


def permissions(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_profile_that_was_saved_is_read_again() -> None:
    save_profile("work", base_url="https://work.example", api_key="hk_work")
    save_profile("default", base_url="https://host.example")
    work = profile_settings("work")
    assert work is not None
    assert (work.base_url, work.api_key and work.api_key.get()) == ("https://work.example", "hk_work")
    assert profile_settings(None) == profile_settings("default")
    assert profile_names() == ["work", "default"]
    save_profile("work", api_key="hk_next")
    assert profile_settings("work").api_key.get() == "hk_next"  # type: ignore[union-attr]
    assert delete_profile("work")
    assert not delete_profile("work")
    assert profile_names() == ["default"]


@pytest.mark.parametrize(
    ("platform", "variables", "expected"),
    [
        ("linux", {"XDG_CONFIG_HOME": "/x"}, "/x/openwop/credentials.toml"),
        ("linux", {"XDG_CONFIG_HOME": "not/absolute"}, "/home/me/.config/openwop/credentials.toml"),
        ("linux", {}, "/home/me/.config/openwop/credentials.toml"),
        ("darwin", {}, "/home/me/Library/Application Support/openwop/credentials.toml"),
        ("darwin", {"XDG_CONFIG_HOME": "/x"}, "/x/openwop/credentials.toml"),
        ("win32", {"APPDATA": "/roaming"}, "/roaming/openwop/credentials.toml"),
        ("win32", {}, "/home/me/AppData/Roaming/openwop/credentials.toml"),
    ],
)
def test_the_file_is_where_the_platform_keeps_settings(
    monkeypatch: pytest.MonkeyPatch, platform: str, variables: dict[str, str], expected: str
) -> None:
    """We chose it: the XDG rules, which also say to ignore a relative folder, and those of macOS and Windows."""
    for name in ("XDG_CONFIG_HOME", "APPDATA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in (variables | {"HOME": "/home/me"}).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "platform", platform)
    assert credentials_path() == Path(expected)


def test_a_user_without_a_home_is_told_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.setattr(Path, "home", lambda: (_ for _ in ()).throw(RuntimeError("no home")))
    with pytest.raises(ConfigurationError, match="XDG_CONFIG_HOME"):
        credentials_path()


def test_nothing_is_made_where_nothing_is_to_be_changed(folder: Path) -> None:
    assert not delete_profile("work")
    assert profile_names() == []
    assert not folder.exists()


@posix_only
def test_a_new_file_and_its_folder_are_for_their_owner_alone(folder: Path, generous_umask: None) -> None:
    save_profile("work", base_url="https://work.example", api_key="hk_work")
    assert permissions(credentials_path()) == 0o600
    assert permissions(folder) == 0o700
    assert {permissions(path) for path in folder.iterdir()} == {0o600}


@posix_only
def test_at_no_moment_is_there_a_file_that_others_can_read(
    folder: Path, generous_umask: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each file is looked at just after it was made, and a thread looks at all of them all the time."""
    made: list[int] = []
    real_open = os.open

    def watched_open(path: Any, flags: int, mode: int = 0o777, **more: Any) -> int:
        descriptor = real_open(path, flags, mode, **more)
        if flags & os.O_CREAT:
            made.append(stat.S_IMODE(os.fstat(descriptor).st_mode))
        return descriptor

    monkeypatch.setattr(os, "open", watched_open)
    seen: set[int] = set()
    over = threading.Event()

    def look() -> None:
        while not over.is_set():
            for path in folder.glob("*") if folder.exists() else ():
                try:
                    seen.add(permissions(path))
                except FileNotFoundError:
                    continue

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        for number in range(50):
            save_profile("work", base_url="https://work.example", api_key=f"hk_{number}")
    finally:
        over.set()
        watcher.join()
    assert len(made) >= 100
    assert set(made) == {0o600}
    assert seen == {0o600}


@posix_only
def test_a_umask_that_takes_everything_leaves_the_file_to_its_owner(folder: Path) -> None:
    """We chose it: a file that we could not read ourselves would be lost."""
    folder.mkdir(parents=True)
    before = os.umask(0o777)
    try:
        save_profile("work", base_url="https://work.example")
    finally:
        os.umask(before)
    assert permissions(credentials_path()) == 0o600


@posix_only
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o610])
def test_a_file_that_others_can_read_is_neither_read_nor_written(mode: int) -> None:
    path = write("[profiles.work]\nbase_url = 'https://work.example'\n")
    path.chmod(mode)
    before = path.read_bytes()
    for call in (
        lambda: profile_settings("work"),
        profile_names,
        lambda: save_profile("work", api_key="hk_new"),
        lambda: delete_profile("work"),
    ):
        with pytest.raises(ConfigurationError, match="chmod 600"):
            call()
    assert path.read_bytes() == before


@posix_only
def test_a_file_of_another_user_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who can write to the folder could point us to a host of theirs."""
    write("[profiles.work]\nbase_url = 'https://work.example'\n")
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 4711)
    facts = credentials_path().stat()
    if facts.st_uid == 0:  # root's files are anybody's to trust
        os.chown(credentials_path(), 4712, -1)
    with pytest.raises(ConfigurationError, match="belongs to another user"):
        profile_settings("work")


@posix_only
@pytest.mark.parametrize("kind", ["pipe", "folder"])
def test_what_is_no_file_is_refused_and_holds_nobody_up(folder: Path, kind: str) -> None:
    """Opening a pipe to read waits for somebody who writes."""
    folder.mkdir(parents=True)
    {"pipe": os.mkfifo, "folder": os.mkdir}[kind](credentials_path(), 0o600)
    with pytest.raises(ConfigurationError, match="not a file"):
        profile_settings("work")


def test_a_file_that_never_ends_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profiles_file, "MAX_BYTES", 100)
    write("#" * 101)
    with pytest.raises(ConfigurationError, match="longer than 100 bytes"):
        profile_names()


@posix_only
def test_a_link_to_the_file_stays_a_link(folder: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "secrets.toml"
    elsewhere.write_text("# mine\n")
    elsewhere.chmod(0o600)
    folder.mkdir(parents=True)
    credentials_path().symlink_to(elsewhere)
    save_profile("work", base_url="https://work.example")
    assert credentials_path().is_symlink()
    assert elsewhere.read_text().startswith("# mine\n")
    assert profile_names() == ["work"]


@posix_only
def test_a_folder_that_cannot_be_written_to_says_so(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: Any, **more: Any) -> Any:
        raise PermissionError(13, "Permission denied")

    save_profile("work", base_url="https://work.example")
    before = credentials_path().read_bytes()
    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", refuse)
        with pytest.raises(ConfigurationError, match="cannot be written"):
            save_profile("work", api_key="hk_new")
    assert credentials_path().read_bytes() == before
    assert sorted(path.name for path in folder.iterdir()) == ["credentials.toml", "credentials.toml.lock"]


def test_what_a_killed_process_left_behind_is_swept_away(folder: Path) -> None:
    save_profile("work", base_url="https://work.example")
    (folder / ".credentials.toml.0123.tmp").write_text("hk_old")
    save_profile("work", api_key="hk_new")
    assert sorted(path.name for path in folder.iterdir()) == ["credentials.toml", "credentials.toml.lock"]


def test_processes_that_write_at_once_lose_nothing(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom openwop.credentials import save_profile\n"
        "for i in range(15): save_profile(f'{sys.argv[1]}-{i}', base_url='https://work.example', api_key='hk_1')"
    )
    children = [subprocess.Popen([sys.executable, "-c", code, name]) for name in ("a", "b", "c")]
    assert [child.wait(60) for child in children] == [0, 0, 0]
    assert sorted(profile_names()) == sorted(f"{name}-{i}" for name in "abc" for i in range(15))


def test_one_that_waits_too_long_for_another_gives_up(monkeypatch: pytest.MonkeyPatch) -> None:
    save_profile("work", base_url="https://work.example")
    monkeypatch.setattr(profiles_file, "LOCK_WAIT_S", 0.0)
    with profiles_file.locked(credentials_path()), pytest.raises(ConfigurationError, match="another process"):
        save_profile("work", api_key="hk_new")


def test_what_was_in_the_file_stays() -> None:
    """Comments, keys and tables that are not known here, and the order of it all."""
    path = write(
        "# my hosts\n[profiles.default]\nbase_url = 'https://a.example'\ncolour = 'blue'  # mine\n\n"
        "# at work\n[profiles.work]\nbase_url = 'https://b.example'\napi_key = 'hk_old'\n\n[other]\nx = 1\n"
    )
    save_profile("work", api_key="hk_new")
    save_profile("new", base_url="https://c.example")
    assert path.read_text() == (
        "# my hosts\n[profiles.default]\nbase_url = 'https://a.example'\ncolour = 'blue'  # mine\n\n"
        "# at work\n[profiles.work]\nbase_url = 'https://b.example'\napi_key = \"hk_new\"\n\n[other]\nx = 1\n\n"
        '[profiles.new]\nbase_url = "https://c.example"\n'
    )


def test_a_form_that_only_a_person_can_change_is_left_alone() -> None:
    path = write("profiles = {work = {base_url = 'https://a.example', api_key = 'hk_secret'}}\n")
    before = path.read_bytes()
    for call in (lambda: save_profile("work", api_key="hk_new"), lambda: delete_profile("work")):
        with pytest.raises(ConfigurationError, match="only a person") as caught:
            call()
        assert "hk_" not in str(caught.value)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"base_url": "host.example"}, "base_url"),
        ({"base_url": "https://host.example/v1"}, "base_url"),
        ({"base_url": "https://host.example", "api_key": "two words"}, "api_key"),
        ({"base_url": "https://host.example", "api_key": ""}, "api_key"),
        ({"api_key": "hk_1"}, "base_url"),
        ({"name": "", "base_url": "https://host.example"}, "profile"),
        ({"name": "a\nb", "base_url": "https://host.example"}, "profile"),
        ({"name": "n" * 101, "base_url": "https://host.example"}, "profile"),
    ],
)
def test_what_cannot_be_a_profile_is_refused_before_anything_is_written(
    folder: Path, arguments: dict[str, Any], field: str
) -> None:
    with pytest.raises(ConfigurationError, match=f"^{field}"):
        save_profile(**{"name": "work"} | arguments)
    assert not credentials_path().exists()


def test_a_key_does_not_move_to_another_host_by_itself() -> None:
    save_profile("work", base_url="https://work.example", api_key="hk_work")
    with pytest.raises(ConfigurationError, match="api_key"):
        save_profile("work", base_url="https://other.example")
    save_profile("work", base_url="https://other.example", api_key="hk_other")
    save_profile("work", base_url="https://other.example:443")  # the same host, said in another way
    assert profile_settings("work").api_key.get() == "hk_other"  # type: ignore[union-attr]


@pytest.mark.anyio
@pytest.mark.parametrize("by_environment", [False, True])
async def test_a_profiles_key_is_sent_to_its_own_host_and_to_no_other(
    monkeypatch: pytest.MonkeyPatch, by_environment: bool
) -> None:
    """We chose it: whatever points a client elsewhere, an argument or the environment."""
    with FaultServer() as own, FaultServer() as other:
        for server in (own, other):
            server.on("GET", "/v1/runs/run-1", json_response(200, snapshot_doc()))
        save_profile("work", base_url=own.base_url, api_key="hk_work")
        if by_environment:
            monkeypatch.setenv("OPENWOP_PROFILE", "work")
        profile = None if by_environment else "work"
        for base_url in (None, own.base_url, other.base_url):
            async with AsyncOpenwopClient(base_url, profile=profile, protocol="1") as client:
                await client.runs.get("run-1")
        assert [request.headers.get("authorization") for request in own.requests] == ["Bearer hk_work"] * 2
        assert [request.headers.get("authorization") for request in other.requests] == [None]


def test_a_profile_shows_no_key() -> None:
    save_profile("work", base_url="https://work.example", api_key="hk_canary")
    profile = profile_settings("work")
    assert "canary" not in repr(profile)
    assert isinstance(profile.api_key, Secret)  # type: ignore[union-attr]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
