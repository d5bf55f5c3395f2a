"""What goes wrong in a run, and when: drawn from the seed, within a budget that every promise must survive.

Pure. Answers for the table of troubles (classes of the outages that providers had, and what machines do) and for the budget:
- each provider has one trouble at a time; two providers at once only as `correlated`, and of these only the victim may lie;
- only one provider of a run, the `victim`, ever loses or damages what it was given, or lies about it;
- a change whose answer was lost happens within LATE_S or never;
- the machine's disk keeps what was flushed, and comes back.
Invariant: whatever is drawn, a run in which a promise breaks shows a mistake.
"""

import math
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from holdfast.limits import DOUBT_S, MIB
from holdfast.model import Value, replace
from holdfast.testing.faults import Fault, Kind

LATE_S: Final = DOUBT_S - 5.0
"""A change whose answer was lost happens within this or never."""

LATE: Final = "late changes"
CHANGES: Final = ("stage", "publish", "delete", "copy")
READS: Final = ("get", "head")
ALL: Final = ("attach", *CHANGES, *READS, "list")


class Trouble(Value, frozen=True):
    """A class of what goes wrong at a provider."""

    name: str
    faults: tuple[tuple[Fault, tuple[str, ...]], ...] = ()
    special: str = ""
    """Done by the provider itself: see `world`."""
    lies: bool = False
    """Only the victim does this."""
    shape: str = "steady"
    """Or `ramp` (more and more), `flapping` (on and off), `wave` (over, and then throttled)."""


def _one(
    kind: Kind, operations: tuple[str, ...] = ALL, share: float = 1.0, delay_s: float = 0.0
) -> tuple[tuple[Fault, tuple[str, ...]], ...]:
    return ((Fault(kind, share=share, delay_s=delay_s), operations),)


def _troubles(dice: random.Random) -> tuple[Trouble, ...]:
    """Every class, with shares and delays drawn anew."""
    part, some, delay_s = 0.01 + 0.3 * dice.random(), 0.1 + 0.8 * dice.random(), 0.05 + 2.5 * dice.random()
    return (
        Trouble("refused", _one(Kind.REFUSE)),
        Trouble("silent", _one(Kind.HANG)),
        Trouble("silent for some", _one(Kind.HANG, ALL, part)),
        Trouble("brown-out", _one(Kind.REFUSE, ALL, part)),
        Trouble("writes fail", _one(Kind.REFUSE, CHANGES)),
        Trouble("deletions fail", _one(Kind.REFUSE, ("delete",))),
        Trouble("reads fail", _one(Kind.REFUSE, READS)),
        Trouble("lists fail", _one(Kind.REFUSE, ("list",))),
        Trouble("credentials", _one(Kind.LASTING)),
        Trouble("denied", _one(Kind.DENY, (*CHANGES, *READS))),
        Trouble("slow", _one(Kind.SLOW, ALL, 1.0, delay_s)),
        Trouble("slow for some", _one(Kind.SLOW, ALL, part, delay_s * 2)),
        Trouble("slow bodies", _one(Kind.TRICKLE, ("get",), some, delay_s / 4)),
        Trouble("late bodies", _one(Kind.LATE_BODY, ("get",), some, delay_s)),
        Trouble("full", _one(Kind.FULL, CHANGES)),
        Trouble("throttled", _one(Kind.THROTTLE, ALL, some)),
        Trouble("throttled, come later", _one(Kind.THROTTLE, ALL, some, 1.0 + 10 * dice.random())),
        Trouble("lost answers", _one(Kind.LOST_ANSWER, CHANGES, some)),
        Trouble(LATE, _one(Kind.LATE, ("publish", "delete", "copy"), some)),
        Trouble("not visible", special="lag"),
        Trouble("part of the keys", special="unreachable"),
        Trouble("ramp", _one(Kind.REFUSE), shape="ramp"),
        Trouble("flapping", _one(Kind.REFUSE), shape="flapping"),
        Trouble("recovery wave", _one(Kind.REFUSE), shape="wave"),
        Trouble("wrong bytes", _one(Kind.CORRUPT, ("get",), some), lies=True),
        Trouble("short bodies", _one(Kind.TRUNCATED, ("get",), some), lies=True),
        Trouble("wrong etags", _one(Kind.WRONG_ETAG, READS, some), lies=True),
        Trouble("says absent", _one(Kind.ABSENT, READS, some), lies=True),
        Trouble("rot", special="rot", lies=True),
        Trouble("lost", special="lose", lies=True),
    )


TROUBLES: Final = tuple(trouble.name for trouble in _troubles(random.Random(0)))
MACHINE: Final = (
    "kill", "kill", "kill all", "power", "power", "power", "restart", "slow disk", "slow disk", "full disk", "disk errors",
    "clock forward", "clock back",
)  # fmt: skip
"""What happens to the machine and its processes; what is named more often happens more often."""


DEATHS: Final = frozenset({"kill", "kill all", "power"})
_AFTERMATH_S: Final = 200.0
"""A mishap may wait a minute for its moment, and last as long; then nodes start again, and look at everything."""


class Focus(Value, frozen=True):
    """What a run is about, when it is about one thing: rare meetings of events are found sooner where they are made likely."""

    about: str
    troubles: tuple[str, ...]
    mishaps: tuple[str, ...]
    most_mishaps: int
    nodes: int
    providers: int
    keys: int
    folder: bool = False
    """The machine's own disk is a grid, too."""
    ack: int = 0
    large: float = 0.5
    cache_bytes: int = 0
    together: bool = False
    """For the most part the way to all providers is out."""
    versions: bool = False
    """The bucket keeps versions."""


FOCUSES: Final = {
    "power": Focus(
        "power is lost again and again while all providers are out: what is here is all there is",
        ("refused", "silent", "full"), ("power",), 8, nodes=1, providers=2, keys=4, large=0.7, together=True,
    ),
    "folder": Focus(
        "power is lost again and again, and one of two grids is a directory on the same disk",
        ("refused", "silent", "full"), ("power",), 8, nodes=1, providers=1, keys=4, folder=True, together=True,
    ),
    "late": Focus(
        "providers lose answers and act late, on few keys that several nodes overwrite",
        ("late changes", "late changes", "lost answers"), ("kill", "slow disk"), 2, nodes=2, providers=2, keys=1, large=0.2,
    ),
    "lies": Focus(
        "a provider damages or loses what it was given, while others are out and nothing is kept here that need not be",
        ("wrong bytes", "rot", "lost", "reads fail", "refused"),
        ("restart",), 2, nodes=1, providers=2, keys=4, large=0.7, ack=1, cache_bytes=4 * MIB,
    ),
    "deaths": Focus(
        "processes die in the midst of their work, one after another, while others go on with the same few keys",
        ("slow", "slow for some", "lost answers"), ("kill", "kill", "kill all", "slow disk"), 9, nodes=3, providers=2, keys=2,
    ),
    "versions": Focus(
        "a bucket keeps versions of few keys, while providers are out, lose answers or act late, and processes die",
        ("refused", "lost answers", "late changes", "writes fail", "silent"), ("kill", "kill all", "power", "slow disk"), 4,
        nodes=2, providers=2, keys=3, large=0.4, ack=1, versions=True,
    ),
}  # fmt: skip
"""By the name that stands before the number in a seed: `power-7`."""


def focus_of(seed: str) -> Focus | None:
    """What this seed is about; None: everything."""
    return FOCUSES.get(seed.rpartition("-")[0])


class Terms(Value, frozen=True):
    """How an installation is made, and how it is used."""

    nodes: tuple[str, ...]
    providers: tuple[str, ...]
    """Grids far away."""
    folders: tuple[str, ...]
    """Grids on the machine's own disk."""
    ack: int
    accept: bool
    inline_bytes: int
    """Small bodies beyond this sum leave the index once all grids hold them."""
    spool_bytes: int
    cache_bytes: int
    scrub_s: float
    clients: int
    keys: tuple[str, ...]
    pace_s: float
    """Between two requests of a client that does not hurry, in the mean."""
    large: float
    """The share of bodies that do not fit into the index."""
    hurry: float
    """The share of requests that follow at once on the one before."""
    horizon_s: float
    """About how long the clients ask."""
    correlated: bool
    versions: bool = False

    def settings(self, data: Path) -> str:
        """The configuration file."""
        grids = [(name, "memory:") for name in self.providers] + [(name, f"folder:{name}") for name in self.folders]
        names = ", ".join(f'"{name}"' for name, _ in grids)
        return "\n".join(
            [
                f'data = "{data}"',
                f"[spool]\nlimit = {self.spool_bytes}",
                f"[cache]\nsize = {self.cache_bytes}\ninline = {self.inline_bytes}",
                f'[scrub]\ninterval = "{self.scrub_s:.0f}s"',
                "[log]\nrequests = false",
                *(f'[[grid]]\nname = "{name}"\nurl = "{url}"' for name, url in grids),
                f"[policy.standard]\ngrids = [{names}]\nack = {self.ack}",
                f'outage = "{"accept" if self.accept else "refuse"}"',
            ]
        )


def draw_terms(dice: random.Random, steps: int, focus: Focus | None = None) -> Terms:
    """An installation, and a load that takes `steps` requests."""
    terms = _draw_terms(dice, steps)
    if focus is None:
        return terms
    return replace(
        terms,
        nodes=("one", "two", "three")[: focus.nodes],
        providers=("alpha", "beta", "gamma")[: focus.providers],
        folders=("disk",) if focus.folder else (),
        keys=tuple(f"a/{number}" for number in range(focus.keys)),
        ack=focus.ack,
        accept=True,
        large=focus.large,
        inline_bytes=0,
        cache_bytes=focus.cache_bytes,
        correlated=True,
        versions=focus.versions,
    )


def _draw_terms(dice: random.Random, steps: int) -> Terms:
    providers = ("alpha", "beta", "gamma")[: dice.choice((1, 2, 2, 2, 3))]
    folders = ("disk",) if len(providers) < 2 or dice.random() < 0.3 else ()
    clients = dice.randint(2, 8)
    horizon_s = math.exp(dice.uniform(math.log(120), math.log(120 + 24 * steps)))
    hurry = dice.choice((0.3, 0.6, 0.9))
    return Terms(
        nodes=("one", "two", "three")[: dice.choice((1, 2, 2, 3))],
        providers=providers,
        folders=folders,
        ack=dice.choice((0, 0, 1, 1, 2)),
        accept=dice.random() < 0.6,
        inline_bytes=dice.choice((0, 20_000, 1 << 30)),
        spool_bytes=dice.choice((8 * MIB, 64 * MIB, 1 << 30)),
        cache_bytes=dice.choice((0, 4 * MIB, 1 << 30)),
        scrub_s=dice.choice((120.0, 600.0)),
        clients=clients,
        keys=tuple(f"{dice.choice(('a', 'b/c', 'ü'))}/{number}" for number in range(dice.choice((1, 2, 4, 8, 16, 24)))),
        pace_s=horizon_s * clients / steps / (1 - hurry),
        large=dice.choice((0.1, 0.3, 0.6)),
        hurry=hurry,
        horizon_s=horizon_s,
        correlated=dice.random() < 0.5,
    )


class Episode(Value, frozen=True):
    """One trouble at one provider, from `start_s` for `length_s`."""

    trouble: Trouble
    grid: str
    node: str
    """It is only this node that meets it; empty: all do."""
    start_s: float
    length_s: float


class Mishap(Value, frozen=True):
    """Something that happens to the machine, or to one node."""

    name: str
    node: str
    start_s: float
    length_s: float
    at_operation: int
    """Deaths: so many operations on the disk later."""


class Plan(Value, frozen=True):
    """All that goes wrong in a run."""

    episodes: tuple[Episode, ...]
    mishaps: tuple[Mishap, ...]
    victim: str
    correlated: bool
    """Several providers may be in trouble at the same time."""

    def spares_reads(self, at_s: float) -> bool:
        """Whether all that went wrong by then is what redundancy is for: one provider, which damages nothing."""
        return not (self.correlated or self.lies) and not any(
            mishap.start_s - 1 <= at_s <= mishap.start_s + mishap.length_s + _AFTERMATH_S for mishap in self.mishaps
        )

    @property
    def lies(self) -> bool:
        """Whether something is damaged in silence."""
        return any(episode.trouble.lies for episode in self.episodes)


def draw_plan(
    dice: random.Random,
    *,
    grids: Sequence[str],
    nodes: Sequence[str],
    horizon_s: float,
    correlated: bool,
    focus: Focus | None = None,
) -> Plan:
    """What goes wrong within `horizon_s`. `correlated`: providers fail independently, so also at the same time."""
    victim = dice.choice(list(grids))
    episodes: list[Episode] = []
    free_s = dict.fromkeys(grids, 0.0)
    if correlated and (dice.random() < 0.5 or (focus is not None and focus.together)):
        # The way to all of them is out: what is accepted then is nowhere but here.
        trouble = dice.choice([trouble for trouble in _troubles(dice) if trouble.name in ("refused", "silent", "full")])
        start_s, length_s = 0.5 * dice.random() * horizon_s, 0.3 * dice.random() * horizon_s
        if focus is not None and focus.together:
            start_s, length_s = 0.2 * start_s, 0.6 * horizon_s + length_s
        for grid in grids:
            episodes.append(Episode(trouble, grid, "", start_s, length_s))
            free_s[grid] = start_s + length_s + 2 * DOUBT_S
    for _ in range(dice.randint(2, 9)):
        grid = dice.choice(list(grids))
        possible = [trouble for trouble in _troubles(dice) if grid == victim or not trouble.lies]
        wanted = [trouble for trouble in possible if focus is not None and trouble.name in focus.troubles]
        trouble = dice.choice(wanted or possible)
        start_s = (free_s[grid] if correlated else max(free_s.values())) + dice.expovariate(6) * horizon_s
        length_s = min(0.4, dice.expovariate(8)) * horizon_s
        node = dice.choice(list(nodes)) if trouble.faults and dice.random() < 0.15 else ""
        episodes.append(Episode(trouble, grid, node, start_s, length_s))
        # What was late must have happened before anybody looks what happened under another trouble.
        free_s[grid] = start_s + length_s + 2 * DOUBT_S
    kept = tuple(episode for episode in episodes if episode.start_s < horizon_s)
    mishaps = [
        Mishap(
            dice.choice(MACHINE if focus is None else focus.mishaps),
            dice.choice(list(nodes)),
            _moment(dice, kept, horizon_s),
            min(0.2, dice.expovariate(15)) * horizon_s,
            dice.choice((0, dice.randint(1, 60), dice.randint(1, 60))),
        )
        for _ in range(dice.randint(0, 7) if focus is None else dice.randint(1, focus.most_mishaps))
    ]
    return Plan(kept, tuple(sorted(mishaps, key=lambda mishap: mishap.start_s)), victim, correlated)


def _moment(dice: random.Random, episodes: Sequence[Episode], horizon_s: float) -> float:
    """A time within the horizon: as often as not while a provider has trouble, when it matters what is here."""
    if episodes and dice.random() < 0.5:
        episode = dice.choice(episodes)
        return min(horizon_s, episode.start_s + dice.random() * episode.length_s)
    return dice.random() * horizon_s
