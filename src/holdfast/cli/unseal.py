"""`holdfast unseal`: open a sealed copy that was taken from a grid, with nothing but the copy and its key.

Answers for the last way to an object when node and index are gone. It reads one file and writes one, and asks neither grids nor the
index. Invariant: what it wrote under its name is whole and verified; what it could not verify leaves no file.
"""

import asyncio
import base64
import os
import sys
from pathlib import Path
from typing import Annotated, BinaryIO, Final

import typer

from holdfast.cli.telling import ConfigOption, DataOption, prose, settings_or_exit, tell_problem
from holdfast.clock import SystemClock
from holdfast.config.notation import Unreadable, read_secret
from holdfast.config.settings import Settings
from holdfast.errors import ConfigError, S3Error
from holdfast.model import Place, Seal, SealKind
from holdfast.s3.encryption import CustomerKey
from holdfast.sealing.frames import Damaged, open_copy
from holdfast.sealing.keyring import open_ring
from holdfast.sealing.kms import open_kms
from holdfast.sealing.master import KEY_BYTES
from holdfast.sealing.vault import Vault, open_customer

HELP: Final = prose("""
Open a sealed copy that was taken from a grid: a file of a folder grid, or an object that any S3 client fetched.

Needs the copy, the name of the object (a copy opens under its own bucket and key only), and the key that sealed it: the node's master
key and KMS keys, as the configuration says; or [b]--customer-key[/b] for an object that a client sealed with a key of its own (SSE-C).
The index is not asked. Every byte is verified before it is written. Of an object that was uploaded in parts, the parts and their order
are verified; that the last of them is missing only the index could tell, so compare the number of bytes where that matters.

Exit code 0: the object was written; 1: the copy is damaged, or is not that object's; 2: there is no key.

[b]Examples[/b]

[cyan]holdfast unseal /srv/holdfast/photos/cat.jpg --bucket photos --key cat.jpg --output cat.jpg[/cyan]

[cyan]holdfast unseal copy --bucket photos --key cat.jpg --master-key file:/safe/master.key > cat.jpg[/cyan]
""")


def command(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The sealed copy.")],
    bucket: Annotated[str, typer.Option(metavar="NAME", help="The object's bucket, as its clients called it.")],
    key: Annotated[str, typer.Option(metavar="KEY", help="The object's key.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Where to write it. Default: standard output.")
    ] = None,
    master_key: Annotated[
        str | None, typer.Option(metavar="KEY", help="Best as env:NAME or file:PATH. Overrides the configuration.")
    ] = None,
    kms_keys: Annotated[
        str | None, typer.Option(metavar="KEYS", help="As env:NAME or file:PATH. Overrides the configuration.")
    ] = None,
    customer_key: Annotated[
        str | None, typer.Option(metavar="KEY", help="The client's key in base64, best as env:NAME or file:PATH.")
    ] = None,
    config: ConfigOption = None,
    data: DataOption = None,
) -> None:
    """Open a sealed copy that was taken from a grid."""
    flags = {"data": data, "sealing.master_key": master_key, "sealing.kms_keys": kms_keys}
    settings = settings_or_exit(config, flags).settings
    opening = _Opening(settings, Place(bucket, key), customer_key)
    try:
        with file.open("rb") as copy:
            if output is None:
                _write(copy, opening, sys.stdout.buffer)
                sys.stdout.buffer.flush()
            else:
                _write_file(copy, opening, output)
    except OSError as trouble:
        tell_problem(ConfigError(str(trouble.filename or file), f"{trouble.strerror}."))
        raise typer.Exit(1) from trouble
    except (Damaged, S3Error) as trouble:
        reason = trouble.detail or trouble.message if isinstance(trouble, S3Error) else str(trouble)
        tell_problem(ConfigError(str(file), f"{reason}.", "Try the copy of another grid, and check bucket and key."))
        raise typer.Exit(1) from trouble


def _write(copy: BinaryIO, opening: "_Opening", target: BinaryIO) -> None:
    for piece in open_copy(copy.read, opening.key_of):
        target.write(piece)


def _write_file(copy: BinaryIO, opening: "_Opening", output: Path) -> None:
    draft = output.with_name(f".{output.name}.{os.getpid()}")
    try:
        with draft.open("xb") as target:
            _write(copy, opening, target)
        draft.replace(output)
    finally:
        draft.unlink(missing_ok=True)


class _Opening:
    """Who unwraps data keys for one object."""

    def __init__(self, settings: Settings, place: Place, customer_key: str | None) -> None:
        self._settings = settings
        self._place = place
        self._customer_key = customer_key

    def key_of(self, seal: Seal) -> bytes:
        """Raises ConfigError when the key is not given, S3Error when it is another one."""
        if seal.kind is SealKind.CUSTOMER:
            return open_customer(seal, self._place, self._customer())
        return asyncio.run(self._vault().key_of(seal, self._place, None))

    def _customer(self) -> CustomerKey:
        where = "--customer-key"
        if self._customer_key is None:
            raise ConfigError(where, "the object was sealed with a key of its client's.", "Give that key.")
        try:
            key = base64.b64decode(read_secret(self._customer_key, os.environ).reveal(), validate=True)
        except Unreadable as trouble:
            raise ConfigError(where, trouble.what, trouble.remedy) from trouble
        except ValueError:
            key = b""
        if len(key) != KEY_BYTES:
            raise ConfigError(where, "is no key.", f"Give {KEY_BYTES} bytes in base64.")
        return CustomerKey(key)

    def _vault(self) -> Vault:
        terms, path, clock = self._settings.sealing, self._settings.master_key_path, SystemClock()
        if not terms.master_key.reveal() and not path.exists():
            # Opening the ring would make a new key, which opens nothing.
            raise ConfigError(str(path), "there is no master key.", "Name the data directory, or give --master-key.")
        master = open_ring(path, clock, given=terms.master_key, environ=os.environ)
        return Vault(master, open_kms(master, terms.kms_keys, os.environ, clock), clock)
