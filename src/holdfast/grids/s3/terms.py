"""What the settings of an `s3` grid mean: where it is, who serves it, and whether that can be.

Answers for every mistake that can be told before the first request, with the setting and the remedy. It connects to
nothing. Invariant: settings without a problem can be opened, and no two grids without a problem are known to be
one place.
"""

import ipaddress
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from urllib.parse import urlsplit

from holdfast.config.notation import Unreadable, read_secret
from holdfast.config.places import GridSettings
from holdfast.errors import ConfigError
from holdfast.grids.grid import Capabilities
from holdfast.grids.s3.credentials import KeySource, NoKeys
from holdfast.grids.s3.location import MARK, BadLocation, Location, overlap, read_location
from holdfast.grids.s3.quirks import PROVIDERS, Quirks
from holdfast.model import Value

_ROLES = "aws"
"""The provider whose keys may come from where its SDKs look: those keys are for nobody else."""


class Endpoint(Value, frozen=True):
    """Where requests go."""

    origin: str
    """`https://host:port`, without a path."""
    region: str
    virtual_style: bool
    quirks: Quirks
    own: bool = True
    """The origin was set; otherwise it follows from the region."""


class Address(Value, frozen=True):
    """Where a grid's objects lie, and with whose keys: what another grid at the provider needs to know to copy from there."""

    endpoint: Endpoint
    location: Location
    keys: KeySource

    async def reaches(self, other: "Address") -> bool:
        """Whether one request can speak of both: one server, one region, one account, as far as the access key tells."""
        if self.endpoint != other.endpoint:
            return False
        try:
            return (await self.keys.keys()).access_key == (await other.keys.keys()).access_key
        except NoKeys:
            return False


def capabilities_of(address: Address) -> Capabilities:
    """What a grid there can hold."""
    quirks, location = address.endpoint.quirks, address.location
    return Capabilities(
        metadata=True,
        server_copy=quirks.copy_if_match,
        local=False,
        object_bytes=min(quirks.object_bytes, quirks.part_bytes_max * quirks.parts_max),
        key_bytes=quirks.key_bytes - len(location.prefix.replace(MARK, "").encode()),
        bucket_in_key=MARK in location.prefix,
        refused_keys=quirks.refused_keys,
        metadata_bytes=quirks.metadata_bytes,
        address=address,
    )


class Terms(Value, frozen=True):
    """An `s3` grid's settings, read."""

    location: Location
    endpoint: Endpoint
    create_buckets: bool
    roles: bool
    """No keys are set: they come from where the provider's SDKs look."""


class _Mistake(Exception):
    def __init__(self, setting: str, what: str, remedy: str) -> None:
        self.setting = setting
        self.what = what
        self.remedy = remedy


def read_terms(grid: GridSettings) -> Terms:
    """What the settings mean. Raises ConfigError."""
    try:
        return _read(grid)
    except _Mistake as mistake:
        raise _at(grid, mistake) from mistake


def problems(grids: Sequence[GridSettings], environ: Mapping[str, str]) -> Iterator[ConfigError]:
    """What makes these settings impossible."""
    places: list[tuple[GridSettings, Terms]] = []
    for grid in grids:
        try:
            if grid.scheme == "s3":
                places.append((grid, _read(grid)))
            _check_secrets(grid, environ)
        except _Mistake as mistake:
            yield _at(grid, mistake)
    for (first, one), (second, other) in combinations(places, 2):
        if one.endpoint.origin == other.endpoint.origin and overlap(one.location, other.location):
            what = f'it is the place of grid "{first.name}", or lies within it or around it.'
            yield _at(
                second,
                _Mistake("url", what, "Two grids in one place are one copy: use another bucket, at another provider."),
            )


def _at(grid: GridSettings, mistake: _Mistake) -> ConfigError:
    return ConfigError(f'[[grid]] "{grid.name}" {mistake.setting}', mistake.what, mistake.remedy)


def _read(grid: GridSettings) -> Terms:
    try:
        location = read_location(grid.url, grid.home)
    except BadLocation as bad:
        raise _Mistake(bad.setting, bad.what, bad.remedy) from bad
    quirks = PROVIDERS[grid.provider or _guess(grid.endpoint)]
    region = grid.region or _region_in(grid.endpoint, quirks) or quirks.region
    if not grid.endpoint and not quirks.endpoint:
        raise _Mistake("endpoint", f"{quirks.title} has no address of its own.", 'Add: endpoint = "https://…"')
    if not region:
        raise _Mistake("region", "the region is missing.", f"Add: region = …, as {quirks.title} calls it.")
    origin = grid.endpoint or quirks.endpoint.format(region=region)
    return Terms(
        location,
        Endpoint(origin.lower(), region, _is_virtual(grid.style, origin, quirks), quirks, own=bool(grid.endpoint)),
        location.per_bucket if grid.create_buckets is None else grid.create_buckets,
        _has_roles(grid, quirks),
    )


def _guess(endpoint: str) -> str:
    """The provider by the host of its address."""
    if not endpoint:
        return "aws"
    host = urlsplit(endpoint).hostname or ""
    known = (name for name, row in PROVIDERS.items() if row.suffix and f".{host}".endswith(f".{row.suffix}"))
    return next(known, "other")


def _region_in(endpoint: str, quirks: Quirks) -> str:
    """The region that an address names."""
    if not endpoint or "{region}" not in quirks.endpoint:
        return ""
    pattern = re.escape(quirks.endpoint).replace(re.escape("{region}"), "([a-z0-9-]+)")
    found = re.fullmatch(pattern, endpoint.lower())
    return found[1] if found is not None else ""


def _is_virtual(style: str, origin: str, quirks: Quirks) -> bool:
    if style != "auto":
        return style == "virtual"
    host = urlsplit(origin).hostname or ""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return quirks.virtual_style and host != "localhost"
    return False


def _has_roles(grid: GridSettings, quirks: Quirks) -> bool:
    keys = {"access_key": grid.access_key.reveal(), "secret_key": grid.secret_key.reveal()}
    missing = [name for name, text in keys.items() if not text]
    if grid.profile:
        if len(missing) < 2:
            raise _Mistake("profile", "it is set, and keys are, too.", "Keep one of the two.")
        return False
    if len(missing) == 1:
        there = next(name for name in keys if name not in missing)
        raise _Mistake(missing[0], f"it is missing, and {there} is set.", f"Add: {missing[0]} = …")
    if missing and quirks.name != _ROLES:
        raise _Mistake(
            "access_key", "there are no keys.", 'Add: access_key = "env:NAME", secret_key = "env:NAME"; or a profile.'
        )
    return bool(missing)


def _check_secrets(grid: GridSettings, environ: Mapping[str, str]) -> None:
    if grid.scheme in ("azure", "gcs"):
        return
    if grid.scheme != "s3":
        named = {
            "provider": grid.provider, "endpoint": grid.endpoint, "region": grid.region, "profile": grid.profile, "proxy": grid.proxy,
            "home": grid.home, "access_key": grid.access_key.reveal(), "secret_key": grid.secret_key.reveal(),
            "session_token": grid.session_token.reveal(), "tls_ca": grid.tls_ca, "create_buckets": grid.create_buckets is not None,
        }  # fmt: skip
        for name, value in named.items():
            if value:
                raise _Mistake(name, f"it means nothing for a {grid.scheme} grid.", "Remove it, or correct url.")
        return
    for name, secret in (
        ("access_key", grid.access_key),
        ("secret_key", grid.secret_key),
        ("session_token", grid.session_token),
    ):
        try:
            revealed = read_secret(secret.reveal(), environ).reveal()
        except Unreadable as trouble:
            raise _Mistake(name, trouble.what, trouble.remedy) from trouble
        if secret.reveal() and not revealed.strip():
            raise _Mistake(name, "it is empty.", "Look at the variable or the file that it names.")
    if grid.tls_ca is not None and not grid.tls_ca.is_file():
        raise _Mistake("tls_ca", f"{grid.tls_ca} is not a file.", "Name a file with certificates in PEM.")
