"""A self-signed certificate for `localhost` and the loopback addresses, and its key, for tests only.

Valid from 2026 to 2126. The key is public by its nature; nothing but tests may trust the certificate.
"""

from pathlib import Path
from typing import Final

CERTIFICATE: Final = """\
-----BEGIN CERTIFICATE-----
MIIBvDCCAWKgAwIBAgIUYrZUgdpfEm251Zn8zcKO9rkGD2YwCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTI2MTEyNDAwMDIzMFoYDzIxMjYxMDMx
MDAwMjMwWjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAARvpy9TZjyuDTBKJ54dFDDBiLOLLmenFpdN1xd8T6/wGoGaFuQ8zRuW
v99zRH/7/rBI0sXofd+SnjBpstOpczj5o4GPMIGMMB0GA1UdDgQWBBSlANN1Ynvz
kUtJBRsabhjZu6VYlTAfBgNVHSMEGDAWgBSlANN1YnvzkUtJBRsabhjZu6VYlTA5
BgNVHREEMjAwgglsb2NhbGhvc3SCCyoubG9jYWxob3N0hwR/AAABhxAAAAAAAAAA
AAAAAAAAAAABMA8GA1UdEwEB/wQFMAMBAf8wCgYIKoZIzj0EAwIDSAAwRQIhAKcl
bpqVEnY25IyjpbTnea02gM+OnVRkfEL9eZ1WstJaAiA4QFPIKW6y/LmcJD+ZnwmB
4vojEYQAYzRBfsVoosmu7A==
-----END CERTIFICATE-----
"""

KEY: Final = """\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgdnX2+BVxGL6+8poE
r/TFSmVtIqE8SwckP76D9kl88oihRANCAARvpy9TZjyuDTBKJ54dFDDBiLOLLmen
FpdN1xd8T6/wGoGaFuQ8zRuWv99zRH/7/rBI0sXofd+SnjBpstOpczj5
-----END PRIVATE KEY-----
"""


def write(folder: Path) -> tuple[str, str]:
    """Write certificate and key into `folder`, and return their paths."""
    paths = folder / "localhost.pem", folder / "localhost.key"
    for path, text in zip(paths, (CERTIFICATE, KEY), strict=True):
        path.write_text(text)
    return str(paths[0]), str(paths[1])
