"""The settings of one grid: what a place that keeps objects is told.

Answers for the rows of `[[grid]]` in the table of `settings`, and for nothing that a provider means by them. Pure. Invariant: as there.
"""

import difflib
import os
from pathlib import Path
from typing import Annotated, Final

from holdfast import limits
from holdfast.config.notation import (
    FLAG,
    NAME,
    NAMES,
    PATH,
    REGION,
    SECRET,
    SOME_TIME,
    TEXT,
    URL,
    Kind,
    Secret,
    Setting,
    Unreadable,
    choice,
    without_user,
)
from holdfast.model import Value

PROVIDERS: Final = (
    "aws", "r2", "b2", "wasabi", "google", "minio", "ceph", "seaweedfs", "garage", "digitalocean", "hetzner", "scaleway",
    "rclone", "holdfast", "other",
)  # fmt: skip
"""Vendors whose S3 is known: the rows of the quirks table."""
_REMOTE: Final = {"s3": "bucket", "azure": "container", "gcs": "bucket"}
"""Schemes of grids at providers, and what they call a bucket."""


def _read_grid_url(raw: object) -> str:
    text = TEXT.read(raw)
    scheme, colon, rest = text.partition(":")
    if scheme == "folder" and not rest:
        raise Unreadable("the folder is missing.", 'Write "folder:/path".')
    if scheme in _REMOTE and not rest.removeprefix("//").strip("/"):
        place, own = _REMOTE[scheme], f"{scheme}://"
        remedy = f'Write "{own}{place}", "{own}{place}/directory" or "{own}{{bucket}}".'
        raise Unreadable(f"the {place} is missing.", remedy)
    if not colon or scheme not in ("folder", "memory", *_REMOTE) or (scheme == "memory" and rest):
        remedy = 'Use "s3://bucket", "azure://container", "gcs://bucket" or "folder:/path".'
        raise Unreadable(f'"{without_user(text)}" is not the address of a grid.', remedy)
    if scheme in _REMOTE and "@" in rest.removeprefix("//").partition("/")[0]:
        raise Unreadable("keys do not belong in the address, which is shown.", "Give them as settings of their own.")
    return str(text)


_GRID_URL: Final = Kind("s3://BUCKET/DIRECTORY, azure://CONTAINER, gcs://BUCKET or folder:PATH", _read_grid_url)


def _read_provider(raw: object) -> str:
    text = str(TEXT.read(raw))
    if text and text not in PROVIDERS:
        near = difflib.get_close_matches(text, PROVIDERS, n=1)
        hint = f"Did you mean {near[0]}?" if near else f"Known are {', '.join(PROVIDERS)}."
        raise Unreadable(f'there is no provider "{text}".', hint)
    return text


_PROVIDER: Final = Kind("name of a provider", _read_provider)
_STYLE: Final = choice("auto", "path", "virtual")


class GridSettings(Value, frozen=True):
    """A place that keeps objects. Without any, two folders `a` and `b` under `data`."""

    name: Annotated[str, Setting(NAME, "How policies, status and metrics call it. Required.")] = ""
    url: Annotated[
        str,
        Setting(
            _GRID_URL,
            "Where it is. `folder:PATH`: a relative path lies under `data`. `s3://BUCKET` or `s3://BUCKET/DIRECTORY`: each client's "
            "bucket is a directory there. `s3://{bucket}`: each client's bucket is a bucket there; a name around it, as in "
            "`s3://acme-{bucket}`, keeps it apart from others. `s3://BUCKET/DIRECTORY/{bucket}/` says where the directory is. "
            "`azure://CONTAINER` and `gcs://BUCKET` are written the same way. Required.",
        ),
    ] = ""
    deadline: Annotated[
        float, Setting(SOME_TIME, "It is silent when a small operation, or the first byte, takes longer than this.")
    ] = limits.GRID_DEADLINE_S
    domain: Annotated[
        tuple[str, ...],
        Setting(
            NAMES, "Failure-domain labels, such as a disk, a room or a provider: what fails as one has the same label."
        ),
    ] = ()
    provider: Annotated[
        str,
        Setting(
            _PROVIDER,
            "`s3` only: whose S3 it is, a row of [GRIDS.md](GRIDS.md). Default: by the host of `endpoint`; `aws` without one, `other` "
            "for unknown hosts.",
        ),
    ] = ""
    endpoint: Annotated[
        str,
        Setting(URL, "`s3`, `azure`, `gcs`: the server's address. Default: the provider's own."),
    ] = ""
    region: Annotated[
        str,
        Setting(
            REGION,
            "`s3` only: the region to sign for. Default: as in the endpoint's name, or what the provider always takes.",
        ),
    ] = ""
    access_key: Annotated[
        Secret,
        Setting(
            SECRET,
            "`s3` only: the access key: itself, `env:NAME` (a variable) or `file:PATH` (the file's content, read again when it changes). "
            "Without keys and profile, provider `aws` takes them from where the AWS SDKs do: variables, the default profile, the "
            "container's or the machine's role.",
        ),
    ] = Secret("")
    secret_key: Annotated[Secret, Setting(SECRET, "`s3` only: its secret, written the same way.")] = Secret("")
    session_token: Annotated[
        Secret, Setting(SECRET, "`s3` only: the token that belongs to temporary keys, written the same way.")
    ] = Secret("")
    profile: Annotated[
        str,
        Setting(
            TEXT, "`s3` only: take the keys from this profile of the AWS credentials file, read again when it changes."
        ),
    ] = ""
    style: Annotated[
        str,
        Setting(
            _STYLE,
            "`s3` only: the bucket stands in the `path`, or in the host's name (`virtual`). `auto`: as the provider prefers; in the path "
            "for addresses that are numbers.",
        ),
    ] = "auto"
    tls_ca: Annotated[
        Path | None, Setting(PATH, "`s3`, `azure`, `gcs`: certificates in PEM to trust beside those of the system.")
    ] = None
    proxy: Annotated[str, Setting(URL, "`s3`, `azure`, `gcs`: HTTP proxy to go through.")] = ""
    create_buckets: Annotated[
        bool | None,
        Setting(
            FLAG,
            "`s3` only: create buckets there that are missing at their first use. Default: true when `{bucket}` is in the bucket's "
            "place of `url`.",
        ),
    ] = None
    home: Annotated[
        str,
        Setting(
            TEXT,
            "`s3`, `azure`, `gcs`, with `{bucket}` as the bucket: the bucket that has the grid's identity. Default: `url` with `holdfast` for `{bucket}`.",
        ),
    ] = ""

    account: Annotated[str, Setting(TEXT, "`azure` only: the storage account's name. Required there.")] = ""
    account_key: Annotated[
        Secret,
        Setting(
            SECRET,
            "`azure` only: a key of the account: itself, `env:NAME` or `file:PATH` (read again when it changes). Without key and token "
            "the credentials are those of the environment: `AZURE_*` variables, workload or managed identity.",
        ),
    ] = Secret("")
    sas_token: Annotated[
        Secret,
        Setting(
            SECRET, "`azure` only: a shared access signature for the container instead of a key, written the same way."
        ),
    ] = Secret("")
    service_account: Annotated[
        Secret,
        Setting(
            SECRET,
            "`gcs` only: the JSON of a service account's key, best as `file:PATH` (read again when it changes). Without it the credentials "
            "are those of the environment: `GOOGLE_*` variables, or the machine's account.",
        ),
    ] = Secret("")

    @property
    def scheme(self) -> str:
        return self.url.partition(":")[0]

    def folder(self, data: Path) -> Path | None:
        """The directory of a folder grid; None for others."""
        if self.scheme != "folder":
            return None
        text = self.url.removeprefix("folder:").removeprefix("//")
        return Path(os.path.abspath(data / Path(text).expanduser()))
