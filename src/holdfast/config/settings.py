"""Every setting, as one table: its name, how it is written, its default, and a sentence for the operator.

Answers for what can be set and for what follows from it (paths, the effective `ack`). It reads no file and no
variable (that is `load`) and compares nothing with the disk (that is `check`). The documentation is
printed from these rows. Invariant: a setting has a default, or the table it stands in is optional.
"""

from pathlib import Path
from typing import Annotated, Any, Final, get_type_hints

from holdfast import limits
from holdfast.config.afterwards import AccessLogSettings, LifecycleSettings, WebhookSettings
from holdfast.config.notation import (
    ADDRESS,
    DOMAIN,
    DURATION,
    FLAG,
    NAME,
    NAMES,
    OPTIONAL_ADDRESS,
    PATH,
    REGION,
    SECRET,
    SIZE,
    SOME_TIME,
    TEXT,
    Address,
    Kind,
    Secret,
    Setting,
    Unreadable,
    choice,
    count,
    without_user,
)
from holdfast.config.places import GridSettings
from holdfast.model import Value

STANDARD: Final = "standard"
"""Name of the default policy."""
PROVIDERS: Final = (
    "aws", "r2", "b2", "wasabi", "google", "minio", "ceph", "seaweedfs", "garage", "digitalocean", "hetzner", "scaleway",
    "rclone", "holdfast", "other",
)  # fmt: skip
"""Vendors whose S3 is known: the rows of the quirks table."""
_REMOTE: Final = {"s3": "bucket", "azure": "container", "gcs": "bucket"}
"""Schemes of grids at providers, and what they call a bucket."""
_PLACE: Final = Kind("path", PATH.read, PATH.show)


def _read_index_url(raw: object) -> str:
    text = TEXT.read(raw)
    scheme, colon, rest = text.partition(":")
    if scheme in ("postgresql", "postgres"):
        raise Unreadable("an index in PostgreSQL is not available yet.", 'Use "sqlite:index.db".')
    if scheme != "sqlite" or not colon or not rest:
        raise Unreadable(
            f'"{without_user(text)}" is not the address of an index.', 'Use "sqlite:FILE", as in "sqlite:index.db".'
        )
    return str(text)


_INDEX_URL: Final = Kind("sqlite:FILE", _read_index_url)


class ServerSettings(Value, frozen=True):
    """The S3 endpoint, and the admin listener beside it."""

    listen: Annotated[Address, Setting(ADDRESS, "Where S3 clients connect. Use 0.0.0.0 for all addresses.")] = Address(
        "127.0.0.1", 9000
    )
    admin: Annotated[
        Address | None,
        Setting(
            OPTIONAL_ADDRESS,
            "Where /metrics, /healthz, /readyz and /status are answered, to anybody who can connect: keep it on a loopback "
            "or private address. Empty for none.",
        ),
    ] = Address("127.0.0.1", 9001)
    domain: Annotated[
        str, Setting(DOMAIN, "Domain below which the first label of the host name is a bucket. Empty: path-style only.")
    ] = ""
    website_domain: Annotated[
        str,
        Setting(
            DOMAIN,
            "Domain below which the first label of the host name is a bucket that is served as a static website, to "
            "anybody whom its policy lets read. Empty: no websites.",
        ),
    ] = ""
    region: Annotated[str, Setting(REGION, "The region that clients sign for and that buckets are in.")] = "us-east-1"
    object_ownership: Annotated[
        str,
        Setting(
            choice("BucketOwnerEnforced", "BucketOwnerPreferred", "ObjectWriter"),
            "Object ownership of buckets that are made without saying it. Amazon's default, `BucketOwnerEnforced`, turns access control "
            "lists off; `ObjectWriter` is for applications that still use them.",
        ),
    ] = "BucketOwnerEnforced"
    workers: Annotated[
        int,
        Setting(count(1, limits.WORKERS), "Processes that serve. More than one uses more than one core."),
    ] = 1
    tls_cert: Annotated[
        Path | None, Setting(PATH, "Certificate chain in PEM. With it and `tls_key` the endpoint speaks https.")
    ] = None
    tls_key: Annotated[Path | None, Setting(PATH, "The certificate's private key in PEM, without a passphrase.")] = None
    customer_keys: Annotated[
        str,
        Setting(
            choice("loopback", "always", "never"),
            "When clients may send keys of their own (SSE-C) over plain http, where everybody on the way can read them; over https they "
            "always may. `loopback`: when `listen` is a loopback address. `always` is for a server behind a proxy that speaks https.",
        ),
    ] = "loopback"
    connections: Annotated[
        int, Setting(count(1, 1_000_000), "Most client connections per worker; those above are told SlowDown.")
    ] = limits.CONNECTIONS
    requests: Annotated[
        int, Setting(count(1, 100_000), "Most requests in progress per worker; those above get 503 SlowDown.")
    ] = limits.REQUESTS
    drain: Annotated[
        float, Setting(DURATION, "How long a stop waits for requests in progress before it cuts them off.")
    ] = limits.DRAIN_S


class IndexSettings(Value, frozen=True):
    """The durable truth about objects."""

    url: Annotated[
        str,
        Setting(
            _INDEX_URL, "The SQLite file, relative to `data`. It belongs on a local disk that keeps what it synced."
        ),
    ] = "sqlite:index.db"


class SpoolSettings(Value, frozen=True):
    """Bytes that were accepted and that not every grid holds yet."""

    path: Annotated[
        Path,
        Setting(
            _PLACE,
            "Its directory, relative to `data`. On the same file system as a folder grid, files are linked there.",
        ),
    ] = Path("spool")
    limit: Annotated[
        int, Setting(SIZE, "Most bytes in it. When it is full, writes get 503 SlowDown until grids have caught up.")
    ] = limits.SPOOL_BYTES


class CacheSettings(Value, frozen=True):
    """Bytes that are kept on this machine only to be read: faster, without a bill, and also while every grid is down."""

    size: Annotated[
        int,
        Setting(
            SIZE,
            "Blocks (1MiB) that grids gave are kept on disk up to this sum of all workers, and never more than stays free on "
            "its file system. A scan does not flush it. 0 turns it off.",
        ),
    ] = limits.CACHE_BYTES
    path: Annotated[Path, Setting(_PLACE, "The directory of these blocks, relative to `data`.")] = Path("cache")
    age: Annotated[
        float,
        Setting(
            SOME_TIME,
            "A block is dropped this long (to the hour) after it was fetched, however often it is read: so long may the bytes "
            "of a deleted object lie here.",
        ),
    ] = float(limits.CACHE_AGE_S)
    local: Annotated[
        bool,
        Setting(
            FLAG,
            "Also keep what a folder grid has. Worth it when the folder is a network mount or a much slower disk.",
        ),
    ] = False
    inline: Annotated[
        int,
        Setting(
            SIZE, "Small bodies (up to 64KiB) that all grids hold stay in the index up to this sum, oldest out first."
        ),
    ] = limits.INLINE_KEEP_BYTES


class LogSettings(Value, frozen=True):
    """Lines on standard error."""

    level: Annotated[
        str, Setting(choice("debug", "info", "warning", "error"), "Lines less urgent than this are left out.")
    ] = "info"
    format: Annotated[str, Setting(choice("text", "json"), "`text` for people, `json` for machines.")] = "text"
    requests: Annotated[
        bool,
        Setting(
            FLAG,
            "Write a line for every request. Otherwise only for refused, failed and slow ones; an ordinary 404 is neither.",
        ),
    ] = False
    slow: Annotated[float, Setting(DURATION, "A request that takes longer has its line even when it succeeds.")] = (
        limits.SLOW_REQUEST_S
    )


class ScrubSettings(Value, frozen=True):
    """Copies are read back and checked while there is time."""

    interval: Annotated[float, Setting(SOME_TIME, "In this time every copy is looked at about once.")] = float(
        limits.SCRUB_INTERVAL_S
    )


class SealingSettings(Value, frozen=True):
    """What is sealed at rest: objects that clients or a policy want encrypted, and the secret keys of users."""

    master_key: Annotated[
        Secret,
        Setting(
            SECRET,
            "The master key: 32 random bytes in base64, best as `env:NAME` or `file:PATH`. Several lines are a ring: the first seals, all "
            "open. Default: the file `master.key` under `data`, made at the first start. Keep a copy of it elsewhere.",
        ),
    ] = Secret("")
    kms_keys: Annotated[
        Secret,
        Setting(
            SECRET,
            "Keys for SSE-KMS, best as `file:PATH`: lines `NAME:KEY`, the key 32 random bytes in base64. Of several lines with one name the "
            "first seals, all open. Without a key id the master key is taken, under the name `aws/s3`.",
        ),
    ] = Secret("")


class PolicySettings(Value, frozen=True):
    """A reliability class of buckets. `standard` applies to buckets that name no other."""

    grids: Annotated[
        tuple[str, ...], Setting(NAMES, "Grids that hold every object, in order of preference for reads. Default: all.")
    ] = ()
    ack: Annotated[
        int | None,
        Setting(
            count(0, 16),
            "Grids that must hold a write before it is acknowledged. 0: the synced commit here is enough. "
            "Default: 0 when all its grids are folders, else 1.",
        ),
    ] = None
    outage: Annotated[
        str,
        Setting(
            choice("accept", "refuse"),
            "When fewer than `ack` grids can be reached: `accept` acknowledges from the spool and pays later, `refuse` answers 503.",
        ),
    ] = "accept"
    encrypt: Annotated[
        bool,
        Setting(
            FLAG,
            "Seal every new object with the master key (SSE-S3), also when its client and its bucket say nothing of encryption. Objects "
            "that are there already stay as they are.",
        ),
    ] = False


class BucketSettings(Value, frozen=True):
    """Gives a bucket its policy. Buckets themselves are made and removed by S3 clients."""

    name: Annotated[str, Setting(TEXT, "The bucket. Required.")] = ""
    policy: Annotated[str, Setting(NAME, "Its policy. Required.")] = ""


class Settings(Value, frozen=True):
    """What a node is told. The path of `data` is absolute."""

    data: Annotated[
        Path,
        Setting(
            PATH,
            "Directory of the index, the spool and the default grids. A relative path starts at the configuration file, "
            "or at the working directory when there is none.",
        ),
    ] = Path("data")
    server: ServerSettings = ServerSettings()
    index: IndexSettings = IndexSettings()
    spool: SpoolSettings = SpoolSettings()
    cache: CacheSettings = CacheSettings()
    log: LogSettings = LogSettings()
    scrub: ScrubSettings = ScrubSettings()
    sealing: SealingSettings = SealingSettings()
    lifecycle: LifecycleSettings = LifecycleSettings()
    access_logs: AccessLogSettings = AccessLogSettings()
    grid: tuple[GridSettings, ...] = ()
    policy: dict[str, PolicySettings] = {}
    bucket: tuple[BucketSettings, ...] = ()
    webhook: tuple[WebhookSettings, ...] = ()

    @property
    def index_path(self) -> Path:
        return self.data / self.index.url.partition(":")[2]

    @property
    def spool_path(self) -> Path:
        return self.data / self.spool.path

    @property
    def cache_path(self) -> Path:
        return self.data / self.cache.path

    @property
    def run_path(self) -> Path:
        """What running processes share: their lock and their metrics."""
        return self.data / "run"

    @property
    def credentials_path(self) -> Path:
        return self.data / "credentials.toml"

    @property
    def customer_keys(self) -> bool:
        """Whether clients may send keys of their own. On loopback nobody is on the way."""
        if self.server.tls_cert is not None:
            return True
        return self.server.customer_keys == "always" or (
            self.server.customer_keys == "loopback" and self.server.listen.loopback
        )

    @property
    def master_key_path(self) -> Path:
        return self.data / "master.key"

    def ack(self, policy: str) -> int:
        """The effective `ack` of a policy. A folder adds no durability to the synced commit on the same machine."""
        terms = self.policy[policy]
        if terms.ack is not None:
            return terms.ack
        schemes = {grid.name: grid.scheme for grid in self.grid}
        return 0 if all(schemes.get(name) == "folder" for name in terms.grids) else 1


TABLES: Final[dict[str, type[Value]]] = {
    "server": ServerSettings,
    "index": IndexSettings,
    "spool": SpoolSettings,
    "cache": CacheSettings,
    "log": LogSettings,
    "scrub": ScrubSettings,
    "sealing": SealingSettings,
    "lifecycle": LifecycleSettings,
    "access_logs": AccessLogSettings,
}
"""Tables that occur once: `[server]`."""
LISTS: Final[dict[str, type[Value]]] = {"grid": GridSettings, "bucket": BucketSettings, "webhook": WebhookSettings}
"""Tables that may be repeated: `[[grid]]`."""
NAMED: Final[dict[str, type[Value]]] = {"policy": PolicySettings}
"""Tables with a name: `[policy.standard]`."""


def rows(table: type[Value]) -> dict[str, Setting]:
    """The settings of one table, by name, in order."""
    found: dict[str, Setting] = {}
    for name, hint in get_type_hints(table, include_extras=True).items():
        for note in getattr(hint, "__metadata__", ()):
            if isinstance(note, Setting):
                found[name] = note
    return found


def default_of(table: type[Value], name: str) -> Any:
    """The value that a setting has when nobody sets it."""
    return getattr(table(), name)


def environment_names() -> dict[str, tuple[str, str]]:
    """Every variable that overrides a setting, with the setting's table and name: one rule, `HOLDFAST_<TABLE>_<NAME>`."""
    names = {"HOLDFAST_DATA": ("", "data")}
    for table, kind in TABLES.items():
        for name in rows(kind):
            names[f"HOLDFAST_{table}_{name}".upper()] = (table, name)
    return names
