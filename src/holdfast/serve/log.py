"""Lines for people and machines about what happened.

Answers for which events deserve a line, how urgent it is, and that repetitive ones do not drown the rest. It
reads events and is never called by those who act. Invariant: telling never waits for whoever reads the
lines, and no line holds a secret.
"""

import asyncio
import logging
import os
import threading
from collections import deque
from collections.abc import Callable, MutableMapping
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Final

import structlog

from holdfast import events
from holdfast.clock import Clock
from holdfast.limits import LOG_QUEUE, LOG_REPEATS, LOG_REPEATS_S, LOG_VALUE_CHARS

Line = MutableMapping[str, Any]

_LEVELS: Final = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}
_ORDINARY: Final = frozenset({404, 412, 499})
"""Refusals that clients meet in their normal work: looking for what may be there, and leaving."""
_GRID_TROUBLE: Final = frozenset({"unavailable", "uncertain", "corrupt"})


class Outlet:
    """Writes lines to a descriptor from a thread of its own, so that a reader who stops reading stops nobody else."""

    def __init__(self, descriptor: int = 2) -> None:
        self._descriptor = descriptor
        self._lines: deque[str] = deque()
        self._wake = threading.Condition()
        self._dropped = 0
        self._closed = False
        self._thread: threading.Thread | None = None

    def msg(self, line: str) -> None:
        """Have a line written soon; drop it when too many wait."""
        with self._wake:
            if len(self._lines) >= LOG_QUEUE or self._closed:
                self._dropped += 1
                return
            self._lines.append(line)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="log", daemon=True)
                self._thread.start()
            self._wake.notify()

    debug = info = warning = warn = error = critical = fatal = log = msg

    def close(self, timeout_s: float = 1.0) -> None:
        """Write what waits, for at most `timeout_s`; take no more."""
        with self._wake:
            self._closed = True
            self._wake.notify()
            thread = self._thread
        if thread is not None:
            thread.join(timeout_s)

    def _work(self) -> None:
        while True:
            with self._wake:
                while not self._lines and not self._closed:
                    self._wake.wait()
                if not self._lines:
                    return
                lines, dropped = list(self._lines), self._dropped
                self._lines.clear()
                self._dropped = 0
            if dropped:
                lines.append(f"{dropped} lines were dropped: whoever reads this log is too slow")
            for line in lines:
                try:
                    _write_all(self._descriptor, line.encode("utf-8", "backslashreplace") + b"\n")
                except OSError:
                    return


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


class Log:
    """A listener of events that writes lines."""

    def __init__(
        self,
        outlet: Outlet,
        *,
        clock: Clock,
        level: str = "info",
        form: str = "text",
        colors: bool = False,
        all_requests: bool = False,
        slow_s: float = float("inf"),
        **fields: Any,
    ) -> None:
        """`fields` stand in every line."""
        self._clock = clock
        self._all_requests = all_requests
        self._slow_s = slow_s
        self._repeats: dict[tuple[str, ...], _Repeats] = {}
        self._level = _LEVELS[level]
        self._write = structlog.wrap_logger(
            outlet,
            processors=[structlog.processors.add_log_level, self._stamp, _bound, *_renderers(form, colors)],
            wrapper_class=structlog.make_filtering_bound_logger(self._level),
            cache_logger_on_first_use=True,
            context_class=dict,
            **fields,
        )
        self._on: dict[type[events.Event], Callable[[Any], None]] = {
            events.RequestEnded: self._request_ended,
            events.GridAttempt: self._grid_attempt,
            events.BreakerMoved: self._breaker_moved,
            events.GridMoved: self._grid_moved,
            events.GridDemoted: self._grid_demoted,
            events.GridPinned: self._grid_pinned,
            events.SelfSuspected: self._self_suspected,
            events.DebtPostponed: self._debt_postponed,
            events.CatchUpTold: self._catch_up_told,
            events.CopySuspected: self._copy_suspected,
            events.CacheMoved: self._cache_moved,
            events.Expired: self._expired,
            events.NoticeEnded: self._notice_ended,
            events.NoticesDropped: self._notices_dropped,
            events.AccessLogged: self._access_logged,
            events.KeeperFailed: self._keeper_failed,
            events.Noted: lambda event: self.line("info", event.message, **event.fields),
        }
        if self._level <= logging.DEBUG:
            self._on[events.Hedged] = self._hedged
            self._on[events.FailedOver] = self._failed_over
            self._on[events.DebtPaid] = self._debt_paid
            self._on[events.Committed] = self._committed

    def listen(self, event: events.Event) -> None:
        """Write a line when the event deserves one."""
        handler = self._on.get(type(event))
        if handler is not None:
            handler(event)

    def line(self, level: str, message: str, **fields: Any) -> None:
        """Write a line."""
        self._write.log(_LEVELS[level], message, **fields)

    def _request_ended(self, event: events.RequestEnded) -> None:
        # The hot path ends here for most requests.
        status = event.status
        plain = status < 400 or status in _ORDINARY
        if plain and not self._all_requests and event.elapsed_s < self._slow_s:
            return
        level = "error" if status == 500 else "warning" if status > 500 else "info"
        if not plain and not self._all_requests and not self._admit(level, "request", str(status), event.code):
            return
        fields: dict[str, Any] = {"code": event.code} if event.code else {}
        if event.detail:
            fields["detail"] = event.detail
        self.line(
            level,
            "request",
            request_id=event.request_id,
            client=event.client,
            method=event.method,
            # A query may be a presigned permission, also one whose question mark was lost.
            path=event.path.partition("?")[0].partition("X-Amz-Signature=")[0],
            operation=event.operation,
            status=status,
            **fields,
            elapsed_ms=round(event.elapsed_s * 1000, 1),
            received=event.received_bytes,
            sent=event.sent_bytes,
            access_key=event.access_key,
            principal=event.principal,
            decision=event.decision,
            reason=event.reason,
        )

    def _grid_attempt(self, event: events.GridAttempt) -> None:
        if event.outcome not in _GRID_TROUBLE:
            return
        if self._admit("warning", "grid did not do it", event.grid, event.operation, event.outcome):
            self.line(
                "warning",
                "grid did not do it",
                grid=event.grid,
                operation=event.operation,
                outcome=event.outcome,
                elapsed_ms=round(event.elapsed_s * 1000, 1),
                detail=event.detail,
            )

    def _breaker_moved(self, event: events.BreakerMoved) -> None:
        level = "warning" if event.state == "open" else "info"
        if self._admit(level, "breaker", event.grid, event.group, event.state):
            self.line(level, "breaker", grid=event.grid, operations=event.group, state=event.state, reason=event.reason)

    def _grid_moved(self, event: events.GridMoved) -> None:
        level = "info" if event.state == "up" else "warning"
        if self._admit(level, "grid", event.grid, event.state):
            reason = {"reason": event.reason} if event.reason else {}
            self.line(level, f"grid is {event.state}", grid=event.grid, **reason)

    def _grid_demoted(self, event: events.GridDemoted) -> None:
        if event.reason:
            self.line("warning", "grid is demoted", grid=event.grid, operations=event.group, reason=event.reason)
        else:
            self.line("info", "grid comes back from its demotion", grid=event.grid, operations=event.group)

    def _grid_pinned(self, event: events.GridPinned) -> None:
        self.line(
            "warning" if event.use == "out" else "info",
            "an operator decided about a grid",
            grid=event.grid,
            use=event.use,
        )

    def _self_suspected(self, event: events.SelfSuspected) -> None:
        if event.suspected:
            self.line("warning", "all grids fell silent at once: is it this node? No breaker opens for now")
        else:
            self.line("info", "grids are judged by their own silence again")

    def _debt_postponed(self, event: events.DebtPostponed) -> None:
        if self._admit("info", "debt was postponed", event.grid):
            self.line(
                "info",
                "debt was postponed",
                grid=event.grid,
                bucket=event.bucket,
                key=event.key,
                attempts=event.attempts,
                delay_s=round(event.delay_s, 1),
                reason=event.reason,
            )

    def _catch_up_told(self, event: events.CatchUpTold) -> None:
        fields: dict[str, Any] = {"owed": event.owed, "owed_bytes": event.owed_bytes}
        if event.phase != "begins":
            fields |= {"paid": event.paid, "elapsed_s": round(event.elapsed_s), "per_s": round(event.per_s, 1)}
        if event.owed and event.eta_s is not None:
            fields["eta_s"] = round(event.eta_s)
        if event.stuck:
            fields["stuck"] = event.stuck
        if event.reason:
            fields["reason"] = event.reason
        level = "warning" if event.phase == "makes no progress" else "info"
        self.line(level, f"catch-up {event.phase}", grid=event.grid, **fields)

    def _copy_suspected(self, event: events.CopySuspected) -> None:
        if self._admit("warning", "copy is wrong", event.grid):
            fields = {"grid": event.grid, "bucket": event.bucket, "key": event.key, "reason": event.reason}
            self.line("warning", "copy is wrong", **fields)

    def _cache_moved(self, event: events.CacheMoved) -> None:
        if event.on:
            self.line("info", "cache is on", blocks=event.blocks, size=event.size_bytes)
        else:
            self.line("warning", "cache is off: reads go to the grids", reason=event.reason)

    def _expired(self, event: events.Expired) -> None:
        if self._admit("info", "lifecycle", event.bucket):
            self.line("info", "lifecycle removed what expired", bucket=event.bucket, what=event.what, count=event.count)

    def _notice_ended(self, event: events.NoticeEnded) -> None:
        """A dead letter has a line of its own, always: it is the last that is heard of it."""
        fields = {"webhook": event.webhook, "what": event.event, "bucket": event.bucket, "key": event.key}
        if event.outcome == "dead":
            self.line("error", "event was given up", **fields, age_s=round(event.age_s), reason=event.detail)
        elif event.outcome != "told" and self._admit("warning", "notice", event.webhook, event.outcome):
            self.line("warning", f"webhook is {event.outcome}", **fields, reason=event.detail)

    def _notices_dropped(self, event: events.NoticesDropped) -> None:
        self.line(
            "error", "events were dropped: too many wait for their webhook", webhook=event.webhook, count=event.count
        )

    def _access_logged(self, event: events.AccessLogged) -> None:
        if event.outcome != "delivered" and self._admit("warning", "access log", event.bucket, event.outcome):
            fields = {"bucket": event.bucket, "target": event.target, "lines": event.lines, "reason": event.reason}
            self.line("warning", f"access log: lines {event.outcome}", **fields)

    def _keeper_failed(self, event: events.KeeperFailed) -> None:
        if self._admit("error", "keeper failed", event.keeper):
            head, _, last = event.reason.strip().rpartition("\n")
            fields = {"exception": event.reason.strip()} if head else {}
            self.line("error", "keeper failed", keeper=event.keeper, reason=last, **fields)

    def _debt_paid(self, event: events.DebtPaid) -> None:
        self.line(
            "debug",
            "debt was paid",
            grid=event.grid,
            bucket=event.bucket,
            key=event.key,
            how=event.how,
            size=event.size_bytes,
            lag_s=round(event.lag_s, 3),
        )

    def _hedged(self, event: events.Hedged) -> None:
        self.line("debug", "hedge", grid=event.grid, other=event.other, outcome=event.outcome)

    def _failed_over(self, event: events.FailedOver) -> None:
        self.line("debug", "failover", grid=event.grid, other=event.other, reason=event.reason)

    def _committed(self, event: events.Committed) -> None:
        self.line("debug", "committed", changes=event.changes, elapsed_ms=round(event.elapsed_s * 1000, 1))

    def _admit(self, level: str, message: str, *kind: str) -> bool:
        """True while lines of this kind are not too many; the rest is told as a sum with the next that is."""
        if _LEVELS[level] < self._level:
            return False
        now_s = self._clock.monotonic_s()
        repeats = self._repeats.setdefault((message, *kind), _Repeats(now_s))
        if now_s - repeats.since_s >= LOG_REPEATS_S:
            if repeats.count > LOG_REPEATS:
                self.line(level, f"{message}: more of the same", kind=" ".join(kind), lines=repeats.count - LOG_REPEATS)
            repeats.since_s, repeats.count = now_s, 0
        repeats.count += 1
        return repeats.count <= LOG_REPEATS

    def _stamp(self, _: Any, __: str, line: Line) -> Line:
        at = datetime.fromtimestamp(self._clock.now_ms() / 1000, UTC)
        line["timestamp"] = at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return line


class _Repeats:
    __slots__ = ("count", "since_s")

    def __init__(self, since_s: float) -> None:
        self.since_s = since_s
        self.count = 0


def _bound(_: Any, __: str, line: Line) -> Line:
    """No value is longer than LOG_VALUE_CHARS."""
    for name, value in line.items():
        if isinstance(value, str) and len(value) > LOG_VALUE_CHARS:
            line[name] = value[:LOG_VALUE_CHARS] + "…"
    return line


def _renderers(form: str, colors: bool) -> list[Callable[[Any, str, Line], Any]]:
    if form == "json":
        return [structlog.processors.EventRenamer("message"), structlog.processors.JSONRenderer(ensure_ascii=True)]
    console = structlog.dev.ConsoleRenderer(
        colors=colors, pad_event_to=0, sort_keys=False, exception_formatter=structlog.dev.plain_traceback
    )
    return [_printable, console]


def _printable(_: Any, __: str, line: Line) -> Line:
    """A key or a header cannot break the line or steer the terminal: what is not printable is escaped."""
    for name, value in line.items():
        if isinstance(value, str) and not value.isprintable():
            lines = value.split("\n") if name == "exception" else [value]
            line[name] = "\n".join(map(_escaped, lines))
    return line


def _escaped(text: str) -> str:
    return text if text.isprintable() else text.encode("unicode_escape").decode("ascii")


class Bridge(logging.Handler):
    """Brings lines of libraries, which use Python's own logging, into ours."""

    def __init__(self, log: Log) -> None:
        super().__init__(logging.WARNING)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line for a record."""
        level = "error" if record.levelno >= logging.ERROR else "warning"
        fields: dict[str, Any] = {"logger": record.name}
        if record.exc_info and record.exc_info[1] is not None:
            fields["exception"] = logging.Formatter().formatException(_whole(record.exc_info))
        self._log.line(level, record.getMessage(), **fields)


def _whole(
    info: tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None],
) -> tuple[type[BaseException], BaseException, TracebackType | None]:
    assert info[0] is not None
    return info


def bridge(log: Log) -> None:
    """Let `log` have what libraries and asyncio say from now on."""
    root = logging.getLogger()
    root.handlers = [Bridge(log)]
    root.setLevel(logging.WARNING)


def tell_of_loop_errors(log: Log, loop: asyncio.AbstractEventLoop) -> None:
    """Write a line for what the event loop could not give to anybody."""

    def tell(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        trouble = context.get("exception")
        fields = {"reason": repr(trouble)} if trouble is not None else {}
        log.line("error", str(context.get("message")), **fields)

    loop.set_exception_handler(tell)
