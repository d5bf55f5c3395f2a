"""The AWS SDK for JavaScript, version 3: what `javascript.mjs` saw of a gateway, over http and https."""

import json
import secrets
import shutil
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest

from tests import npm
from tests.clients.server import ACCESS_KEY, REGION, SECRET_KEY, Endpoint

pytestmark = pytest.mark.skipif(bool(npm.missing("SDK")), reason=npm.missing("AWS SDK for JavaScript"))
SCRIPT: Final = Path(__file__).with_name("javascript.mjs")
MIB: Final = 1024 * 1024
LISTED: Final = ["l/a b", "l/a/x", "l/a/y", "l/z", "l/é"]
EXPECTED: Final[dict[str, Any]] = {
    "bucket": {"head": REGION, "location": ""},
    "object": {
        "same": True, "etag": True, "type": "text/x-test", "metadata": {"colour": "red"}, "crc": True, "size": 70_000,
        "range": ["bytes 10-19/70000", True],
    },
    "stream": {"same": True},
    "upload": {
        "same": True, "parts": '-3"', "tagCount": 1, "second": [5 * MIB, 3], "told": [11 * MIB + 5, 3, "STANDARD"],
    },
    "parts": {
        "sizes": [5 * MIB, 100], "going": ["parts"], "checksum": True, "size": 5 * MIB + 100, "aborted": ["NoSuchUpload", 404],
    },
    "list": {
        "keys": LISTED, "rolled": ["l/a b", "l/a/", "l/z", "l/é"], "versions": [[key, "null", True] for key in LISTED],
    },
    "conditions": {
        "absent": ["PreconditionFailed", 412], "other": ["PreconditionFailed", 412], "match": "ok", "fresh": 304,
        "none": ["NoSuchKey", 404], "head": ["NotFound", 404], "bucket": ["NoSuchBucket", 404], "range": ["InvalidRange", 416],
    },
    "checksums": {
        "told": dict.fromkeys(("CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"), True), "wrong": ["BadDigest", 400],
    },
    "tagging": {
        "first": {"a": "1", "b": "two words"}, "then": {"c": "3"}, "copied": {"d": "4"}, "bucket": {"of": "bucket"},
        "wrong": ["InvalidTag", 400],
    },
    "documents": {
        "none": ["NoSuchCORSConfiguration", 404],
        "rules": [
            {"AllowedHeaders": ["*"], "AllowedMethods": ["GET", "PUT"], "AllowedOrigins": ["https://app.example"],
             "ExposeHeaders": ["ETag"], "MaxAgeSeconds": 9},
        ],
        "site": ["index.html", "e.html"],
        "preflight": [200, "GET, PUT", "x-amz-date"],
    },
    "presigned": {
        "put": 200, "got": [200, "text/x-other", "by url"], "wrong": 403, "posted": [201, "form/a.txt"], "stored": "by form",
    },
    "remove": {"busy": ["BucketNotEmpty", 409], "deleted": True, "quiet": [], "gone": ["NotFound", 404]},
}  # fmt: skip


def test_the_javascript_sdk_sees_what_it_would_see_at_amazon(endpoint: Endpoint, home: Path, tmp_path: Path) -> None:
    program = tmp_path / SCRIPT.name
    shutil.copy(SCRIPT, program)
    (tmp_path / "node_modules").symlink_to(npm.install(*npm.AWS_SDK))
    environment = {
        "HOME": str(home),
        "AWS_EC2_METADATA_DISABLED": "true",
        "NODE_EXTRA_CA_CERTS": endpoint.ca,
        "ENDPOINT": endpoint.url,
        "ACCESS_KEY": ACCESS_KEY,
        "SECRET_KEY": SECRET_KEY,
        "REGION": REGION,
        "BUCKET": f"javascript-{secrets.token_hex(8)}",
    }
    done = subprocess.run(
        [npm.node(), str(program)],
        env=environment,
        capture_output=True,
        stdin=subprocess.DEVNULL,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    seen = json.loads(done.stdout)
    assert seen == EXPECTED, done.stderr.decode(errors="replace")
