"""How much of its work a place gets back after trouble: a little, then more.

Pure. Whoever comes back under the load of everything that waited falls again (`recovery wave`). Invariant: the share never
falls as time passes, and after RAMP_S it is 1.
"""

from typing import Final

from holdfast.limits import RAMP_SHARES, RAMP_STEP_S

RAMP_S: Final = RAMP_STEP_S * len(RAMP_SHARES)
"""From re-admission to the full share."""


def ramp_share(passed_s: float) -> float:
    """The share of requests for which a place is what it was, `passed_s` seconds after it was re-admitted."""
    return 1.0 if passed_s >= RAMP_S else RAMP_SHARES[max(0, int(passed_s // RAMP_STEP_S))]
