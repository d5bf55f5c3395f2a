"""`holdfast certify`: the contract suite against a place, before it is trusted with a copy."""

HELP = "x"


def command() -> None:
    """x"""
