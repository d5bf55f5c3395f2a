"""What is known of each provider, printed from the tables of quirks, so that it cannot be out of step."""

from typing import Any, Final

from holdfast.config.notation import show_size
from holdfast.grids.obstore.providers import PROVIDERS as CLOUDS
from holdfast.grids.obstore.providers import Provider
from holdfast.grids.s3.quirks import PROVIDERS, Quirks

_HEAD: Final = """\
# Grids at providers

Printed by `holdfast config providers` from the table of quirks; `make docs-config` writes this file anew. The settings are in
[CONFIGURATION.md](CONFIGURATION.md), the identity of a place in [decision 0009](decisions/0009-s3-places.md).

```toml
[[grid]]
name = "aws"
url = "s3://acme-holdfast"                 # or "s3://acme-holdfast/directory", or "s3://acme-{bucket}"
region = "eu-central-1"
access_key = "env:AWS_ACCESS_KEY_ID"
secret_key = "env:AWS_SECRET_ACCESS_KEY"

[[grid]]
name = "other"
url = "s3://holdfast"
endpoint = "https://s3.other.example"
provider = "ceph"                          # a row below
access_key = "file:/etc/holdfast/other.key"
secret_key = "file:/etc/holdfast/other.secret"
```

Put a provider to the contract before it is trusted with a copy: `holdfast certify s3://trial --endpoint https://s3.other.example
--provider ceph`. What a crash leaves of multipart uploads is aborted after a day; a lifecycle rule for incomplete uploads does it also where Holdfast
does not come any more. Where versions are kept, set one that removes old versions.

The key needs permission to list the bucket and to get, put and delete its objects; to create buckets only with `create_buckets`.

**What is in an object's metadata.** The client's headers and `x-amz-meta-*` as they are; values that a header cannot carry as RFC 2047
encoded words, as Amazon hands them out. Beside them `x-amz-meta-holdfast-*` (the version's sequence number, etag and time), which is left
out where there is no room. Any S3 client reads the objects without Holdfast.

**What the columns mean.** Values in *italics* are not documented by the provider and are the careful assumption.
"""
_CLOUDS: Final = """
## Azure Blob Storage and Google Cloud Storage

What the library between them and Holdfast costs, and what follows for names, is in [decision 0016](decisions/0016-azure-and-gcs.md).

```toml
[[grid]]
name = "azure"
url = "azure://acme-holdfast"              # the container must exist; or "azure://acme-holdfast/directory"
account = "acmestorage"
account_key = "env:ACME_KEY"               # or sas_token; without both the identity of the environment

[[grid]]
name = "google"
url = "gcs://acme-holdfast"                # the bucket must exist
service_account = "file:/etc/holdfast/google.json"
```

The key or role needs to list the container or bucket, and to read, write and delete its objects. At Google set a lifecycle rule that
removes incomplete multipart uploads; Azure forgets uncommitted blocks after a week. Where versions or deleted blobs are kept (soft
delete), they cost until the provider's rules remove them.
"""
_ROWS: Final[tuple[tuple[str, str], ...]] = (
    ("endpoint", "default endpoint"),
    ("region", "default region"),
    ("virtual_style", "bucket in the host's name"),
    ("digest", "guards a body on its way"),
    ("plain_unsigned", "body's SHA-256 unsigned over http"),
    ("if_match", "GET with If-Match"),
    ("put_if_absent", "PUT with If-None-Match: *"),
    ("copy_if_match", "server-side copy with a condition"),
    ("copy_bytes", "largest server-side copy"),
    ("object_bytes", "largest object"),
    ("put_bytes", "largest single PUT"),
    ("part_bytes_min", "smallest part"),
    ("part_bytes_max", "largest part"),
    ("parts_max", "parts of an upload"),
    ("equal_parts", "parts must be equal"),
    ("key_bytes", "longest key"),
    ("refused_keys", "keys that cannot be held"),
    ("metadata_bytes", "user metadata"),
    ("byte_order", "listing in byte order"),
    ("start_after", "listing from a key on"),
    ("etag", "etag of a single PUT"),
    ("etag_of_upload", "completing an upload tells the final etag"),
    ("keeps_versions", "a delete leaves old versions"),
    ("batch_delete", "keys of one batch delete"),
    ("gzip", "unpacks gzip unasked"),
)


def providers() -> str:
    """All rows as Markdown."""
    return _HEAD + "".join(map(_section, PROVIDERS.values())) + _CLOUDS + "".join(map(_cloud, CLOUDS.values()))


def _cloud(row: Provider) -> str:
    unit = "UTF-16 code units" if row.utf16 else "bytes of UTF-8"
    facts = {
        "largest object": show_size(row.object_bytes),
        "longest name of an object": f"{row.name_limit:,} {unit}",
        "segments of a name between slashes": f"{row.segments:,}",
        "names that are escaped": f"`{row.unsafe}`".replace("|", "\\|"),
        "user metadata": show_size(row.metadata_bytes),
        "names of metadata": "a hyphen is written as an underscore" if row.identifiers else "as they are",
        "parts of an upload": f"{row.parts_max:,}",
        "server-side copy": "no",
    }
    lines = "".join(f"| {title} | {value} |\n" for title, value in facts.items())
    return f"\n### {row.title}: `{row.scheme}://`\n\n| | |\n|---|---|\n{lines}\nSources: {'; '.join(row.sources)}.\n"


def _section(row: Quirks) -> str:
    lines = [f'\n## {row.title}: `provider = "{row.name}"`\n\n']
    if row.notes:
        lines.append(f"{row.notes}\n\n")
    lines.append("| | |\n|---|---|\n")
    for name, title in _ROWS:
        value = _shown(name, getattr(row, name))
        lines.append(f"| {title} | {f'*{value}*' if name in row.undocumented else value} |\n")
    lines.append(f"\nSources: {'; '.join(row.sources)}.\n")
    return "".join(lines)


def _shown(name: str, value: Any) -> str:
    match value:
        case bool():
            return "yes" if value else "no"
        case int():
            return show_size(value) if "_bytes" in name else f"{value:,}"
        case None:
            return "not documented"
        case "":
            return "must be set" if name in ("endpoint", "region") else "none"
        case _:
            return f"`{value}`".replace("|", "\\|") if name in ("endpoint", "refused_keys") else str(value)
