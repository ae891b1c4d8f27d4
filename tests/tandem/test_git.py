import asyncio
import os
import time
from pathlib import Path

import pytest

from tandem.errors import BadInput, DeadlineExceeded, DiskFull, ResourceExhausted, TandemError, Unavailable
from tandem.git import GitResult, environment, failure, git, git_version, parse_version, user_git
from tests.support.needs import require


async def fresh(path: Path) -> Path:
    await git("init", "-q", "--bare", str(path), git_dir=path)
    return path


def test_output_input_and_status_come_back(tmp_path: Path) -> None:
    async def main() -> None:
        store = await fresh(tmp_path / "a.git")
        said = await git("hash-object", "-w", "--stdin", git_dir=store, stdin=b"hi\n")
        assert said == GitResult(0, b"45b983be36b73c0788dc9cbcb76cbb80fc7bb057\n", "")
        large = b"x" * (3 << 20)
        oid = (await git("hash-object", "-w", "--stdin", git_dir=store, stdin=large)).text
        assert (await git("cat-file", "blob", oid, git_dir=store)).stdout == large
        assert (await git("cat-file", "-e", "1" * 40, git_dir=store, check=False)).returncode == 1

    asyncio.run(main())


def test_a_failure_names_the_command_the_status_and_gits_words(tmp_path: Path) -> None:
    async def main() -> None:
        with pytest.raises(TandemError, match="git cat-file failed with status 128: fatal: not a git repository"):
            await git("cat-file", "-e", "1" * 40, git_dir=tmp_path / "nothing")

    asyncio.run(main())


def test_nothing_of_the_callers_environment_leads_git_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home/.gitconfig").write_text("[alias]\n\tplanted = version\n")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("GIT_CONFIG_GLOBAL", raising=False)
    monkeypatch.setenv("GIT_INDEX_FILE", "/nowhere")
    monkeypatch.setenv("GIT_TRACE", str(tmp_path / "trace"))
    monkeypatch.setenv("SECRET", "x")
    assert not {"SECRET", "GIT_INDEX_FILE", "GIT_TRACE"} & environment(tmp_path).keys()

    async def main() -> None:
        store = await fresh(tmp_path / "a.git")
        assert (await git("planted", git_dir=store, check=False)).returncode != 0
        assert (await user_git("planted", checkout=store, check=False)).returncode == 0  # the person's own word counts

    asyncio.run(main())
    assert not (tmp_path / "trace").exists()


def test_a_deadline_ends_the_whole_process_group(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"

    async def main() -> float:
        store = await fresh(tmp_path / "a.git")
        began = time.monotonic()
        with pytest.raises(DeadlineExceeded, match=r"git slow took longer than 0\.5 s"):
            await git(
                "slow", git_dir=store, timeout_s=0.5, config=[f"alias.slow=!sleep 60 & echo $! > {pid_file}; wait"]
            )
        return time.monotonic() - began

    assert asyncio.run(main()) < 5
    _gone(pid_file)


def test_cancelling_ends_the_whole_process_group(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"

    async def main() -> None:
        store = await fresh(tmp_path / "a.git")
        task = asyncio.create_task(
            git("slow", git_dir=store, config=[f"alias.slow=!sleep 60 & echo $! > {pid_file}; wait"])
        )
        while not pid_file.exists() or not pid_file.read_text().strip():  # noqa: ASYNC110 - a file has no event
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    _gone(pid_file)


def _gone(pid_file: Path) -> None:
    pid = int(pid_file.read_text())
    for _ in range(100):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return
        if state == "Z":  # dead; whoever adopted it has not looked yet
            return
        time.sleep(0.02)
    raise AssertionError(f"process {pid} outlived its git")


def test_transports_are_off_but_for_the_one_allowed(tmp_path: Path) -> None:
    async def main() -> None:
        store, other = await fresh(tmp_path / "a.git"), await fresh(tmp_path / "b.git")
        refused = await git("ls-remote", str(other), git_dir=store, check=False)
        assert "transport 'file' not allowed" in refused.stderr
        assert (await git("ls-remote", str(other), git_dir=store, protocol="file")).stdout == b""
        for url in ("ext::sh -c id", "https://localhost/x", "ssh://localhost/x", "git://localhost/x"):
            said = await git("ls-remote", url, git_dir=store, check=False, protocol="file")
            assert "not allowed" in said.stderr

    asyncio.run(main())


def test_a_git_that_is_missing_or_too_old_is_named_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for text in ("git version 2.37.9", "git version 1.8.3.1", "nonsense"):
        with pytest.raises(Unavailable, match=r"needs git 2\.38 or newer; install it"):
            parse_version(text)
    assert parse_version("git version 2.39.5 (Apple Git-154)") == (2, 39, 5)
    assert parse_version("git version 2.50.windows.1") == (2, 50, 0)
    assert asyncio.run(git_version()) >= (2, 38)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Unavailable, match="git is not installed or not on PATH; install it"):
        asyncio.run(git("version", git_dir=tmp_path))


def test_a_zero_character_and_a_full_disk_have_their_own_words(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="zero character"):
        asyncio.run(git("rev-parse", "a\0b", git_dir=tmp_path))
    full = failure("fetch", GitResult(128, b"", "fatal: write error: No space left on device"))
    assert isinstance(full, ResourceExhausted)


@pytest.mark.needs("root")
def test_a_full_disk_is_no_ordinary_failure(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    if os.system(f"mount -t tmpfs -o size=256k tmpfs {small} 2>/dev/null") != 0:
        require("small disks", "mounting is not allowed here")
    try:

        async def main() -> None:
            store = await fresh(small / "a.git")
            with pytest.raises(DiskFull, match=r"git hash-object failed .*: the disk that holds .* is full"):
                await git("hash-object", "-w", "--stdin", git_dir=store, stdin=os.urandom(1 << 20))

        asyncio.run(main())
    finally:
        os.system(f"umount {small}")
