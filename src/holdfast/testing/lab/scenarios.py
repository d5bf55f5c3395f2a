"""What is played: every failure class, and historic outages on a compressed clock, as rows of two tables.

Pure data. Times are the real ones, in seconds; whoever plays a scenario says how fast. Every fault is one of grid `a`, the one
that is read first, unless the scenario is about both. Invariant: a scenario that cannot be staged is a row too, with the reason.
"""

from collections.abc import Sequence
from typing import Final, Literal

from holdfast.model import Value, replace
from holdfast.testing.lab.network.faults import Fault, Kind

Needs = Literal["", "tls", "names"]
MINUTE: Final = 60.0
HOUR: Final = 60 * MINUTE
DAY: Final = 24 * HOUR
CLASS_S: Final = 12.0
"""How long a failure class is played, when it says nothing else."""
BOTH: Final = ("a", "b")


class Scenario(Value, frozen=True):
    """One outage."""

    name: str
    about: str
    """What happens, in the words of who would describe it."""
    faults: tuple[Fault, ...] = ()
    lasted_s: float = CLASS_S
    needs: Needs = ""
    for_good: bool = False
    """It does not end: nothing has to be caught up, and what is owed stays owed."""
    historic: bool = False
    both: bool = False
    """Both grids have it: reads of what only they hold cannot succeed, and that is not held against anybody."""
    not_staged: str = ""
    large: bool = False
    """With bodies that are so large that they reach a provider in parts."""
    cached: bool = False
    """The gateway keeps what it has read, as it does by default, and everything was read before."""
    unasked: bool = False
    """The gateway may never send the requests that fail, which is an answer too."""


def _error(status: int, code: str, **terms: object) -> Fault:
    return Fault(Kind.ERROR, status=status, code=code, **terms)  # type: ignore[arg-type]


CLASSES: Final = (
    Scenario("refused", "connections are refused, open ones reset", (Fault(Kind.REFUSE),)),
    Scenario("killed", "the provider's process dies and comes back as it was", (Fault(Kind.KILL),)),
    Scenario("black-hole-connect", "connections never complete", (Fault(Kind.BLACK_HOLE),)),
    Scenario("black-hole-answer", "requests are taken and never answered", (Fault(Kind.MUTE),)),
    Scenario(
        "error",
        "500, then 502, then 503 at once for everything",
        (
            _error(500, "InternalError", length_s=4.0),
            _error(502, "BadGateway", start_s=4.0, length_s=4.0),
            _error(503, "ServiceUnavailable", start_s=8.0),
        ),
    ),
    Scenario("brown-out-5", "5 % of requests fail with 500", (_error(500, "InternalError", share=0.05),)),
    Scenario("brown-out-30", "30 % of requests fail with 503", (_error(503, "ServiceUnavailable", share=0.3),)),
    Scenario(
        "writes-fail",
        "writes and deletions fail, reads work",
        (_error(500, "InternalError", operations=("write", "delete")),),
    ),
    Scenario("reads-fail", "reads fail, writes work", (_error(500, "InternalError", operations=("read",)),)),
    Scenario(
        "list-fails",
        "LIST fails, everything else works",
        (_error(503, "ServiceUnavailable", operations=("list",)),),
        unasked=True,
    ),
    Scenario("auth", "403 on requests that are signed correctly", (_error(403, "SignatureDoesNotMatch"),)),
    Scenario("dns", "the host's name is gone (NXDOMAIN); open connections work", (Fault(Kind.NO_NAME),), needs="names"),
    Scenario(
        "dns-cold",
        "the same, and open connections are cut, so that all have to be made anew",
        (Fault(Kind.NO_NAME), Fault(Kind.REFUSE, length_s=0.3)),
        needs="names",
    ),
    Scenario("tls", "the certificate expired: every new handshake fails", (Fault(Kind.EXPIRED),), needs="tls"),
    Scenario("slow", "every answer comes ten times as late as usual", (Fault(Kind.SLOW, delay_s=0.2),)),
    Scenario("slow-seconds", "every answer comes two seconds late", (Fault(Kind.SLOW, delay_s=2.0),)),
    Scenario(
        "trickle", "bodies trickle, just fast enough for an idle timer", (Fault(Kind.TRICKLE, operations=("read",)),)
    ),
    Scenario("truncated", "bodies end in the middle", (Fault(Kind.CUT, operations=("read",)),)),
    Scenario("short", "half a body, with a length as if that were all", (Fault(Kind.SHORT, operations=("read",)),)),
    Scenario(
        "wrong-bytes", "one bit of each body is another, with status 200", (Fault(Kind.GARBLED, operations=("read",)),)
    ),
    Scenario("wrong-etag", "every etag is another", (Fault(Kind.WRONG_ETAG),)),
    Scenario(
        "older-version", "reads give what was there before the last write", (Fault(Kind.OLDER, operations=("read",)),)
    ),
    Scenario(
        "throttled", "503 SlowDown with Retry-After, for 70 %", (_error(503, "SlowDown", share=0.7, retry_after_s=2),)
    ),
    Scenario("throttled-429", "429 without Retry-After, for everything", (_error(429, "TooManyRequests"),)),
    Scenario(
        "throttled-per-key",
        "one write per second and key, more are 429",
        (Fault(Kind.KEY_LIMIT, operations=("write", "delete"), status=429, code="TooManyRequests", delay_s=1.0),),
    ),
    Scenario(
        "not-visible",
        "changes are acknowledged and not visible until the end; deleted keys are still there",
        (Fault(Kind.HELD_BACK, operations=("write", "delete")),),
    ),
    Scenario(
        "ambiguous-write",
        "writes and deletions happen, and their answers are lost",
        (Fault(Kind.LOST_ANSWER, operations=("write", "delete")),),
    ),
    Scenario(
        "part-of-the-keys",
        "three of ten keys cannot be read",
        (_error(500, "InternalError", operations=("read",), keys=0.3),),
    ),
    Scenario("clock", "the provider says RequestTimeTooSkewed", (_error(403, "RequestTimeTooSkewed"),)),
    Scenario("ramp", "errors rise from none to all", (_error(500, "InternalError", ramp_s=20.0),), lasted_s=24.0),
    Scenario(
        "flapping",
        "refused for 5 s, fine for 5 s, at the period of the probes",
        (Fault(Kind.REFUSE, period_s=10.0),),
        lasted_s=30.0,
    ),
    Scenario(
        "recovery-wave",
        "refused, then 503 SlowDown for all but two requests at once",
        (Fault(Kind.REFUSE, length_s=8.0), Fault(Kind.OVERLOAD, start_s=8.0, code="SlowDown", at_once=2)),
        lasted_s=18.0,
    ),
    Scenario("account-closed", "403 on everything, for good", (_error(403, "AllAccessDisabled"),), for_good=True),
    Scenario("lost", "gone, and back empty", (Fault(Kind.LOSS),)),
    Scenario(
        "late-error",
        "completing an upload, or copying, answers 200 with an error in the body",
        (Fault(Kind.LATE_ERROR, operations=("write",)),),
        large=True,
    ),
    Scenario("correlated", "both grids refuse connections", (Fault(Kind.REFUSE, grids=BOTH),), both=True),
    Scenario(
        "correlated-cached",
        "the same, with everything in the gateway's cache",
        (Fault(Kind.REFUSE, grids=BOTH),),
        both=True,
        cached=True,
    ),
    Scenario(
        "path", "fails from one node and works from another", not_staged="needs several nodes, which share an index"
    ),
)

HISTORIC: Final = (
    Scenario(
        "s3-2008-02",
        "S3, 15 Feb 2008: every request failed for 2 h 17",
        (_error(503, "ServiceUnavailable"),),
        137 * MINUTE,
    ),
    Scenario(
        "s3-2008-07",
        "S3, 20 Jul 2008: errors ramp up in 10 minutes, then nearly everything fails for 8 h 18",
        (_error(500, "InternalError", share=0.98, ramp_s=10 * MINUTE),),
        10 * MINUTE + 498 * MINUTE,
    ),
    Scenario(
        "azure-2013", "Azure Storage, 22 Feb 2013: expired certificate, 12 h", (Fault(Kind.EXPIRED),), 12 * HOUR, "tls"
    ),
    Scenario(
        "azure-2014",
        "Azure Storage, 18 Nov 2014: time-outs and connection failures, 10 h 54",
        (Fault(Kind.BLACK_HOLE),),
        654 * MINUTE,
    ),
    Scenario(
        "s3-2017",
        "S3, 28 Feb 2017: all fails; GET, LIST, DELETE are back after 2 h 49 to 3 h 41, PUT after 4 h 17",
        (
            _error(503, "ServiceUnavailable", operations=("read", "list", "delete"), length_s=169 * MINUTE),
            _error(
                503,
                "ServiceUnavailable",
                operations=("read", "list", "delete"),
                start_s=169 * MINUTE,
                length_s=52 * MINUTE,
                share=0.5,
            ),
            _error(503, "ServiceUnavailable", operations=("write",)),
        ),
        257 * MINUTE,
    ),
    Scenario(
        "gcs-2019",
        "Google Cloud Storage, 12 Mar 2019: 4.8 % errors for 4 h 10",
        (_error(503, "ServiceUnavailable", share=0.048),),
        250 * MINUTE,
    ),
    Scenario(
        "wasabi-2020",
        "Wasabi, 28 Dec 2020: the domain name was suspended, 13 h",
        (Fault(Kind.NO_NAME),),
        13 * HOUR,
        "names",
    ),
    Scenario("ovh-2021", "OVH Strasbourg, 10 Mar 2021: the site burned", (Fault(Kind.LOSS),), DAY, for_good=True),
    Scenario(
        "google-2025",
        "Google Cloud, 12 Jun 2025: 503 everywhere, 2 h 40",
        (_error(503, "ServiceUnavailable"),),
        160 * MINUTE,
    ),
    Scenario(
        "r2-2025-02",
        "Cloudflare R2, 6 Feb 2025: everything fails for 59 min, then a recovery wave",
        (
            _error(500, "InternalError", length_s=59 * MINUTE),
            Fault(Kind.OVERLOAD, start_s=59 * MINUTE, code="SlowDown", at_once=2),
        ),
        75 * MINUTE,
    ),
    Scenario(
        "r2-2025-03",
        "Cloudflare R2, 21 Mar 2025: every write and 35 % of reads fail, ramping slowly, 67 min",
        (
            _error(500, "InternalError", operations=("write", "delete"), ramp_s=20 * MINUTE),
            _error(500, "InternalError", operations=("read", "list"), share=0.35, ramp_s=20 * MINUTE),
        ),
        67 * MINUTE,
    ),
    Scenario(
        "aws-2025",
        "AWS us-east-1, 19 Oct 2025: no DNS answer for new connections for 2 h 52, then throttling for hours",
        (
            Fault(Kind.NO_NAME, length_s=172 * MINUTE),
            _error(503, "SlowDown", share=0.3, retry_after_s=1, start_s=172 * MINUTE),
        ),
        172 * MINUTE + 5 * HOUR,
        "names",
    ),
    Scenario(
        "cheap-3-days",
        "a cheap provider: three days of deliberate 503s",
        (_error(503, "SlowDown", share=0.5, retry_after_s=1),),
        3 * DAY,
    ),
    Scenario(
        "aws-2026",
        "AWS Middle East, 1 Mar 2026: two zones of three lost, high error rates for days",
        (_error(503, "ServiceUnavailable", share=0.66),),
        3 * DAY,
    ),
)


def all_scenarios() -> tuple[Scenario, ...]:
    """The classes, then history."""
    return CLASSES + tuple(replace(row, historic=True) for row in HISTORIC)


def matching(patterns: Sequence[str]) -> tuple[Scenario, ...]:
    """Scenarios whose name contains one of these texts; `classes` and `history` mean a whole table; all, when there is none."""
    found = []
    for scenario in all_scenarios():
        table = "history" if scenario.historic else "classes"
        if not patterns or table in patterns or any(pattern in scenario.name for pattern in patterns):
            found.append(scenario)
    return tuple(found)
