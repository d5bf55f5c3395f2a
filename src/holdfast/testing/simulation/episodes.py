"""The course of one trouble at one provider, from its first moment to the last.

Answers for what each class of trouble does when. Which one, where and for how long is the plan's business. Invariant: afterwards the provider is well.
"""

import asyncio
import random
from typing import Final

from holdfast.model import replace
from holdfast.testing.faults import Fault, Kind
from holdfast.testing.simulation.places import Provider
from holdfast.testing.simulation.plan import ALL, LATE, LATE_S, Episode

_RAMP: Final = (0.02, 0.05, 0.1, 0.2, 0.4, 0.7, 1.0)
_FLAPS: Final = 10
_FLAP_S: Final = 5.0
"""The period of the probes."""


async def endure(episode: Episode, provider: Provider, *, dice: random.Random) -> None:
    """Let it go wrong, and be well again."""
    match episode.trouble.special or episode.trouble.shape:
        case "lag":
            provider.lag()
            await asyncio.sleep(episode.length_s)
        case "unreachable":
            provider.unreachable = 0.3
            await asyncio.sleep(episode.length_s)
        case "lose":
            provider.memory.lose()
            await asyncio.sleep(episode.length_s)
        case "rot":
            _rot(provider, dice)
        case "ramp":
            for share in _RAMP:
                _inject(episode, provider, share)
                await asyncio.sleep(episode.length_s / len(_RAMP))
        case "flapping":
            pause_s = min(_FLAP_S, episode.length_s / (2 * _FLAPS))
            for _ in range(_FLAPS):
                _inject(episode, provider, 1.0)
                await asyncio.sleep(pause_s)
                await provider.heal(LATE_S)
                await asyncio.sleep(pause_s)
        case "wave":
            _inject(episode, provider, 1.0)
            await asyncio.sleep(episode.length_s * 0.7)
            provider.inject(Fault(Kind.THROTTLE, share=0.7), ALL, episode.node)
            await asyncio.sleep(episode.length_s * 0.3)
        case _:
            _inject(episode, provider, 1.0)
            left_s = episode.length_s
            while left_s > 0:
                pause_s = min(left_s, LATE_S * dice.random() if episode.trouble.name == LATE else left_s)
                await asyncio.sleep(pause_s)
                left_s -= pause_s
                await provider.land(LATE_S)
    await provider.heal(LATE_S)


def _inject(episode: Episode, provider: Provider, share: float) -> None:
    for fault, operations in episode.trouble.faults:
        provider.inject(replace(fault, share=fault.share * share), operations, episode.node)


def _rot(provider: Provider, dice: random.Random) -> None:
    """Bits flip in some of what it holds, and it does not notice."""
    for place, size in provider.places():
        if size and dice.random() < 0.3:
            provider.memory.rot(place, int(dice.random() * size))
