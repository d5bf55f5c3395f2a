"""A configuration that no bucket here can have, and that clients ask for all the same."""

from holdfast.model import Value


class Absent(Value, frozen=True):
    pass
