"""TLS of the S3 listener.

Answers for one `ssl.SSLContext` and for putting renewed certificates into it without a restart.
"""

import ssl

from holdfast.errors import ConfigError


class Tls:
    """A server's certificate and key, in PEM files."""

    def __init__(self, certificate: str, key: str) -> None:
        """Raises ConfigError when the files are not a certificate chain and its key."""
        self._certificate = certificate
        self._key = key
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self.context.set_alpn_protocols(["http/1.1"])
        _load(self.context, certificate, key)

    def reload(self) -> None:
        """Use what the files hold now for connections from now on. Raises ConfigError, and then goes on with
        what it had."""
        _load(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), self._certificate, self._key)
        _load(self.context, self._certificate, self._key)


def _load(context: ssl.SSLContext, certificate: str, key: str) -> None:
    try:
        context.load_cert_chain(certificate, key, password=lambda: b"")  # Never asks at the terminal.
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            "server.tls",
            f"{certificate} and {key} cannot be used: {error}.",
            "Both must be readable PEM files, the key unencrypted and belonging to the certificate.",
        ) from error
