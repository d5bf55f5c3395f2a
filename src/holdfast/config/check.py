"""Whether the settings fit each other and this machine, and what they mean.

Answers for contradictions (problems), for doubtful choices (warnings) and for one sentence per policy. It looks
at the disk and changes nothing there. Invariant: settings without a problem can be served.
"""

import difflib
import os
import re
from collections.abc import Iterator, Sequence
from itertools import combinations
from pathlib import Path

from holdfast.config.notation import show_size
from holdfast.config.places import GridSettings
from holdfast.config.settings import Settings
from holdfast.errors import ConfigError
from holdfast.limits import PUT_BYTES
from holdfast.s3.names import is_bucket_name

_LOOPBACK = re.compile(r"http://(?:localhost|127\.[0-9.]+|\[::1\])(?::[0-9]+)?$")


def cross_check(settings: Settings, file: str) -> list[ConfigError]:
    """What makes these settings impossible, each with where it stands in `file`."""
    return [
        ConfigError(f"{file} {where}", what, remedy)
        for found in (_names, _policies, _server, _folders, _cache, _data)
        for where, what, remedy in found(settings)
    ]


Problem = tuple[str, str, str]


def _names(settings: Settings) -> Iterator[Problem]:
    names = [grid.name for grid in settings.grid]
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield f'[[grid]] "{name}"', "there are two grids with this name.", "Give each grid a name of its own."
    webhooks = [webhook.name for webhook in settings.webhook]
    for name in sorted({name for name in webhooks if webhooks.count(name) > 1}):
        yield f'[[webhook]] "{name}"', "there are two webhooks with this name.", "Give each a name of its own."
    buckets = [bucket.name for bucket in settings.bucket]
    for name in sorted({name for name in buckets if buckets.count(name) > 1}):
        yield f'[[bucket]] "{name}"', "this bucket is mentioned twice.", "A bucket has one policy."
    for name in buckets:
        if not is_bucket_name(name):
            remedy = (
                "Use 3 to 63 lower-case letters, digits, dots and hyphens, beginning and ending with a letter or digit."
            )
            yield f'[[bucket]] "{name}"', "no bucket can have this name.", remedy
    if settings.server.workers > 1 and any(grid.scheme == "memory" for grid in settings.grid):
        yield "[server] workers", "several workers cannot share a grid in memory.", "Use one worker, or folder grids."


def _policies(settings: Settings) -> Iterator[Problem]:
    grids = [grid.name for grid in settings.grid]
    for name, terms in settings.policy.items():
        where = f"[policy.{name}]"
        for grid in terms.grids:
            if grid not in grids:
                yield f"{where} grids", f'there is no grid "{grid}".', _hint(grid, grids)
        if len(set(terms.grids)) < len(terms.grids):
            yield f"{where} grids", "a grid is named twice.", "Two copies on one grid are one copy: name each once."
        if terms.ack is not None and terms.ack > len(set(terms.grids)):
            what = f"{terms.ack} grids cannot hold a write: this policy has {len(set(terms.grids))}."
            yield f"{where} ack", what, f"Choose 0 to {len(set(terms.grids))}, or add grids."
    for bucket in settings.bucket:
        if bucket.policy not in settings.policy:
            where = f'[[bucket]] "{bucket.name}" policy'
            yield where, f'there is no policy "{bucket.policy}".', _hint(bucket.policy, list(settings.policy))


def _hint(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"Did you mean {near[0]}?" if near else f"There are: {', '.join(known)}."


def _server(settings: Settings) -> Iterator[Problem]:
    server = settings.server
    if (server.tls_cert is None) != (server.tls_key is None):
        there, missing = ("tls_cert", "tls_key") if server.tls_key is None else ("tls_key", "tls_cert")
        yield f"[server] {missing}", f"{there} is set and {missing} is not.", "TLS needs both, plain http neither."
    for name, path in (("tls_cert", server.tls_cert), ("tls_key", server.tls_key)):
        if path is not None and not os.access(path, os.R_OK):
            yield f"[server] {name}", f"{path} cannot be read.", "Check the path and the permissions."
    if server.admin is not None and server.admin == server.listen and server.listen.port:
        yield "[server] admin", f"{server.admin} is the address of the S3 endpoint.", "Choose another port."


def _folders(settings: Settings) -> Iterator[Problem]:
    folders = [(grid, folder) for grid in settings.grid if (folder := grid.folder(settings.data)) is not None]
    for (first, one), (second, other) in combinations(folders, 2):
        if _same(one, other):
            what = f'it is the same folder as that of grid "{first.name}".'
            yield _at(second), what, "Two grids in one place are one copy: use another folder, on another disk."
        elif _within(one, other) or _within(other, one):
            what = f'it lies inside the folder of grid "{first.name}", or around it.'
            yield _at(second), what, "Each grid needs a folder of its own."
    for grid, folder in folders:
        if folder.exists() and not folder.is_dir():
            yield _at(grid), f"{folder} is not a directory.", "Name a directory."
        own = {"the data directory": settings.data, "the index": settings.index_path, "the spool": settings.spool_path}
        for what_is_there, place in (own | {"the cache": settings.cache_path}).items():
            if _same(folder, place) or _within(place, folder):
                yield _at(grid), f"{what_is_there} lies in it.", "Give the grid a directory of its own."
        ours = {"the spool": settings.spool_path, "the cache": settings.cache_path, "run files": settings.run_path}
        for what_is_there, place in ours.items():
            if _within(folder, place):
                yield _at(grid), f"it lies among {what_is_there}.", "Give the grid a directory of its own."


def _at(grid: GridSettings) -> str:
    return f'[[grid]] "{grid.name}" url'


def _same(one: Path, other: Path) -> bool:
    try:
        return os.path.samefile(one, other)
    except OSError:
        return os.path.realpath(one) == os.path.realpath(other)


def _within(inner: Path, outer: Path) -> bool:
    inner_real, outer_real = os.path.realpath(inner), os.path.realpath(outer)
    return inner_real != outer_real and os.path.commonpath((inner_real, outer_real)) == outer_real


def _data(settings: Settings) -> Iterator[Problem]:
    for where, path in (("data", settings.data), ("[spool] path", settings.spool_path)):
        there = _existing(path)
        if not there.is_dir():
            yield where, f"{there} is not a directory.", "Choose a directory that is there or can be made."
        elif not os.access(there, os.W_OK | os.X_OK):
            yield where, f"{there} is not writable.", "Change its owner, or choose another directory."
    if not settings.spool.limit:
        yield (
            "[spool] limit",
            "without room in the spool no write can be taken.",
            'Give it hours of writes, as in "64GiB".',
        )


def _cache(settings: Settings) -> Iterator[Problem]:
    cache = settings.cache_path
    for name, place in (("the spool", settings.spool_path), ("the run files", settings.run_path)):
        if _same(cache, place) or _within(cache, place) or _within(place, cache):
            yield "[cache] path", f"{place} belongs to {name}.", "Give the cache a directory of its own."


def _existing(path: Path) -> Path:
    while not os.path.lexists(path):
        path = path.parent
    return path


def warnings(settings: Settings) -> list[str]:
    """What is possible and probably not what the operator wants."""
    found: list[str] = []
    domains = {grid.name: set(grid.domain) for grid in settings.grid}
    for name, terms in settings.policy.items():
        if len(terms.grids) == 1:
            found.append(f"policy {name}: it has one grid: nothing is held twice.")
        if terms.outage == "refuse" and settings.ack(name) == 0:
            found.append(f'policy {name}: outage = "refuse" has no effect while ack is 0.')
        for one, other in combinations(terms.grids, 2):
            if common := domains.get(one, set()) & domains.get(other, set()):
                found.append(f"policy {name}: grids {one} and {other} fail together with {', '.join(sorted(common))}.")
    admin = settings.server.admin
    if admin is not None and not admin.loopback:
        found.append(f"server.admin = {admin}: whoever can connect there sees the status; it asks for no password.")
    if settings.spool.limit < PUT_BYTES:
        found.append(f"spool.limit = {show_size(settings.spool.limit)}: larger bodies are always refused.")
    if settings.cache.size and not os.access(there := _existing(settings.cache_path), os.W_OK | os.X_OK):
        found.append(f"cache.path = {settings.cache_path}: {there} is not writable, so the cache will be off.")
    for grid in settings.grid:
        if grid.endpoint.startswith("http://") and not _LOOPBACK.match(grid.endpoint):
            found.append(f"grid {grid.name}: over http whoever is on the way can read the objects: use https.")
        if grid.secret_key.reveal() and not grid.secret_key.reveal().startswith(("env:", "file:")):
            found.append(
                f"grid {grid.name}: its secret key stands in the configuration: env:NAME or file:PATH keep it out of there."
            )
    for webhook in settings.webhook:
        secret = webhook.secret.reveal()
        if not secret:
            found.append(f"webhook {webhook.name}: without a secret it cannot tell our events from anybody else's.")
        elif not secret.startswith(("env:", "file:")):
            found.append(
                f"webhook {webhook.name}: its secret stands in the configuration: env:NAME or file:PATH keep it out of there."
            )
    found += _one_disk(settings)
    return found


def _one_disk(settings: Settings) -> Iterator[str]:
    disks: dict[int, list[str]] = {}
    for grid in settings.grid:
        if (folder := grid.folder(settings.data)) is not None:
            try:
                disks.setdefault(os.stat(_existing(folder)).st_dev, []).append(grid.name)
            except OSError:
                continue
    for names in disks.values():
        if len(names) > 1:
            yield f"grids {' and '.join(names)} are on one file system: copies there do not survive the loss of its disk."


def meaning(settings: Settings, name: str) -> str:
    """What a policy means for a write, in one sentence."""
    terms = settings.policy[name]
    ack, grids = settings.ack(name), _listed(terms.grids)
    if ack == 0:
        return (
            f"A write is acknowledged when it is committed and synced on this machine; {grids} get it right afterwards, "
            "and one that is away gets it on its return."
        )
    held = (
        f"{grids} hold"
        if ack == len(terms.grids) > 1
        else f"{ack} of {grids} holds"
        if ack == 1
        else f"{ack} of {grids} hold"
    )
    if len(terms.grids) == 1:
        held = f"{grids} holds"
    if terms.outage == "refuse":
        return (
            f"A write is acknowledged when {held} it; while too few can be reached, writes get 503. One that was under way when "
            "a grid failed gets 503, too, and may have been taken."
        )
    return (
        f"A write is acknowledged when {held} it; while too few can be reached, it is acknowledged from the spool "
        "on this machine and paid on their return."
    )


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1] if names else "no grid"
