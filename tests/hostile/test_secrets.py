"""No secret is ever said: not in a log, an answer, a metric, a status, a file or an error, whatever happens.

A gateway runs as an operator runs it, with secrets of every kind that can be recognised anywhere, between clients that do everything
wrong and providers that repeat what they are sent. Everything that it says is collected and searched, in every form a secret may take.
"""

import asyncio
import base64
import http.client
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest
from typer.testing import CliRunner

import holdfast
from holdfast.cli.main import app
from holdfast.config.load import load, read
from holdfast.config.notation import Secret
from holdfast.errors import GridError
from holdfast.events import Event, Teller
from holdfast.grids.s3.credentials import Keys
from holdfast.model import Place, Span
from holdfast.signing import presign, sign_headers
from holdfast.testing import certificates
from holdfast.testing.contract.check import label, put
from holdfast.testing.scene import Scene, play, signed
from tests.hostile.echo import WAYS, Echo, reply_to
from tests.providers import s3_grid
from tests.unit.scripted import Reaction, Seen, serving

ACCESS = "AKIDROOT"
ROOT = "S3CR3T-root/of+all=evil"
GRID = "S3CR3T-grid/key+in=a&variable"
LITERAL = "S3CR3T-literal/key+in=the file"
FILED = "S3CR3T-filed/key+in=another"
TOKEN = "S3CR3T-token/" + "of+a=session&" * 12
ACCOUNT = base64.b64encode(b"S3CR3T-account-key" * 4).decode()
SAS = "sv=2022-11-02&ss=b&srt=co&sp=rwdl&sig=S3CR3T-sas%2Fsignature%3D"
PASSWORD = "S3CR3T-password"
SECRETS = {
    "root key": ROOT,
    "grid's key in a variable": GRID,
    "grid's key in the configuration": LITERAL,
    "grid's key in a file": FILED,
    "session token": TOKEN,
    "account key": ACCOUNT,
    "signature of a token": "S3CR3T-sas",
    "password in an address": PASSWORD,
    "TLS key": certificates.KEY.splitlines()[1],
}
HOST = "gateway.example"
_READY_S, _TRIES = 0.05, 600
MET = [way for way in WAYS if way != "late"]
"""What the node meets at its start, where an error in the body of a 200 would be somebody else's identity."""


def forms(secret: str) -> set[str]:
    """Every form in which a secret may be written."""
    data = secret.encode()
    return {
        secret, quote(secret), quote(secret, safe=""), quote_plus(secret), json.dumps(secret)[1:-1], data.hex(),
        base64.b64encode(data).decode().rstrip("="), base64.urlsafe_b64encode(data).decode().rstrip("="), secret.replace("&", "&amp;"),
    }  # fmt: skip


def found_in(text: bytes, secret: str) -> list[str]:
    return [form for form in forms(secret) if form.encode() in text]


# --- the node ---


class Node:
    """A gateway with grids at providers that repeat everything, and one that works."""

    def __init__(self, folder: Path, echo: Echo, form: str) -> None:
        self.folder = folder
        self.said: dict[str, bytes] = {}
        """What it said, by where."""
        self.proofs: list[str] = []
        """Signatures of requests that clients sent."""
        self.port, self.admin = _free_port(), _free_port()
        (folder / "filed").write_text(FILED + "\n")
        cert, key = certificates.write(folder)
        sources = (("env:GRID_KEY", "env:GRID_TOKEN"), (LITERAL, TOKEN), (f"file:{folder / 'filed'}", "env:GRID_TOKEN"))
        grids = [
            f'name = "{way}"\nurl = "s3://{way}/dir"\nendpoint = "http://127.0.0.1:{echo.port}"\nprovider = "other"\n'
            f'access_key = "AKIDGRID"\nsecret_key = "{sources[number % 3][0]}"\nsession_token = "{sources[number % 3][1]}"\n'
            for number, way in enumerate(MET)
        ]
        grids += [
            f'name = "account"\nurl = "azure://denied"\nendpoint = "http://127.0.0.1:{echo.port}"\naccount = "someaccount"\n'
            'account_key = "env:ACCOUNT_KEY"\n',
            f'name = "sas"\nurl = "azure://denied"\nendpoint = "http://127.0.0.1:{echo.port}"\naccount = "otheraccount"\n'
            f'sas_token = "{SAS}"\n',
            f'name = "disk"\nurl = "folder:{folder / "disk"}"\n',
        ]
        self.config = folder / "holdfast.toml"
        self.config.write_text(
            f'data = "{folder / "data"}"\n[log]\nlevel = "debug"\nformat = "{form}"\nrequests = true\n'
            f'[server]\nlisten = "127.0.0.1:{self.port}"\nadmin = "127.0.0.1:{self.admin}"\n'
            f'tls_cert = "{cert}"\ntls_key = "{key}"\n' + "".join(f"[[grid]]\n{grid}" for grid in grids)
        )
        self.environ = {
            "PATH": os.environ.get("PATH", os.defpath), "HOME": str(folder), "COLUMNS": "400", "GRID_KEY": GRID, "GRID_TOKEN": TOKEN,
            "ACCOUNT_KEY": ACCOUNT, "HOLDFAST_ACCESS_KEY": ACCESS, "HOLDFAST_SECRET_KEY": ROOT,
            "PYTHONPATH": str(Path(holdfast.__file__).parents[1]),
        }  # fmt: skip
        with (folder / "stdout").open("wb") as out, (folder / "stderr").open("wb") as err:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "holdfast", "serve", "--config", str(self.config)],
                env=self.environ,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
            )
        self._until_ready()

    def _until_ready(self) -> None:
        for _ in range(_TRIES):
            assert self._process.poll() is None, (self.folder / "stderr").read_text()
            try:
                if self.page("/readyz")[0] == 200:
                    return
            except OSError:
                pass
            time.sleep(_READY_S)
        raise AssertionError("it never became ready")

    def page(self, path: str, method: str = "GET") -> tuple[int, bytes]:
        """A page of the admin listener, with its headers."""
        connection = http.client.HTTPConnection("127.0.0.1", self.admin, timeout=10)
        try:
            connection.request(method, path)
            reply = connection.getresponse()
            return reply.status, str(reply.getheaders()).encode() + reply.read()
        finally:
            connection.close()

    def send(self, data: bytes, *, patience_s: float = 10) -> bytes:
        """What it answers to these bytes: one reply, or what there was of it."""
        context = certificates_context(self.folder)
        with (
            socket.create_connection(("127.0.0.1", self.port), timeout=patience_s) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as client,
        ):
            client.sendall(data)
            answer = b""
            try:
                while not _whole(answer) and (piece := client.recv(65536)):
                    answer += piece
            except OSError:
                pass
        self.said["replies"] = self.said.get("replies", b"") + answer
        return answer

    def command(self, *words: str) -> int:
        done = subprocess.run(
            [sys.executable, "-m", "holdfast", *words],
            env=self.environ,
            capture_output=True,
            timeout=60,
            cwd=self.folder,
            check=False,
        )
        name = " ".join(word for word in words if "/" not in word and ":" not in word)
        self.said[name] = self.said.get(name, b"") + done.stdout + done.stderr
        return done.returncode

    def signed(self, method: str, path: str, body: bytes = b"", *, secret: str = ROOT, **more: str) -> bytes:
        now_ms = int(time.time() * 1000)
        headers = {"host": HOST, **{name.replace("_", "-"): value for name, value in more.items()}}
        sent = sign_headers(
            method, path, (), headers, payload="UNSIGNED-PAYLOAD", access_key=ACCESS, secret_key=secret, region="us-east-1", now_ms=now_ms
        )  # fmt: skip
        self.proofs.append(sent["authorization"].rpartition("Signature=")[2])
        lines = "".join(f"{name}: {value}\r\n" for name, value in sent.items())
        return (
            f"{method} {path} HTTP/1.1\r\n{lines}content-length: {len(body)}\r\nconnection: close\r\n\r\n".encode()
            + body
        )

    def presigned(self, path: str, *, expires_s: int = 60, age_s: int = 0, secret: str = ROOT) -> str:
        now_ms = (int(time.time()) - age_s) * 1000
        query = presign(
            "GET", path, (), {"host": HOST}, expires_s=expires_s, access_key=ACCESS, secret_key=secret, region="us-east-1", now_ms=now_ms
        )  # fmt: skip
        self.proofs.append(query.rpartition("X-Amz-Signature=")[2])
        return f"{path}?{query}"

    def get(self, target: str) -> bytes:
        return self.send(f"GET {target} HTTP/1.1\r\nhost: {HOST}\r\nconnection: close\r\n\r\n".encode())

    def clients(self) -> None:
        """What clients do, right and wrong."""
        assert b" 200 " in self.send(self.signed("PUT", "/bucket"))
        assert b" 200 " in self.send(self.signed("PUT", "/bucket/key", b"bytes"))
        assert self.send(self.signed("GET", "/bucket/key")).endswith(b"bytes")
        assert self.get(self.presigned("/bucket/key")).endswith(b"bytes")
        assert b"Request has expired" in self.get(self.presigned("/bucket/key", age_s=120))
        assert b"SignatureDoesNotMatch" in self.get(self.presigned("/bucket/key", secret="wrong"))
        assert b"SignatureDoesNotMatch" in self.send(self.signed("GET", "/bucket/key", secret="wrong"))
        assert b"NoSuchKey" in self.get(self.presigned("/bucket/absent"))
        self.get(self.presigned("/bucket/key").replace("?", "&"))
        self.get(self.presigned("/bucket/key").replace("?", "%3F"))
        self.get(f"https://{ACCESS}:{PASSWORD}@{HOST}{self.presigned('/bucket/key')}")
        self.get("ftp:" + self.presigned("/bucket/key"))
        assert b"InvalidToken" in self.send(self.signed("GET", "/bucket/key", x_amz_security_token=TOKEN))
        honest = self.signed("GET", "/bucket/key")
        for spoilt in (
            honest.replace(b"connection: close", b"x: \0"),
            honest.replace(b"connection: close", b"x" * 40000 + b": 1"),
            honest.replace(b" HTTP/1.1", b" HTTP/9.9"),
            honest.replace(b"authorization: ", b"authorization : "),
            honest.replace(b"AWS4-HMAC-SHA256 ", b"AWS4-HMAC-SHA256\t"),
            honest.replace(b"Signature=", b"Signatur="),
            honest.replace(b"SignedHeaders=", b"Signature=x, SignedHeaders="),
            honest.replace(b"us-east-1", b"eu-west-1"),
            honest.replace(b"authorization: ", b"authorization: Basic " + base64.b64encode(PASSWORD.encode()) + b" "),
            honest.replace(b"authorization: AWS4-HMAC-SHA256 ", b"authorization: AWS " + ACCESS.encode() + b":"),
            honest.replace(b"GET ", b"FETCH "),
        ):
            self.send(spoilt)
        self.send(honest[:-30], patience_s=0.2)
        self.send(self.signed("PUT", "/bucket/cut", b"bytes")[:-2], patience_s=0.2)
        self.send(self.signed("POST", "/bucket", b"<Delete>"))

    def operators(self) -> None:
        """What operators look at, and what they get wrong."""
        for path in ("/", "/metrics", "/status", "/healthz", "/readyz", "/nothing", f"/{TOKEN}"[:20]):
            self.said["admin"] = self.said.get("admin", b"") + self.page(path)[1]
        self.page("/grids/denied?use=nonsense", "PUT")
        (self.folder / "localhost.key").write_text(
            certificates.KEY.replace("PRIVATE KEY-----\n", "PRIVATE KEY-----\nx", 1)
        )
        self._process.send_signal(signal.SIGHUP)
        for _ in range(_TRIES):
            if b"server.tls" in (self.folder / "stderr").read_bytes():
                return
            time.sleep(_READY_S)
        raise AssertionError("it never told of the broken key")

    def commands(self) -> None:
        """What operators type."""
        admin = ("--admin", f"127.0.0.1:{self.admin}")
        assert self.command("status", *admin) == 0
        assert self.command("status", "--json", *admin) == 0
        assert self.command("grid", "denied", "out", *admin) == 0
        broken = self.folder / "broken.toml"
        broken.write_text(
            self.config.read_text().replace('endpoint = "http://', f'endpoint = "http://AKID:{PASSWORD}@')
        )
        assert self.command("serve", "--config", str(broken)) == 2

    def stop(self) -> None:
        self._process.send_signal(signal.SIGTERM)
        assert self._process.wait(30) == 0
        for name in ("stdout", "stderr"):
            self.said[name] = (self.folder / name).read_bytes()
        for path in sorted((self.folder / "data").rglob("*")):
            if path.is_file():
                self.said[f"file {path.relative_to(self.folder)}"] = path.read_bytes()

    def kill(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()


def _whole(answer: bytes) -> bool:
    """Whether a reply is there to its end."""
    head, blank, body = answer.partition(b"\r\n\r\n")
    size = re.search(rb"(?i)content-length: ([0-9]+)", head)
    return bool(blank) and size is not None and len(body) >= int(size[1])


def certificates_context(folder: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(folder / "localhost.pem"))


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@pytest.fixture(scope="module", params=["text", "json"])
def node(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Node, Echo]]:
    """A node that has lived, and the provider it met."""
    echo = Echo()
    made = Node(tmp_path_factory.mktemp("node"), echo, request.param)
    try:
        made.clients()
        made.operators()
        if request.param == "text":
            made.commands()
        made.stop()
        yield made, echo
    finally:
        made.kill()
        echo.close()


def test_the_node_met_what_it_should(node: tuple[Node, Echo]) -> None:
    it, echo = node
    log = it.said["stderr"].decode()
    assert TOKEN.encode() in echo.heard, "the provider was sent the token"
    assert b"SharedKey someaccount:" in echo.heard and b"S3CR3T-sas" in echo.heard, "and those of the other kinds"
    for way in (*MET, "account", "sas"):
        assert f'"grid": "{way}"' in log or f"grid={way}" in log, f"{way}: nothing was logged"
    assert "***" in log, "nothing was masked"
    if "status --admin" in it.said:
        assert len(it.said["status --admin"]) > 500 and len(it.said["status --json --admin"]) > 1000
    else:
        assert log.startswith(("{", "warning: ")), "its log is the one in JSON"
    assert ACCESS in log and "SignatureDoesNotMatch" in log


@pytest.mark.parametrize("name", SECRETS)
def test_no_secret_is_said(node: tuple[Node, Echo], name: str) -> None:
    said = node[0].said
    assert {where: told for where, text in said.items() if (told := found_in(text, SECRETS[name]))} == {}


def test_no_signature_of_a_request_is_told_to_others(node: tuple[Node, Echo]) -> None:
    it, echo = node
    heard = [part[:64].decode() for part in echo.heard.split(b"Signature=")[1:]]
    shared = [part.split(b"\r\n")[0].decode() for part in echo.heard.split(b"SharedKey someaccount:")[1:]]
    assert len(it.proofs) > 10 and len(heard) > 10 and shared
    for where, text in it.said.items():
        for proof in {*heard, *shared, *(it.proofs if where != "replies" else ())}:
            assert proof.encode() not in text, where


# --- in this process ---

SPOILT = {
    "nothing": ("", ""),
    "unknown names": ("[log]", 'secret_kye = "x"\n[log]'),
    "a number": ("secret_key = ", "secret_key = 1 # "),
    "an open quote": (f'secret_key = "{LITERAL}"', f'secret_key = "{LITERAL}'),
    "a list": (f'secret_key = "{LITERAL}"', f'secret_key = ["{LITERAL}"]'),
    "a second line": (f'secret_key = "{LITERAL}"', f'secret_key = "{LITERAL}\\n"'),
    "no quotes": (f'secret_key = "{LITERAL}"', f"secret_key = {LITERAL}"),
    "as a name": (f'secret_key = "{LITERAL}"', f'"secret_key" = {{ "a" = "{LITERAL}" }}'),
    "a variable that is not there": ("env:GRID_KEY", "env:GRID_KEY_THAT_IS_NOT_SET"),
    "a file that is not there": ("/filed", "/not-filed"),
    "no base64": ('account_key = "env:ACCOUNT_KEY"', f'account_key = "not base64 {PASSWORD}"'),
    "keys in the address": ('url = "s3://denied/dir"', f'url = "s3://AKID:{PASSWORD}@denied/dir"'),
    "keys in the endpoint": ('endpoint = "http://', f'endpoint = "http://AKID:{PASSWORD}@'),
    "password of a proxy": (
        'provider = "other"',
        f'provider = "other"\nproxy = "http://user:{PASSWORD}@proxy.example:3128"',
    ),
    "two kinds of keys": (f'sas_token = "{SAS}"', f'sas_token = "{SAS}"\naccount_key = "{ACCOUNT}"'),
    "keys where they mean nothing": ('url = "folder:', f'secret_key = "{LITERAL}"\nurl = "folder:'),
}


@pytest.mark.parametrize("what", SPOILT)
def test_a_look_at_the_configuration_tells_no_secret(node: tuple[Node, Echo], what: str) -> None:
    it = node[0]
    old, new = SPOILT[what]
    text = it.config.read_text()
    assert old in text
    file = it.folder / "spoilt.toml"
    file.write_text(text.replace(old, new) if old else text)
    for words in ((), ("--json",)):
        result = CliRunner().invoke(app, ["config", "check", *words, "--config", str(file)], env=it.environ)
        assert (result.exit_code == 0) == (what == "nothing"), result.output
        assert isinstance(result.exception, SystemExit | None)
        told = f"{result.output} {result.exception!r}".encode()
        assert {name: found for name, secret in SECRETS.items() if (found := found_in(told, secret))} == {}


class _TokenKeys:
    """Keys of a role."""

    async def keys(self) -> Keys:
        return Keys("AKIDGRID", Secret(GRID), Secret(TOKEN))

    def refused(self) -> None:
        """They stay as they are."""


PLACE = Place("photos", "cat.jpg")


@pytest.mark.parametrize("way", WAYS)
def test_a_provider_that_repeats_what_it_was_sent_is_masked_in_every_operation(way: str) -> None:
    told: list[Event] = []
    errors: list[GridError] = []
    proofs: list[str] = []

    def echoed(seen: Seen) -> Reaction:
        proofs.append(seen.headers["authorization"].rpartition("Signature=")[2])
        assert seen.headers["x-amz-security-token"] == TOKEN
        head = f"{seen.method} {seen.target} HTTP/1.1\r\n" + "\r\n".join(f"{k}: {v}" for k, v in seen.headers.items())
        return Reaction(reply_to(head.encode(), way), "close" if way in ("nohttp", "cut") else "keep")

    async def main() -> None:
        teller = Teller()
        teller.subscribe(told.append)
        async with serving() as script:
            grid = s3_grid("s3://bucket", script.origin, keys=_TokenKeys(), teller=teller)
            try:
                await grid.attach(await grid.attach(""))
                for ask in (
                    lambda: grid.get(PLACE, span=Span(0, 4), if_match="e"),
                    lambda: grid.head(PLACE),
                    lambda: grid.list("photos"),
                    lambda: grid.delete(PLACE),
                    lambda: put(grid, PLACE.bucket, PLACE.key, b"meow"),
                    lambda: grid.copy(PLACE, Place("photos", "dog.jpg"), if_match="e", label=label()),
                ):
                    script.reactions[:] = [echoed] * 4
                    try:
                        await ask()
                    except GridError as error:
                        errors.append(error)
            finally:
                await grid.close()

    asyncio.run(main())
    assert len(proofs) >= 6 and len(errors) >= (2 if way == "late" else 6)
    text = " ".join([*map(str, errors), *(repr(vars(error)) for error in errors), *map(repr, told)]).encode()
    assert not found_in(text, TOKEN) and not found_in(text, GRID)
    assert not [proof for proof in proofs if proof.encode() in text]


def test_the_trace_of_a_defect_is_for_the_log_and_holds_no_secret() -> None:
    async def broken() -> None:
        raise RuntimeError("nobody foresaw this")

    async def scene(it: Scene) -> None:
        it.store.hook = broken
        request = signed("PUT", "/bucket/key", b"abc", headers={"x-amz-meta-a": "b"})
        proof = request.partition(b"Signature=")[2][:64].decode()
        answer = await it.client.ask(request)
        assert answer.status == 500
        assert b"foresaw" not in answer.body and b".py" not in answer.body
        assert "Traceback" in it.ended.detail and "foresaw" in it.ended.detail
        assert proof not in repr(it.ended)

    play(scene)


def test_settings_are_shown_without_their_secrets(tmp_path: Path) -> None:
    file = tmp_path / "holdfast.toml"
    file.write_text(
        f'[[grid]]\nname = "a"\nurl = "s3://b"\nendpoint = "https://s3.example.net"\naccess_key = "A"\nsecret_key = "{LITERAL}"\n'
        f'session_token = "{TOKEN}"\n[[grid]]\nname = "z"\nurl = "azure://b"\naccount = "c"\nsas_token = "{SAS}"\n'
    )
    settings, reading = load(file, {}), read(file, {})
    assert settings.grid[0].secret_key.reveal() == LITERAL
    shown = f"{settings} {settings!r} {reading!r} {settings.grid[0]}".encode()
    assert not any(found_in(shown, secret) for secret in SECRETS.values())


def test_a_generated_key_is_only_in_its_file_and_told_once(tmp_path: Path) -> None:
    environ = {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(tmp_path),
        "PYTHONPATH": str(Path(holdfast.__file__).parents[1]),
    }
    port, admin = _free_port(), _free_port()
    command = [
        sys.executable,
        "-m",
        "holdfast",
        "serve",
        "--data",
        str(tmp_path / "data"),
        "--listen",
        f"127.0.0.1:{port}",
    ]
    outputs = []
    for _ in range(2):
        with subprocess.Popen(
            [*command, "--admin", f"127.0.0.1:{admin}"], env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as child:
            assert child.stdout is not None and child.stderr is not None
            told = b""
            while b"Ctrl-C stops it" not in told:
                line = child.stdout.readline()
                assert line, child.stderr.read()
                told += line
            child.send_signal(signal.SIGTERM)
            outputs.append((told + child.stdout.read(), child.stderr.read()))
    holding = [path for path in (tmp_path / "data").rglob("*") if path.is_file() and b"secret_key" in path.read_bytes()]
    assert len(holding) == 1
    assert holding[0].stat().st_mode & 0o777 == 0o600
    secret = holding[0].read_text().partition('secret_key = "')[2].partition('"')[0]
    assert len(secret) >= 40
    assert secret.encode() in outputs[0][0] and secret.encode() not in outputs[1][0]
    assert not found_in(outputs[0][1] + outputs[1][1], secret)
    for path in (tmp_path / "data").rglob("*"):
        assert path == holding[0] or not path.is_file() or not found_in(path.read_bytes(), secret), path
        assert not path.stat().st_mode & 0o077, f"{path} can be read by others"
