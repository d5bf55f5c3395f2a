"""What a bucket's lifecycle configuration says, as values.

Source: Amazon S3 API Reference, PutBucketLifecycleConfiguration; User Guide, "Lifecycle configuration elements". What follows from
it for an object is in `expiry`. Invariant of a Lifecycle that was accepted: ids are unique, and each rule does something.
"""

from typing import Final

from holdfast.model import Value

SIZES: Final = ("all_storage_classes_128K", "varies_by_storage_class")
"""TransitionDefaultMinimumObjectSize; the first is the default."""


class Filter(Value, frozen=True, omit_defaults=True):
    """Which objects a rule is about: those that fulfil all of it."""

    prefix: str | None = None
    tags: dict[str, str] = {}
    above: int | None = None
    """Larger than so many bytes."""
    below: int | None = None
    """Smaller than so many bytes."""

    @property
    def plain(self) -> bool:
        """True when keys alone decide."""
        return not self.tags and self.above is None and self.below is None

    def matches(self, key: str, size: int, tags: dict[str, str]) -> bool:
        """Whether an object is among them."""
        return (
            key.startswith(self.prefix or "")
            and (self.above is None or size > self.above)
            and (self.below is None or size < self.below)
            and all(tags.get(name) == value for name, value in self.tags.items())
        )


class Rule(Value, frozen=True, omit_defaults=True):
    """One rule. What is None or 0 it does not do."""

    id: str
    enabled: bool = True
    filter: Filter = Filter()
    form: str = "Filter"
    """How the client wrote the filter, so that it gets it back: `Prefix`, `Filter` or `And`."""
    days: int | None = None
    """A current version expires so many days after it was made."""
    date_ms: int | None = None
    """Current versions expire on this day."""
    markers: bool | None = None
    """ExpiredObjectDeleteMarker: delete markers go that have no versions under them."""
    noncurrent_days: int | None = None
    """A version expires so many days after it was replaced."""
    newer: int | None = None
    """NewerNoncurrentVersions: so many replaced versions of a key stay, however old they are."""
    abort_days: int | None = None
    """A multipart upload is aborted so many days after it began."""


class Due(Value, frozen=True):
    """From when on a rule applies, and its id."""

    at_ms: int
    rule: str


class Lifecycle(Value, frozen=True, omit_defaults=True):
    """The setting `lifecycle`."""

    rules: tuple[Rule, ...] = ()
    minimum: str = SIZES[0]
    """TransitionDefaultMinimumObjectSize, one of SIZES. It is kept and means nothing: there are no transitions here."""
