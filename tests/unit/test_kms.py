"""The local key management service: named keys of a setting, bound to their context."""

import asyncio
import base64
import os
from pathlib import Path

import pytest

from holdfast.clock import SystemClock
from holdfast.config.notation import Secret
from holdfast.errors import ConfigError
from holdfast.sealing.kms import DEFAULT_KEY, LocalKms, UnknownKey, open_kms
from holdfast.sealing.master import KEY_BYTES, CannotUnwrap, MasterKey

ONE, TWO, MASTER = (os.urandom(KEY_BYTES) for _ in range(3))
CONTEXT = {"b": "2", "a": "1"}


def line(name: str, key: bytes) -> str:
    return f"{name}:{base64.b64encode(key).decode()}\n"


def service(text: str) -> LocalKms:
    clock = SystemClock()
    return open_kms(MasterKey([MASTER], clock), Secret("env:KEYS" if text else ""), {"KEYS": text}, clock)


def test_a_data_key_is_unwrapped_by_its_key_with_its_context_alone() -> None:
    async def main() -> None:
        kms = service("# keys\n" + line("one", ONE) + line("arn:aws:kms:x:1:key/two", TWO))
        for key_id in ("one", "arn:aws:kms:x:1:key/two", DEFAULT_KEY):
            made = await kms.generate(key_id, CONTEXT)
            assert len(made.plain) == KEY_BYTES and made.plain not in made.wrapped
            assert repr(made.plain) not in repr(made)
            assert await kms.decrypt(key_id, made.wrapped, dict(sorted(CONTEXT.items()))) == made.plain
            for other in ({}, {"a": "1"}, {**CONTEXT, "c": "3"}):
                with pytest.raises(CannotUnwrap):
                    await kms.decrypt(key_id, made.wrapped, other)
        with pytest.raises(CannotUnwrap):
            await kms.decrypt("one", (await kms.generate(DEFAULT_KEY, {})).wrapped, {})
        with pytest.raises(UnknownKey):
            await kms.generate("three", {})
        with pytest.raises(UnknownKey):
            await service("").decrypt("one", (await kms.generate("one", {})).wrapped, {})

    asyncio.run(main())


def test_a_named_key_is_rotated_by_a_line_above_it() -> None:
    async def main() -> None:
        old = await service(line("one", ONE)).generate("one", {})
        both = service(line("one", TWO) + line("one", ONE))
        assert await both.decrypt("one", old.wrapped, {}) == old.plain
        new = await both.generate("one", {})
        assert await service(line("one", TWO)).decrypt("one", new.wrapped, {}) == new.plain
        with pytest.raises(CannotUnwrap):
            await service(line("one", TWO)).decrypt("one", old.wrapped, {})

    asyncio.run(main())


@pytest.mark.parametrize("text", ["one", "one:", "one:AAAA", ":" + "A" * 44, "one:" + "!" * 44])
def test_a_line_that_is_no_key_is_the_operator_s_mistake(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        service(text)
    assert caught.value.where == "sealing.kms_keys"
    assert "!" * 44 not in str(caught.value)


def test_keys_may_come_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "kms.keys"
    file.write_text(line("one", ONE))
    clock = SystemClock()
    kms = open_kms(MasterKey([MASTER], clock), Secret(f"file:{file}"), {}, clock)
    made = asyncio.run(kms.generate("one", {}))
    assert asyncio.run(service(line("one", ONE)).decrypt("one", made.wrapped, {})) == made.plain
    with pytest.raises(ConfigError):
        open_kms(MasterKey([MASTER], clock), Secret(f"file:{tmp_path / 'missing'}"), {}, clock)
