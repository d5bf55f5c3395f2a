"""The master key opens what it sealed, for the purpose it was sealed for, and nothing else."""

import base64
import os
from pathlib import Path

import pytest

from holdfast.clock import SystemClock
from holdfast.config.notation import Secret
from holdfast.errors import ConfigError
from holdfast.sealing.keyring import open_ring
from holdfast.sealing.master import KEY_BYTES, CannotUnwrap, MasterKey

OLD, NEW = os.urandom(KEY_BYTES), os.urandom(KEY_BYTES)


def test_a_wrapped_secret_opens_with_its_key_and_its_context_only() -> None:
    ring = MasterKey([OLD], SystemClock())
    wrapped = ring.wrap(b"secret", b"access key of alice")
    assert b"secret" not in wrapped
    assert ring.unwrap(wrapped, b"access key of alice") == b"secret"
    assert ring.wrap(b"secret", b"access key of alice") != wrapped
    with pytest.raises(CannotUnwrap, match="another purpose"):
        ring.unwrap(wrapped, b"access key of bob")
    with pytest.raises(CannotUnwrap, match="not at hand"):
        MasterKey([NEW], SystemClock()).unwrap(wrapped, b"access key of alice")


def test_every_flipped_bit_of_a_wrapped_secret_is_noticed() -> None:
    ring = MasterKey([OLD], SystemClock())
    wrapped = ring.wrap(b"secret", b"")
    for bit in range(8 * len(wrapped)):
        damaged = bytearray(wrapped)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(CannotUnwrap):
            ring.unwrap(bytes(damaged), b"")
    for size in range(len(wrapped)):
        with pytest.raises(CannotUnwrap):
            ring.unwrap(wrapped[:size], b"")


def test_after_a_rotation_the_new_key_wraps_and_the_old_one_still_opens() -> None:
    wrapped = MasterKey([OLD], SystemClock()).wrap(b"secret", b"x")
    ring = MasterKey([NEW, OLD], SystemClock())
    assert ring.unwrap(wrapped, b"x") == b"secret"
    assert MasterKey([NEW], SystemClock()).unwrap(ring.wrap(b"secret", b"x"), b"x") == b"secret"


# --- where it is kept ---


def test_a_master_key_is_made_once_for_its_owner_only_and_opens_after_every_start(tmp_path: Path) -> None:
    path = tmp_path / "data" / "master.key"
    wrapped = open_ring(path, SystemClock()).wrap(b"secret", b"x")
    assert path.stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in path.parent.iterdir()] == ["master.key"]
    assert open_ring(path, SystemClock()).unwrap(wrapped, b"x") == b"secret"


def test_a_line_on_top_of_the_key_file_rotates_it(tmp_path: Path) -> None:
    path = tmp_path / "master.key"
    old = open_ring(path, SystemClock()).wrap(b"secret", b"x")
    path.write_text(base64.b64encode(NEW).decode() + "\n" + path.read_text())
    ring = open_ring(path, SystemClock())
    assert ring.unwrap(old, b"x") == b"secret"
    assert MasterKey([NEW], SystemClock()).unwrap(ring.wrap(b"secret", b"x"), b"x") == b"secret"


def test_a_master_key_may_come_from_the_environment_or_another_file(tmp_path: Path) -> None:
    text = base64.b64encode(NEW).decode()
    (tmp_path / "elsewhere").write_text(text + "\n")
    for given in (text, "env:KEY", f"file:{tmp_path / 'elsewhere'}"):
        ring = open_ring(tmp_path / "master.key", SystemClock(), given=Secret(given), environ={"KEY": text})
        assert MasterKey([NEW], SystemClock()).unwrap(ring.wrap(b"s", b"x"), b"x") == b"s"
    assert not (tmp_path / "master.key").exists()


@pytest.mark.parametrize("content", ["", "# only words\n", "c2hvcnQ=\n", "not base64 at all\n", "\u00e9\n"])
def test_a_damaged_master_key_is_never_replaced(tmp_path: Path, content: str) -> None:
    path = tmp_path / "master.key"
    path.write_text(content)
    with pytest.raises(ConfigError, match="no master key"):
        open_ring(path, SystemClock())
    assert path.read_text() == content
    with pytest.raises(ConfigError, match="no variable NOWHERE"):
        open_ring(path, SystemClock(), given=Secret("env:NOWHERE"), environ={})
