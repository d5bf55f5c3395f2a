"""A certificate for `localhost` and the loopback addresses with the authority that signed it, and its key, for tests only.

Valid from 2020 to 2120. The key is public by its nature; nothing but tests may trust the certificate. The authority's
own key was not kept. Some clients refuse a server whose certificate is itself an authority's, so there are two.
"""

from pathlib import Path
from typing import Final

CERTIFICATE: Final = """\
-----BEGIN CERTIFICATE-----
MIIB2jCCAX+gAwIBAgIBAjAKBggqhkjOPQQDAjAiMSAwHgYDVQQDDBdIb2xkZmFz
dCB0ZXN0IGF1dGhvcml0eTAgFw0yMDAxMDEwMDAwMDBaGA8yMTIwMDEwMTAwMDAw
MFowFDESMBAGA1UEAwwJbG9jYWxob3N0MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcD
QgAEs9ctsxaXIgeDBHw/utI5iAnuT/RKvNkGt47wWipJNewOIgAy/7rB4Kh48ZeV
yr68y8U7Csp2WQmZFwwle9HFYaOBsTCBrjAMBgNVHRMBAf8EAjAAMA4GA1UdDwEB
/wQEAwIHgDATBgNVHSUEDDAKBggrBgEFBQcDATAdBgNVHQ4EFgQU4huqr0Iki4bp
XwAf2yjqUGbHx6IwHwYDVR0jBBgwFoAUB7CbPRk2PD7iF8V0uUtujbUkbXwwOQYD
VR0RBDIwMIIJbG9jYWxob3N0ggsqLmxvY2FsaG9zdIcEfwAAAYcQAAAAAAAAAAAA
AAAAAAAAATAKBggqhkjOPQQDAgNJADBGAiEAybTEun9nojOkjLDSFz8iW+OGNjzZ
VyzwFn/pUJ0ao3cCIQD28p+P7mlEsctxDD+AiL+vkNR4ffT+vs8n3XMCFWmPVA==
-----END CERTIFICATE-----
-----BEGIN CERTIFICATE-----
MIIBdjCCAR2gAwIBAgIBATAKBggqhkjOPQQDAjAiMSAwHgYDVQQDDBdIb2xkZmFz
dCB0ZXN0IGF1dGhvcml0eTAgFw0yMDAxMDEwMDAwMDBaGA8yMTIwMDEwMTAwMDAw
MFowIjEgMB4GA1UEAwwXSG9sZGZhc3QgdGVzdCBhdXRob3JpdHkwWTATBgcqhkjO
PQIBBggqhkjOPQMBBwNCAASais6GaGn0cpyQH7PA8k1Ot1mejyz9BbcoMO9D+ZWa
UFwUP+90mTjhKjhZVS6eHW8W/avqWPtznfXX4Yulcjd4o0IwQDAPBgNVHRMBAf8E
BTADAQH/MA4GA1UdDwEB/wQEAwIBBjAdBgNVHQ4EFgQUB7CbPRk2PD7iF8V0uUtu
jbUkbXwwCgYIKoZIzj0EAwIDRwAwRAIgVLDliDwZtrWfwAmfkMz5bIuKjLhqxIZi
YVymEOl9XXsCIAJ4bx1DVx9vaxCzcejtZgtb88PkbF3K1oL2KLAZ85cO
-----END CERTIFICATE-----
"""
"""The server's certificate, then its authority's: a chain to serve, and a file to trust."""

KEY: Final = """\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg0Bax3ZSMT8vW+AAB
xibH2sCNON9HjX845jLglZqNy9GhRANCAASz1y2zFpciB4MEfD+60jmICe5P9Eq8
2Qa3jvBaKkk17A4iADL/usHgqHjxl5XKvrzLxTsKynZZCZkXDCV70cVh
-----END PRIVATE KEY-----
"""


def write(folder: Path) -> tuple[str, str]:
    """Write certificate and key into `folder`, and return their paths."""
    paths = folder / "localhost.pem", folder / "localhost.key"
    for path, text in zip(paths, (CERTIFICATE, KEY), strict=True):
        path.write_text(text)
    return str(paths[0]), str(paths[1])
