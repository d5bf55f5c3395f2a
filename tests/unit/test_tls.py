"""The listener over TLS: the same promises, and renewed certificates without a restart."""

import asyncio
import ssl
from pathlib import Path

import pytest

from holdfast.errors import ConfigError
from holdfast.serve.exchange import Exchange
from holdfast.serve.tls import Tls
from holdfast.testing.certificates import CERTIFICATE, write
from holdfast.testing.rawhttp import RawClient, echo, run, serving, until

MIB = 1024 * 1024

RENEWED_CERTIFICATE = """\
-----BEGIN CERTIFICATE-----
MIIBlTCCATugAwIBAgIUaDPbQX8PdMFwWp9Li5G3KbDUHB0wCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTI2MTEyNDAwMDM0M1oYDzIxMjYxMDMx
MDAwMzQzWjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAAR5Owh/nkPViqXOuBl2mAx08ESNDswp+YMBxtqmDqXKXGRWmGe7P5gA
FP6tVbGmOELDbBsYV4ILqlwiiQ2H/jL8o2kwZzAdBgNVHQ4EFgQU9uatKMeZgS2G
m6ZqqTXePraU4uowHwYDVR0jBBgwFoAU9uatKMeZgS2Gm6ZqqTXePraU4uowFAYD
VR0RBA0wC4IJbG9jYWxob3N0MA8GA1UdEwEB/wQFMAMBAf8wCgYIKoZIzj0EAwID
SAAwRQIhAIHMgaB6x8gRpUpAWi325wPimNiqKlh1g3XltQRvTAyTAiBXmy9EWHUK
ElxnEwefE1GuFmNY+nuiSIHGKkBcsnHgdQ==
-----END CERTIFICATE-----
"""

RENEWED_KEY = """\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg1Y9lTM/5t99NR/BI
KZADydantQDtroZKe/Skm3hCaVahRANCAAR5Owh/nkPViqXOuBl2mAx08ESNDswp
+YMBxtqmDqXKXGRWmGe7P5gAFP6tVbGmOELDbBsYV4ILqlwiiQ2H/jL8
-----END PRIVATE KEY-----
"""


def client_context(trusted: str = CERTIFICATE) -> ssl.SSLContext:
    return ssl.create_default_context(cadata=trusted)


def replace(files: tuple[str, str], certificate: str, key: str) -> None:
    for path, text in zip(files, (certificate, key), strict=True):
        Path(path).write_text(text)


def test_requests_and_bodies_pass_over_tls(tmp_path: Path) -> None:
    async def main() -> None:
        async with serving(echo, tls=Tls(*write(tmp_path)).context) as (_, port):
            client = await RawClient.connect(port, client_context())
            body = bytes(range(256)) * 8192
            answer = await client.ask(b"PUT / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            assert answer.body == body
            answer = await client.ask(b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n")
            assert answer.headers["connection"] == "close"
            assert await client.rest() == b""

    run(main())


def test_a_large_unread_body_does_not_cost_a_tls_client_its_answer(tmp_path: Path) -> None:
    async def ignore(exchange: Exchange) -> None:
        exchange.reply(403, [], b"denied")

    async def main() -> None:
        async with serving(ignore, tls=Tls(*write(tmp_path)).context) as (_, port):
            client = await RawClient.connect(port, client_context())
            await client.send(b"PUT / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % (8 * MIB) + bytes(8 * MIB))
            assert (await client.answer()).body == b"denied"

    run(main())


def test_a_streamed_reply_arrives_whole_over_tls(tmp_path: Path) -> None:
    async def stream(exchange: Exchange) -> None:
        exchange.start(200, [], 20 * MIB)
        for number in range(20):
            await exchange.send(bytes([number]) * MIB)

    async def main() -> None:
        async with serving(stream, tls=Tls(*write(tmp_path)).context) as (_, port):
            client = await RawClient.connect(port, client_context())
            answer = await client.ask(b"GET / HTTP/1.1\r\n\r\n")
            assert answer.body == b"".join(bytes([number]) * MIB for number in range(20))

    run(main())


def test_a_client_that_speaks_no_tls_is_dropped_and_others_are_served(tmp_path: Path) -> None:
    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda *_: None)
        async with serving(echo, tls=Tls(*write(tmp_path)).context) as (server, port):
            plain = await RawClient.connect(port)
            await plain.send(b"GET / HTTP/1.1\r\n\r\n")
            assert not (await plain.rest()).startswith(b"HTTP")
            client = await RawClient.connect(port, client_context())
            assert (await client.ask(b"GET / HTTP/1.1\r\n\r\n")).status == 200
            client.leave()
            await until(lambda: server.connections == 0)

    run(main())


def test_a_renewed_certificate_is_used_and_a_broken_one_is_not(tmp_path: Path) -> None:
    async def main() -> None:
        files = write(tmp_path)
        tls = Tls(*files)
        async with serving(echo, tls=tls.context) as (_, port):
            replace(files, RENEWED_CERTIFICATE, "nothing")
            with pytest.raises(ConfigError, match="cannot be used"):
                tls.reload()
            client = await RawClient.connect(port, client_context())
            assert (await client.ask(b"GET / HTTP/1.1\r\n\r\n")).status == 200
            replace(files, RENEWED_CERTIFICATE, RENEWED_KEY)
            tls.reload()
            client = await RawClient.connect(port, client_context(RENEWED_CERTIFICATE))
            assert (await client.ask(b"GET / HTTP/1.1\r\n\r\n")).status == 200

    run(main())


def test_files_that_are_no_certificate_are_the_operators_to_mend(tmp_path: Path) -> None:
    certificate, _ = write(tmp_path)
    for pair in ((certificate, certificate), (str(tmp_path / "absent"), certificate)):
        with pytest.raises(ConfigError, match=r"server\.tls"):
            Tls(*pair)
