"""A sealed copy from a folder grid is opened by `holdfast unseal`, which has no index: only the file, its name, and the key."""

import asyncio
import base64
import os
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from typer.testing import CliRunner, Result

from holdfast.cli.main import app
from holdfast.clock import SystemClock
from holdfast.grids.folder import FolderGrid
from holdfast.limits import BLOCK_BYTES, FRAME_BYTES, PART_BYTES_MIN
from holdfast.model import Facts
from holdfast.s3 import PutObject
from tests.engine import BUCKET, MASTER, NAMED, Bytes, engine
from tests.promises.test_sealed import ASKS, MINE, upload

SIZES = {"empty": 0, "small": 1000, "large": 2 * BLOCK_BYTES + 5}


def text(key: bytes) -> str:
    return base64.b64encode(key).decode()


KEYS = {"MASTER": text(MASTER), "NAMED": f"key-1:{text(NAMED)}", "MINE": text(MINE.key), "OTHER": text(bytes(32))}


def unseal(*arguments: str | Path) -> subprocess.CompletedProcess[bytes]:
    """As an operator runs it."""
    return subprocess.run(
        [sys.executable, "-m", "holdfast", "unseal", *map(str, arguments)],
        capture_output=True,
        timeout=240,
        check=False,
        env={**os.environ, **KEYS},
    )


def call(*arguments: str | Path) -> Result:
    """The same in this process."""
    return CliRunner(env=KEYS).invoke(app, ["unseal", *map(str, arguments)])


class Scene:
    """Two folder grids with sealed objects of every kind and size, and one that was uploaded in parts."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bodies = {f"{kind}/{name}": os.urandom(size) for kind in ASKS for name, size in SIZES.items()}
        self.parts = [os.urandom(PART_BYTES_MIN), os.urandom(FRAME_BYTES + 1)]
        asyncio.run(self._fill())

    async def _fill(self) -> None:
        grids = [FolderGrid(name, self.folder / name, clock=SystemClock()) for name in ("a", "b")]
        async with engine(self.folder, grids) as made:
            for key, data in self.bodies.items():
                ask = PutObject(BUCKET, key, Facts(), seal=ASKS[key.partition("/")[0]])
                await made.store.put_object(ask, Bytes(data))
            await upload(made, "parts", self.parts, ASKS["SSE-S3"])
            await made.converge()

    def copy(self, key: str, grid: str = "a") -> Path:
        return self.folder / grid / BUCKET / key


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    return Scene(tmp_path_factory.mktemp("sealed"))


OPTIONS = ("--master-key", "env:MASTER", "--kms-keys", "env:NAMED", "--customer-key", "env:MINE")


@pytest.mark.parametrize("kind", ASKS)
def test_a_copy_of_every_kind_is_opened_without_the_index(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in SIZES:
        key = f"{kind}/{name}"
        told = call(scene.copy(key), "--bucket", BUCKET, "--key", key, "--output", name, *OPTIONS)
        assert told.exit_code == 0, told.output
        assert (tmp_path / name).read_bytes() == scene.bodies[key]
    assert {path.name for path in tmp_path.iterdir()} == set(SIZES)


def test_parts_come_out_as_one_object_on_standard_output(scene: Scene, tmp_path: Path) -> None:
    told = unseal(
        scene.copy("parts", "b"), "--bucket", BUCKET, "--key", "parts", "--data", tmp_path, "--master-key", "env:MASTER"
    )
    assert (told.returncode, told.stdout) == (0, b"".join(scene.parts)), told.stderr


def test_what_is_not_the_object_is_told_and_leaves_no_file(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    cut = tmp_path / "cut"
    cut.write_bytes(scene.copy("SSE-S3/large").read_bytes()[:-1])
    for copy, key, *options in (
        (cut, "SSE-S3/large", "--master-key", "env:MASTER"),
        (scene.copy("SSE-S3/large"), "SSE-S3/large", "--master-key", "env:OTHER"),
        (scene.copy("SSE-S3/large"), "another", "--master-key", "env:MASTER"),
        (scene.copy("SSE-C/small"), "SSE-C/small", "--customer-key", "env:OTHER"),
        (tmp_path / "missing", "SSE-S3/large", "--master-key", "env:MASTER"),
    ):
        told = call(copy, "--bucket", BUCKET, "--key", str(key), "--output", "opened", *map(str, options))
        assert (told.exit_code, told.exception.__class__) == (1, SystemExit), told.output
        assert [path.name for path in tmp_path.iterdir()] == ["cut"]


def test_without_a_key_that_is_said_and_none_is_made(scene: Scene, tmp_path: Path) -> None:
    for key, missing in (("SSE-S3/large", b"master.key"), ("SSE-C/small", b"--customer-key")):
        told = unseal(scene.copy(key), "--bucket", BUCKET, "--key", key, "--data", tmp_path)
        assert told.returncode == 2 and told.stderr.startswith(b"error: ") and missing in told.stderr
        assert b"Traceback" not in told.stderr and not list(tmp_path.iterdir())


def test_the_documented_form_is_all_that_another_program_needs(scene: Scene) -> None:
    """docs/ENCRYPTION.md, "What lies there", followed to the letter, with nothing of ours but the master key."""

    def field(data: bytes, at: int) -> tuple[bytes, int]:
        end = at + 2 + int.from_bytes(data[at : at + 2], "big")
        return data[at + 2 : end], end

    copy = scene.copy("parts").read_bytes()
    at = 0
    plain: list[bytes] = []
    while at < len(copy):
        assert copy[at : at + 8] == b"HFSEAL1\n"
        start, salt = at, copy[at + 10 : at + 42]
        envelope, at = field(copy, at + 42)
        assert envelope[0] == 1
        wrapped, _ = field(envelope, 1)
        additional = b"\0".join((b"object data key", BUCKET.encode(), b"parts"))
        data_key = AESGCM(MASTER).decrypt(wrapped[8:20], wrapped[20:], additional)
        hkdf = HKDF(algorithm=hashes.SHA256(), length=32, salt=salt, info=copy[start:at])
        cipher = AESGCM(hkdf.derive(data_key))
        number, last = 0, 0
        while not last:
            head = copy[at : at + 4]
            last = head[0] >> 7
            size = int.from_bytes(head, "big") & 0x7FFFFFFF
            plain.append(cipher.decrypt(bytes([last]) + number.to_bytes(11, "big"), copy[at + 4 : at + size], head))
            at += size
            number += 1
    assert b"".join(plain) == b"".join(scene.parts)
