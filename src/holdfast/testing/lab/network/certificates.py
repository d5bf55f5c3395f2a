"""An authority, a certificate of its that is valid, and one that has expired, for proxies that speak TLS; for tests only.

The authority and the first certificate are valid until 2120, the second ended on 22 February 2013, as Azure Storage's did.
Both have the same key, which is public by its nature. The authority's own key was not kept.
"""

import ssl
import tempfile
from pathlib import Path
from typing import Final

AUTHORITY: Final = """\
-----BEGIN CERTIFICATE-----
MIIBgzCCASmgAwIBAgIBATAKBggqhkjOPQQDAjAoMSYwJAYDVQQDDB1Ib2xkZmFz
dCBsYWJvcmF0b3J5IGF1dGhvcml0eTAgFw0wMDAxMDEwMDAwMDBaGA8yMTIwMDEw
MTAwMDAwMFowKDEmMCQGA1UEAwwdSG9sZGZhc3QgbGFib3JhdG9yeSBhdXRob3Jp
dHkwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAAQDaY58QU+68XZZUJCmUMEeQrpt
VS5XLhtUq9QXzNNiQad1J/VcX4BlHDmkmWnqHeghmmZYoGX31frfLgLrrTQko0Iw
QDAPBgNVHRMBAf8EBTADAQH/MA4GA1UdDwEB/wQEAwIBBjAdBgNVHQ4EFgQUgV7t
GZ6pJJNogr8GO1V+7s0Ppa0wCgYIKoZIzj0EAwIDSAAwRQIhAKPR/NBCdlNeQRHo
ZBurZlTC3zzpnLk5o0POflkmPCJlAiByLK5sdSok8J4Du2PduvOlYw070hlDSIrQ
njJj1SehNw==
-----END CERTIFICATE-----
"""

VALID: Final = """\
-----BEGIN CERTIFICATE-----
MIIB7TCCAZOgAwIBAgIBAjAKBggqhkjOPQQDAjAoMSYwJAYDVQQDDB1Ib2xkZmFz
dCBsYWJvcmF0b3J5IGF1dGhvcml0eTAgFw0yMDAxMDEwMDAwMDBaGA8yMTIwMDEw
MTAwMDAwMFowFDESMBAGA1UEAwwJbG9jYWxob3N0MFkwEwYHKoZIzj0CAQYIKoZI
zj0DAQcDQgAEfklpS2GQpqs8cB9tiI1CiYG/Se7Ud0YSmESWmnxSE4qERywM3O0B
Nu6lhzRJAm9VZ6aPeYzFr0MMXGEAMGUqJqOBvzCBvDAJBgNVHRMEAjAAMA4GA1Ud
DwEB/wQEAwIHgDATBgNVHSUEDDAKBggrBgEFBQcDATAdBgNVHQ4EFgQUHbvvOM6R
mvIENlLMNyaR/CmIj8YwHwYDVR0jBBgwFoAUgV7tGZ6pJJNogr8GO1V+7s0Ppa0w
SgYDVR0RBEMwQYIJbG9jYWxob3N0ggsqLmxvY2FsaG9zdIIPKi5ob2xkZmFzdC50
ZXN0hwR/AAABhxAAAAAAAAAAAAAAAAAAAAABMAoGCCqGSM49BAMCA0gAMEUCIF4B
9xlbQfrCw1lSk3MX6WssdZsPx5QN0T9T1+Ctmd6tAiEAgl0PNzTjDvOhABhv9dYN
bOtVQ9s2wCQkwb/HbHTQ6zc=
-----END CERTIFICATE-----
"""

EXPIRED: Final = """\
-----BEGIN CERTIFICATE-----
MIIB6zCCAZGgAwIBAgIBAzAKBggqhkjOPQQDAjAoMSYwJAYDVQQDDB1Ib2xkZmFz
dCBsYWJvcmF0b3J5IGF1dGhvcml0eTAeFw0xMjAyMjIwMDAwMDBaFw0xMzAyMjIw
MDAwMDBaMBQxEjAQBgNVBAMMCWxvY2FsaG9zdDBZMBMGByqGSM49AgEGCCqGSM49
AwEHA0IABH5JaUthkKarPHAfbYiNQomBv0nu1HdGEphElpp8UhOKhEcsDNztATbu
pYc0SQJvVWemj3mMxa9DDFxhADBlKiajgb8wgbwwCQYDVR0TBAIwADAOBgNVHQ8B
Af8EBAMCB4AwEwYDVR0lBAwwCgYIKwYBBQUHAwEwHQYDVR0OBBYEFB277zjOkZry
BDZSzDcmkfwpiI/GMB8GA1UdIwQYMBaAFIFe7RmeqSSTaIK/BjtVfu7ND6WtMEoG
A1UdEQRDMEGCCWxvY2FsaG9zdIILKi5sb2NhbGhvc3SCDyouaG9sZGZhc3QudGVz
dIcEfwAAAYcQAAAAAAAAAAAAAAAAAAAAATAKBggqhkjOPQQDAgNIADBFAiAnMlhk
87P7X7JU6s5rYvHe84wK+HFxNfUd68UweAR7swIhAIp2iptuDuO+yzqowTGolh0B
Hy7wae8yc3EKUuMCyiJa
-----END CERTIFICATE-----
"""

KEY: Final = """\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg7hf5xtfKxkxug0m5
byOLaGM5kwbO729uaZZJIzfHGQ6hRANCAAR+SWlLYZCmqzxwH22IjUKJgb9J7tR3
RhKYRJaafFITioRHLAzc7QE27qWHNEkCb1Vnpo95jMWvQwxcYQAwZSom
-----END PRIVATE KEY-----
"""


def context(certificate: str) -> ssl.SSLContext:
    """What a server needs to show this certificate."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory() as folder:
        chain, key = Path(folder, "chain.pem"), Path(folder, "key.pem")
        chain.write_text(certificate + AUTHORITY)
        key.write_text(KEY)
        made.load_cert_chain(chain, key)
    return made
