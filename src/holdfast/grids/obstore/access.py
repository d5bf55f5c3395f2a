"""With what an account at Azure or Google is reached: address and credentials.

Answers for secrets that may lie in files and change there. It asks no server. Invariant: a secret is never part of
a message.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from holdfast.config.notation import Secret, Unreadable, read_secret
from holdfast.model import Value

if TYPE_CHECKING:
    from obstore.store import AzureConfig, GCSConfig


class NoAccess(ValueError):
    """A secret cannot be had. Says which, and why."""


class AzureAccess(Value, frozen=True):
    """A storage account. Without key and token the credentials are those of the environment: variables, workload or managed identity."""

    account: str
    account_key: Secret = Secret("")
    sas_token: Secret = Secret("")
    endpoint: str = ""
    tls_ca: Path | None = None
    proxy: str = ""

    def secrets(self) -> dict[str, str]:
        """The secrets as they are now. Raises NoAccess."""
        return _read({"account_key": self.account_key, "sas_token": self.sas_token}, self.tls_ca)

    def config(self, secrets: Mapping[str, str]) -> "AzureConfig":
        """What the library is told."""
        config: AzureConfig = {"account_name": self.account}
        if self.endpoint:
            config["endpoint"] = self.endpoint
        if key := secrets.get("account_key"):
            config |= {"account_key": key, "credential_type": "access_key"}
        elif token := secrets.get("sas_token"):
            config |= {"sas_key": token.removeprefix("?"), "credential_type": "sas_token"}
        return config


class GcsAccess(Value, frozen=True):
    """A service account. Without one the credentials are those of the environment: variables, or the machine's account."""

    service_account: Secret = Secret("")
    """The JSON text of its key file."""
    endpoint: str = ""
    tls_ca: Path | None = None
    proxy: str = ""

    def secrets(self) -> dict[str, str]:
        """The secrets as they are now. Raises NoAccess."""
        found = _read({"service_account": self.service_account}, self.tls_ca)
        if text := found.get("service_account"):
            try:
                if not isinstance(json.loads(text), dict):
                    raise ValueError("no table")
            except ValueError as trouble:
                raise NoAccess(
                    "service_account is not the JSON of a key file: write file:PATH of the one that Google gave"
                ) from trouble
        return found

    def config(self, secrets: Mapping[str, str]) -> "GCSConfig":
        """What the library is told."""
        config: GCSConfig = {}
        if self.endpoint:
            config["base_url"] = self.endpoint
        if key := secrets.get("service_account"):
            config["service_account_key"] = key
        return config


Access = AzureAccess | GcsAccess


def _read(written: Mapping[str, Secret], tls_ca: Path | None) -> dict[str, str]:
    found = {}
    if tls_ca is not None:
        try:
            found["tls_ca"] = tls_ca.read_text(encoding="ascii")
        except (OSError, ValueError) as trouble:
            raise NoAccess(f"tls_ca: {tls_ca} cannot be read: name a file with certificates in PEM") from trouble
    for name, secret in written.items():
        try:
            found[name] = read_secret(secret.reveal(), os.environ).reveal()
        except Unreadable as trouble:
            raise NoAccess(f"{name}: {trouble.what} {trouble.remedy}".strip()) from trouble
    return found
