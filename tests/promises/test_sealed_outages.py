"""Sealed objects while a grid is broken: clients notice nothing, and no disk learns a word of them."""

import asyncio
from pathlib import Path

import pytest

from holdfast.keepers.lifecycle import Lifecycle as Keeper
from holdfast.limits import BLOCK_BYTES, INLINE_BYTES, LIFECYCLE_DAY_S, PART_BYTES_MIN
from holdfast.model import Place
from holdfast.s3 import RangeAsk
from holdfast.s3.lifecycle import Filter, Lifecycle, Rule
from holdfast.s3.settings import PutSetting
from holdfast.sealing.frames import MAGIC
from holdfast.testing.faults import Fault, Kind
from tests.engine import BUCKET, Engine
from tests.promises.test_outages import OUTAGES, trim
from tests.promises.test_sealed import ASKS, LINE, body, get, put, upload
from tests.promises.troubled import Troubled

SIZES = {"small": 1000, "spooled": INLINE_BYTES + 1, "large": 4 * BLOCK_BYTES + 7}


async def check(made: Engine, keys: dict[str, tuple[str, bytes]]) -> None:
    for key, (kind, data) in keys.items():
        assert (await made.got(get(key, ASKS[kind])))[1] == data, key
        middle = RangeAsk(len(data) // 2, len(data) // 2 + 70_000)
        part = (await made.got(get(key, ASKS[kind], range=middle)))[1]
        assert part == data[len(data) // 2 : len(data) // 2 + 70_001], key


@pytest.mark.parametrize("outage", OUTAGES)
def test_objects_are_written_and_read_while_a_grid_is_broken(tmp_path: Path, outage: str) -> None:
    async def main() -> None:
        troubled = Troubled()
        keys: dict[str, tuple[str, bytes]] = {}
        async with troubled.engine(tmp_path, cache_bytes=64 * BLOCK_BYTES) as made:
            for name, size in SIZES.items():
                keys[f"before/{name}"] = ("SSE-KMS", body(size))
                await put(made, f"before/{name}", body(size), ASKS["SSE-KMS"])
            await troubled.converge(made)
            await trim(made)
            OUTAGES[outage](troubled)
            await check(made, keys)
            for name, size in SIZES.items():
                keys[f"after/{name}"] = ("SSE-C", body(size))
                await put(made, f"after/{name}", body(size), ASKS["SSE-C"])
            await check(made, keys)
            troubled.heal()
            await troubled.converge(made)
            await trim(made)
            await check(made, keys)
            one, other = await troubled.content("a"), await troubled.content("b")
            assert one == other and one.keys() == keys.keys()
            assert all(copy.startswith(MAGIC) and LINE[:20] not in copy for copy in one.values())

    asyncio.run(main())
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or LINE[:20] not in path.read_bytes(), path


@pytest.mark.parametrize("kind", [Kind.TRUNCATED, Kind.CORRUPT])
def test_a_copy_that_breaks_off_in_the_middle_is_resumed_on_the_other_grid(tmp_path: Path, kind: Kind) -> None:
    parts = [body(PART_BYTES_MIN), body(PART_BYTES_MIN + 3), body(5)]

    async def main() -> None:
        troubled = Troubled()
        async with troubled.engine(tmp_path) as made:
            await upload(made, "m", parts, ASKS["SSE-S3"])
            await troubled.converge(made)
            version = await made.site.index.get(BUCKET, "m")
            assert version is not None and not version.spooled and len(version.copies) == 2
            for broken, whole in (("a", "b"), ("b", "a")):
                troubled.heal()
                troubled.faults[broken].inject(Fault(kind), "get")
                assert await made.read("m") == b"".join(parts)
                assert (await troubled.inner[whole].head(Place(BUCKET, "m"))).size == version.size
                troubled.heal()
                await troubled.converge(made)

    asyncio.run(main())


def test_the_size_that_rules_speak_of_is_that_of_the_plaintext(tmp_path: Path) -> None:
    """Regression: lifecycle rules, `x-amz-expiration` and access logs looked at the size of the ciphertext."""

    async def main() -> None:
        troubled = Troubled()
        async with troubled.engine(tmp_path) as made:
            small = Rule("small", filter=Filter(below=101), days=1)
            await made.store.put_setting(PutSetting(BUCKET, "lifecycle", Lifecycle((small,))))
            await put(made, "small", body(100), ASKS["SSE-S3"])
            await put(made, "large", body(101), ASKS["SSE-S3"])
            assert (await made.got(get("small")))[0].expiry is not None
            assert (await made.got(get("large")))[0].expiry is None
            troubled.clock.leap(3 * LIFECYCLE_DAY_S)
            keeper = Keeper(made.site, day_s=LIFECYCLE_DAY_S)
            while not await keeper.step():
                pass
            assert await made.keys() == ["large"]

    asyncio.run(main())
