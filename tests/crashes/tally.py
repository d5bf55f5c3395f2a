"""What a session of these tests did, to be told in one closing line. Invariant: it counts, and decides nothing."""


class Tally:
    """Sums of one session, in one process."""

    def __init__(self) -> None:
        self.kills = 0
        """Processes, or groups of them, that were ended with SIGKILL."""
        self.cuts = 0
        """Times that power was lost."""
        self.checked = 0
        """Acknowledged writes that were looked for afterwards; each time counts."""
        self.lost = 0
        """Those of them that were not found, or not as they should be."""

    def line(self) -> str:
        return (
            f"crashes: {self.kills} kills, {self.cuts} power losses, "
            f"{self.checked} acknowledged writes checked, {self.lost} lost"
        )


TALLY = Tally()
