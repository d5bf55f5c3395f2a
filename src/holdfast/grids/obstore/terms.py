"""What the settings of an `azure` or `gcs` grid mean, and whether that can be.

Answers for every mistake that can be told before the first request, with the setting and the remedy. It connects to nothing.
Invariant: settings without a problem can be opened, and no two grids without a problem are known to be one place.
"""

import base64
import binascii
import ipaddress
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Final
from urllib.parse import urlsplit

from holdfast.config.notation import Secret, Unreadable, read_secret
from holdfast.config.places import GridSettings
from holdfast.errors import ConfigError
from holdfast.grids.obstore.access import Access, AzureAccess, GcsAccess
from holdfast.grids.obstore.names import read_place
from holdfast.grids.obstore.providers import AZURE, PROVIDERS, Provider
from holdfast.grids.s3.location import MARK, BadLocation, Location, overlap
from holdfast.model import Value

_OWN: Final = {"azure": ("account", "account_key", "sas_token"), "gcs": ("service_account",)}
"""Settings that mean something for one of them only."""
_S3: Final = (
    "provider", "region", "access_key", "secret_key", "session_token", "profile", "create_buckets",
)  # fmt: skip
"""Settings that mean nothing here."""
_ACCOUNT: Final = re.compile(r"[a-z0-9]{3,24}", re.ASCII)


class Terms(Value, frozen=True):
    """A grid's settings, read."""

    provider: Provider
    location: Location
    access: Access


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
            _check_names(grid)
            if grid.scheme in PROVIDERS:
                places.append((grid, _read(grid)))
                _check_secrets(grid, environ)
        except _Mistake as mistake:
            yield _at(grid, mistake)
    for (first, one), (second, other) in combinations(places, 2):
        if _account(one) == _account(other) and overlap(one.location, other.location):
            what = f'it is the place of grid "{first.name}", or lies within it or around it.'
            remedy = f"Two grids in one place are one copy: use another {other.provider.place}, in another account."
            yield _at(second, _Mistake("url", what, remedy))


def _at(grid: GridSettings, mistake: _Mistake) -> ConfigError:
    return ConfigError(f'[[grid]] "{grid.name}" {mistake.setting}', mistake.what, mistake.remedy)


def _read(grid: GridSettings) -> Terms:
    provider = PROVIDERS[grid.scheme]
    try:
        location = read_place(grid.url, provider, grid.home)
    except BadLocation as bad:
        raise _Mistake(bad.setting, bad.what, bad.remedy) from bad
    for name in {location.bucket.replace(MARK, "bucket"), location.home}:
        if re.fullmatch(provider.container, name, re.ASCII) is None:
            setting = "home" if name == grid.home else "url"
            what = f'"{name}" cannot be the name of a {provider.place}.'
            raise _Mistake(setting, what, f"Use one that {provider.title} can have.")
    if provider is not AZURE:
        access = GcsAccess(grid.service_account, endpoint=grid.endpoint, tls_ca=grid.tls_ca, proxy=grid.proxy)
        return Terms(provider, location, access)
    if _ACCOUNT.fullmatch(grid.account) is None:
        what = f'"{grid.account}" is not the name of a storage account.' if grid.account else "it is missing."
        raise _Mistake("account", what, "Add: account = …, the storage account's name.")
    if grid.account_key.reveal() and grid.sas_token.reveal():
        raise _Mistake("sas_token", "it is set, and account_key is, too.", "Keep one of the two.")
    return Terms(
        provider,
        location,
        AzureAccess(
            grid.account,
            account_key=grid.account_key,
            sas_token=grid.sas_token,
            endpoint=_with_account(grid.endpoint, grid.account),
            tls_ca=grid.tls_ca,
            proxy=grid.proxy,
        ),
    )


def _with_account(endpoint: str, account: str) -> str:
    """The address with the account in its path, where the host cannot have it: an emulator's."""
    host = urlsplit(endpoint).hostname or ""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return f"{endpoint}/{account}" if host == "localhost" else endpoint
    return f"{endpoint}/{account}"


def _account(terms: Terms) -> tuple[str, str]:
    access = terms.access
    return access.account if isinstance(access, AzureAccess) else "", access.endpoint


def _check_names(grid: GridSettings) -> None:
    """No setting stands where it means nothing."""
    foreign = [name for scheme, names in _OWN.items() if scheme != grid.scheme for name in names]
    for name in (*foreign, *(_S3 if grid.scheme in PROVIDERS else ())):
        value = getattr(grid, name)
        if value.reveal() if isinstance(value, Secret) else value is not None and value != "":
            raise _Mistake(name, f"it means nothing for a {grid.scheme} grid.", "Remove it, or correct url.")


def _check_secrets(grid: GridSettings, environ: Mapping[str, str]) -> None:
    for name in _OWN[grid.scheme]:
        secret = getattr(grid, name)
        if not isinstance(secret, Secret) or not secret.reveal():
            continue
        try:
            text = read_secret(secret.reveal(), environ).reveal().strip()
        except Unreadable as trouble:
            raise _Mistake(name, trouble.what, trouble.remedy) from trouble
        if not text:
            raise _Mistake(name, "it is empty.", "Look at the variable or the file that it names.")
        _check_form(name, text)
    if grid.tls_ca is not None and not grid.tls_ca.is_file():
        raise _Mistake("tls_ca", f"{grid.tls_ca} is not a file.", "Name a file with certificates in PEM.")


def _check_form(name: str, text: str) -> None:
    match name:
        case "account_key":
            try:
                base64.b64decode(text, validate=True)
            except binascii.Error as trouble:
                raise _Mistake(name, "it is not a key as Azure writes them.", "Copy it whole, in base64.") from trouble
        case "sas_token":
            if "sig=" not in text:
                raise _Mistake(name, "it has no signature.", 'Copy the token whole: it has "sig=" in it.')
        case "service_account":
            try:
                key = json.loads(text)
            except ValueError:
                key = None
            if not isinstance(key, dict) or not {"client_email", "private_key"} <= set(key):
                remedy = "Write file:PATH of the key file that Google gave."
                raise _Mistake(name, "it is not the JSON of a service account's key.", remedy)
