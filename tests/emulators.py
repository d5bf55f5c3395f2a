"""Azurite, Microsoft's own emulator of Azure Blob Storage, as a process on loopback.

It comes from the npm registry (see `npm`). Invariant: no process outlives `close`.
"""

import base64
import email.utils
import hashlib
import hmac
import http.client
import socket
from pathlib import Path
from typing import Final

from holdfast.testing import certificates
from tests import npm
from tests.providers import Process

ACCOUNT: Final = "devstoreaccount1"
ACCOUNT_KEY: Final = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""Azurite's well-known account: printed in its documentation, and no secret."""
_VERSION: Final = "2023-11-03"


def missing() -> str:
    """Why Azurite cannot be had; empty when it can."""
    return npm.missing("Azurite")


def install() -> Path:
    """Azurite's program, installed if need be. Only where nothing is `missing`."""
    return npm.install(*npm.AZURITE) / "azurite" / "dist" / "src" / "blob" / "main.js"


class Azurite(Process):
    """The blob service of Azurite over a directory."""

    @property
    def endpoint(self) -> str:
        return f"{self.url}/{ACCOUNT}"

    def stop(self) -> None:
        """End it in order: killed, it forgets what it was told within the last seconds."""
        assert self._process is not None
        self._process.terminate()
        self._process.wait(60)

    def create(self, container: str) -> None:
        """Make a container."""
        status = self._ask("PUT", container)
        assert status in (201, 409), status

    def put(self, container: str, name: str, body: bytes) -> None:
        """Write an object as somebody else would."""
        status = self._ask("PUT", f"{container}/{name}", query="", body=body)
        assert status == 201, status

    def remove(self, container: str) -> None:
        """Remove a container with all that is in it."""
        status = self._ask("DELETE", container)
        assert status == 202, status

    def _command(self) -> list[str]:
        return [
            npm.node(), str(install()), "--blobHost", "127.0.0.1", "--blobPort", str(self.port), "--location", str(self.folder),
            "--silent", "--loose", "--disableTelemetry", "--skipApiVersionCheck",
        ]  # fmt: skip

    def _ask(self, method: str, path: str, *, query: str = "restype=container", body: bytes = b"") -> int:
        date = email.utils.formatdate(usegmt=True)
        headers = {"x-ms-date": date, "x-ms-version": _VERSION}
        if body:
            headers["x-ms-blob-type"] = "BlockBlob"
        signed = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
        resource = f"/{ACCOUNT}/{ACCOUNT}/{path}" + (f"\n{query.replace('=', ':')}" if query else "")
        text = f"{method}\n\n\n{len(body) or ''}\n\n\n\n\n\n\n\n\n{signed}{resource}"
        signature = hmac.new(base64.b64decode(ACCOUNT_KEY), text.encode(), hashlib.sha256).digest()
        headers["authorization"] = f"SharedKey {ACCOUNT}:{base64.b64encode(signature).decode()}"
        headers["content-length"] = str(len(body))
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request(method, f"/{ACCOUNT}/{path}" + (f"?{query}" if query else ""), body, headers)
            return connection.getresponse().status
        finally:
            connection.close()


class SecureAzurite(Azurite):
    """Azurite over TLS, with the certificate that tests have."""

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    def _command(self) -> list[str]:
        certificate, key = certificates.write(self.folder)
        return [*super()._command(), "--cert", certificate, "--key", key]

    def _answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0
