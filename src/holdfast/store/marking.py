"""Changing the marks of a version, and telling it.

Invariant: what is told is recorded in the very commit of the change.
"""

from holdfast.copies.site import Site
from holdfast.model import MarkChange, Version
from holdfast.s3.notices import notices_of


async def mark(site: Site, bucket_name: str, key: str, version_id: str, change: MarkChange, event: str) -> Version:
    """Change a version's marks, which is told as this event. Raises what `Index.mark` raises."""
    bucket = await site.index.bucket(bucket_name)
    notices = notices_of(bucket, site.webhooks, (event,), key, at_ms=site.clock.now_ms())
    version = await site.index.mark(bucket_name, key, version_id, change, notices=notices)
    if notices:
        site.note_notices()
    return version
