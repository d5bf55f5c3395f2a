"""Event notifications through the store: what happened is told at least once, in the order of its key, whatever the webhook does.

The receiver is a real HTTP server on loopback; time leaps where it would have to pass.
"""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from holdfast.errors import S3Error
from holdfast.events import NoticeEnded, NoticesDropped
from holdfast.index import sqlite_notices
from holdfast.keepers.lifecycle import Lifecycle as Keeper
from holdfast.keepers.notify import DeadLetters, Notify
from holdfast.limits import LIFECYCLE_DAY_S, NOTICE_AGE_S, NOTICE_IDLE_S, WEBHOOK_RETRY_MAX_S
from holdfast.model import Facts, Presence, WriteCondition
from holdfast.s3 import CopyObject, CopySource, DeleteAsk, DeleteObject, DeleteObjects, PutObject
from holdfast.s3.acl import Acl, Grant, PutAcl
from holdfast.s3.lifecycle import Lifecycle, Rule
from holdfast.s3.notification import Notification, Route
from holdfast.s3.settings import PutSetting
from holdfast.s3.tagging import DeleteObjectTagging, PutObjectTagging
from holdfast.s3.versioning import Versioning
from holdfast.testing import certificates
from holdfast.webhooks import sender as sending
from holdfast.webhooks.sender import Sender
from tests.engine import BUCKET, Bytes, Engine
from tests.promises.troubled import LeapClock, Troubled
from tests.receiver import Receiver, receiver

ARN = "arn:aws:sqs:us-east-1:0:hook"
ALL = Route("all", "Queue", ARN, ("s3:ObjectCreated:*", "s3:ObjectRemoved:*", "s3:LifecycleExpiration:*"))


class Scene:
    """An engine, a webhook, and the keeper between them."""

    def __init__(self, made: Engine, clock: LeapClock, hook: Receiver) -> None:
        self.made = made
        self.clock = clock
        self.hook = hook
        made.site.webhooks = frozenset({"hook"})
        self.keeper = Notify(made.site, "hook", Sender(hook.url), secret="secret", region="us-east-1")

    async def configure(self, *routes: Route) -> None:
        await self.made.store.put_setting(PutSetting(BUCKET, "notification", Notification(routes)))

    async def tell(self) -> float:
        """Let the keeper work until it rests; for how long."""
        while not (pause_s := await self.keeper.step()):
            pass
        return pause_s

    def outcomes(self) -> list[str]:
        return [event.outcome for event in self.made.events if isinstance(event, NoticeEnded)]

    async def waiting(self) -> int:
        return sum(row.waiting for row in await self.made.site.index.notice_sums())


def staged(tmp_path: Path, body: Callable[[Scene], Awaitable[None]]) -> None:
    async def main() -> None:
        grids = Troubled()
        with receiver() as hook:
            async with grids.engine(tmp_path) as made:
                scene = Scene(made, grids.clock, hook)
                try:
                    await body(scene)
                finally:
                    await scene.keeper.close()

    asyncio.run(main())


def test_each_change_is_told_in_its_order(tmp_path: Path) -> None:
    async def body(scene: Scene) -> None:
        made = scene.made
        await scene.configure(ALL)
        await made.put("a b", b"x")
        await made.store.copy_object(CopyObject(BUCKET, "copy", CopySource(BUCKET, "a b"), False, Facts()))
        await made.upload("large", [b"x" * 6_000_000, b"y"])
        await made.delete("a b")
        await made.delete("never there")
        await made.store.delete_objects(DeleteObjects(BUCKET, (DeleteAsk("copy"), DeleteAsk("large"))))
        assert await scene.tell() == NOTICE_IDLE_S
        by_key: dict[str, list[str]] = {}
        for event, key in scene.hook.taken:
            by_key.setdefault(key, []).append(event)
        assert by_key == {
            "": ["s3:TestEvent"],
            "a+b": ["ObjectCreated:Put", "ObjectRemoved:Delete"],
            "copy": ["ObjectCreated:Copy", "ObjectRemoved:Delete"],
            "large": ["ObjectCreated:CompleteMultipartUpload", "ObjectRemoved:Delete"],
        }
        assert len({got.headers["webhook-id"] for got in scene.hook.got}) == len(scene.hook.got)
        assert all(got.headers["webhook-signature"].startswith("v1,") for got in scene.hook.got)
        assert await scene.waiting() == 0

    staged(tmp_path, body)


def test_what_was_refused_is_not_told(tmp_path: Path) -> None:
    async def body(scene: Scene) -> None:
        await scene.configure(ALL)
        await scene.made.put("k", b"x")
        absent = WriteCondition(Presence.ABSENT)
        with pytest.raises(S3Error):
            await scene.made.store.put_object(PutObject(BUCKET, "k", Facts(), condition=absent), Bytes(b"y"))
        await scene.tell()
        assert sorted(scene.hook.taken) == [("ObjectCreated:Put", "k"), ("s3:TestEvent", "")]

    staged(tmp_path, body)


def test_a_webhook_that_is_silent_is_left_alone_and_hears_everything_when_it_is_back(tmp_path: Path) -> None:
    async def body(scene: Scene) -> None:
        scene.hook.silent = True
        await scene.configure(ALL)
        for number in range(20):
            await scene.made.put(f"k{number}", b"x")
        pauses = list[float]()
        for _ in range(12):
            pauses.append(await scene.tell())
            assert await scene.keeper.step() > 0, "nobody asks it while it rests"
            scene.clock.leap(pauses[-1] + 0.01)
        asked = len(scene.hook.got)
        assert asked <= 8 + 11, "at first as many as go at once, then one for each pause"
        assert pauses[-1] > pauses[0]
        assert max(pauses) <= 1.5 * WEBHOOK_RETRY_MAX_S
        scene.hook.silent = False
        await scene.tell()
        assert len(set(scene.hook.taken)) == 21
        assert await scene.waiting() == 0

    staged(tmp_path, body)


def test_events_outlive_a_restart(tmp_path: Path) -> None:
    async def main() -> None:
        grids = Troubled()
        with receiver() as hook:
            hook.silent = True
            for number in range(2):
                async with grids.engine(tmp_path) as made:
                    scene = Scene(made, grids.clock, hook)
                    if not number:
                        await scene.configure(ALL)
                        await made.put("k", b"x")
                        await scene.tell()
                    else:
                        hook.silent = False
                        await scene.tell()
                    await scene.keeper.close()
            ids = {got.told: got.headers["webhook-id"] for got in hook.got}
            assert sorted(hook.taken) == [("ObjectCreated:Put", "k"), ("s3:TestEvent", "")]
            assert len({got.headers["webhook-id"] for got in hook.got}) == len(ids), "a repetition has the same id"

    asyncio.run(main())


def test_a_webhook_says_for_how_long_it_wants_to_be_left_alone(tmp_path: Path) -> None:
    async def body(scene: Scene) -> None:
        await scene.configure(ALL)
        scene.hook.status, scene.hook.headers = 503, {"Retry-After": "120"}
        assert 119 < await scene.tell() <= 120
        scene.clock.leap(100)
        assert 0 < await scene.tell() <= 20
        scene.hook.status, scene.hook.headers = 200, {}
        scene.clock.leap(21)
        assert await scene.tell() == NOTICE_IDLE_S
        assert scene.hook.taken == [("s3:TestEvent", "")]

    staged(tmp_path, body)


def test_an_event_that_is_refused_holds_up_its_own_key_and_no_other(tmp_path: Path) -> None:
    async def body(scene: Scene) -> None:
        scene.hook.refused = {"bad"}
        await scene.configure(ALL)
        for key in ("bad", "good", "bad", "good"):
            await scene.made.put(key, b"x")
        assert await scene.tell() == NOTICE_IDLE_S
        assert scene.hook.taken.count(("ObjectCreated:Put", "good")) == 2
        assert scene.outcomes().count("refused") == 1
        scene.hook.refused = set()
        scene.clock.leap(WEBHOOK_RETRY_MAX_S)
        await scene.tell()
        assert scene.hook.taken.count(("ObjectCreated:Put", "bad")) == 2

    staged(tmp_path, body)


def test_a_webhook_that_hangs_is_given_up_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "WEBHOOK_S", 0.05)

    async def body(scene: Scene) -> None:
        release = asyncio.Event()

        async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await release.wait()
            writer.close()

        server = await asyncio.start_server(hang, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        keeper = Notify(scene.made.site, "hook", Sender(f"http://127.0.0.1:{port}"), secret="", region="")
        await scene.configure(ALL)
        assert await keeper.step() > 0
        assert scene.outcomes() == ["silent"]
        release.set()
        await keeper.close()
        server.close()
        await server.wait_closed()
        assert await scene.tell() == NOTICE_IDLE_S
        assert scene.hook.taken == [("s3:TestEvent", "")]

    staged(tmp_path, body)


def test_a_redirection_is_not_followed(tmp_path: Path) -> None:
    async def body(scene: Scene) -> None:
        scene.hook.status, scene.hook.headers = 307, {"Location": scene.hook.url + "&again"}
        await scene.configure(ALL)
        await scene.tell()
        assert len(scene.hook.got) == 1
        assert scene.outcomes() == ["refused"]

    staged(tmp_path, body)


def test_only_a_webhook_whose_certificate_is_trusted_is_told(tmp_path: Path) -> None:
    async def body(scene: Scene) -> None:
        certificate, key = certificates.write(tmp_path)
        with receiver((certificate, key)) as hook:
            await scene.configure(ALL)
            stranger = Notify(scene.made.site, "hook", Sender(hook.url), secret="", region="")
            assert await stranger.step() > 0
            await stranger.close()
            assert hook.got == []
            sender = Sender(hook.url, tls_ca=Path(certificate))
            trusting = Notify(scene.made.site, "hook", sender, secret="", region="")
            assert not await trusting.step()
            await trusting.close()
            assert hook.taken == [("s3:TestEvent", "")]

    staged(tmp_path, body)


def test_what_nobody_took_for_a_day_is_a_dead_letter(tmp_path: Path) -> None:
    async def body(scene: Scene) -> None:
        letters = DeadLetters(scene.made.site)
        scene.hook.silent = True
        await scene.configure(ALL)
        await scene.made.put("k", b"x")
        await scene.tell()
        await letters.step()
        assert "dead" not in scene.outcomes()
        scene.clock.leap(NOTICE_AGE_S + 1)
        await scene.made.put("young", b"x")
        await letters.step()
        dead = [event for event in scene.made.events if isinstance(event, NoticeEnded) and event.outcome == "dead"]
        assert [(event.webhook, event.event, event.key) for event in dead] == [
            ("hook", "s3:TestEvent", ""),
            ("hook", "ObjectCreated:Put", "k"),
        ]
        assert await scene.waiting() == 1
        scene.hook.silent = False
        await scene.tell()
        assert scene.hook.taken == [("ObjectCreated:Put", "young")]

    staged(tmp_path, body)


def test_too_many_waiting_events_cost_events_and_no_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_notices, "NOTICES_WAITING", 3)

    async def body(scene: Scene) -> None:
        await scene.configure(ALL)
        for number in range(5):
            await scene.made.put(f"k{number}", b"x")
        assert len(await scene.made.keys()) == 5
        await DeadLetters(scene.made.site).step()
        assert NoticesDropped("hook", 3) in scene.made.events
        await scene.tell()
        assert sorted(key for _, key in scene.hook.taken) == ["", "k0", "k1"]

    staged(tmp_path, body)


def test_what_lifecycle_removes_is_told_as_that(tmp_path: Path) -> None:
    async def body(scene: Scene) -> None:
        await scene.configure(ALL)
        await scene.made.put("k", b"x")
        await scene.made.store.put_setting(PutSetting(BUCKET, "lifecycle", Lifecycle((Rule("r", days=1),))))
        scene.clock.leap(2 * LIFECYCLE_DAY_S)
        keeper = Keeper(scene.made.site, day_s=LIFECYCLE_DAY_S)
        while not await keeper.step():
            pass
        await scene.tell()
        assert [event for event, key in scene.hook.taken if key] == ["ObjectCreated:Put", "LifecycleExpiration:Delete"]

    staged(tmp_path, body)


def test_forms_tags_and_grants_are_told_as_that(tmp_path: Path) -> None:
    async def body(scene: Scene) -> None:
        events = ("s3:ObjectCreated:Post", "s3:ObjectTagging:*", "s3:ObjectAcl:Put")
        await scene.configure(Route("some", "Queue", ARN, events, suffix=".jpg"))
        store = scene.made.store
        await store.put_object(PutObject(BUCKET, "a.jpg", Facts(), form=True), Bytes(b"x"))
        await store.put_object(PutObject(BUCKET, "b.jpg", Facts()), Bytes(b"x"))
        for key in ("a.jpg", "a.jpg"):
            await store.put_object_tagging(PutObjectTagging(BUCKET, key, tags={"a": "b"}))
        await store.delete_object_tagging(DeleteObjectTagging(BUCKET, "a.jpg"))
        await store.put_acl(PutAcl(BUCKET, "a.jpg", acl=Acl((Grant("somebody", "READ"),))))
        await scene.tell()
        told = [event for event, key in scene.hook.taken if key == "a.jpg"]
        assert told == ["ObjectCreated:Post", *["ObjectTagging:Put"] * 2, "ObjectTagging:Delete", "ObjectAcl:Put"]
        assert len(scene.hook.taken) == 1 + len(told)

    staged(tmp_path, body)


def test_a_version_is_named_in_a_bucket_that_keeps_them(tmp_path: Path) -> None:
    async def body(scene: Scene) -> None:
        await scene.made.store.put_setting(PutSetting(BUCKET, "versioning", Versioning("Enabled")))
        await scene.configure(ALL)
        put = await scene.made.put("k", b"x")
        made = await scene.made.store.delete_object(DeleteObject(BUCKET, "k"))
        await scene.made.store.delete_object(DeleteObject(BUCKET, "k", put.version_id))
        await scene.tell()
        found = [got.message["Records"][0] for got in scene.hook.got if got.told[1] == "k"]
        assert [(record["eventName"], record["s3"]["object"]["versionId"]) for record in found] == [
            ("ObjectCreated:Put", put.version_id),
            ("ObjectRemoved:DeleteMarkerCreated", made.version_id),
            ("ObjectRemoved:Delete", put.version_id),
        ]
        sequencers = [record["s3"]["object"]["sequencer"] for record in found]
        assert sequencers == sorted(sequencers)

    staged(tmp_path, body)


def test_a_destination_that_the_operator_did_not_name_is_refused(tmp_path: Path) -> None:
    async def body(scene: Scene) -> None:
        for arn in ("arn:aws:sqs:us-east-1:0:other", "arn:aws:sns:us-east-1:0:http://127.0.0.1:1/hook"):
            with pytest.raises(S3Error, match="Unable to validate") as caught:
                await scene.configure(Route("all", "Queue", arn, ("s3:ObjectCreated:*",)))
            assert caught.value.code == "InvalidArgument"
        await scene.made.put("k", b"x")
        assert await scene.waiting() == 0

    staged(tmp_path, body)
