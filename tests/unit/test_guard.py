"""The guard by itself: that it leaves the others their turn."""

import asyncio

from holdfast.access.guard import Judged
from holdfast.access.places import sharing_of
from holdfast.access.principal import ANYBODY
from holdfast.access.question import Question
from holdfast.errors import S3Error
from holdfast.limits import JUDGED_SLICE
from holdfast.model import Bucket
from holdfast.s3 import DeleteAsk, DeleteObjects
from holdfast.testing.scene import guard_of


def test_many_deletions_are_judged_a_few_at_a_time() -> None:
    """By a large policy each takes a while, and nobody else was served meanwhile."""

    async def main() -> None:
        asks = tuple(DeleteAsk(f"k{number}") for number in range(1000))
        ask = DeleteObjects("photos", asks)
        question = Question("DeleteObjects", ask, "photos", "", headers={}, query={})
        judged = Judged(ask, ANYBODY, question, sharing_of(Bucket("photos", 1, "", "owner")), {})
        turns = 0

        async def another() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        other = asyncio.ensure_future(another())
        code = ""
        try:
            await guard_of(None).fill(judged, ask)
        except S3Error as refusal:
            code = refusal.code
        other.cancel()
        assert code == "AccessDenied"
        assert turns >= len(asks) // JUDGED_SLICE

    asyncio.run(main())
