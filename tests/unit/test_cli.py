"""The operator's commands: what they print, what they refuse, and their exit codes. Serving ones are real processes."""

import json
import os
import re
import select
import signal
import socket
import stat
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from holdfast import __version__
from holdfast.cli.main import app
from holdfast.cli.serve import announcement
from holdfast.cli.status import render
from holdfast.cli.telling import bytes_text, time_text
from holdfast.config.credentials import Credentials
from holdfast.config.load import load
from holdfast.config.notation import Secret
from holdfast.limits import GIB
from holdfast.serve.standings import FirstBlock
from holdfast.serve.status import (
    CacheStatus,
    Endpoint,
    GridStatus,
    PolicyStatus,
    Status,
    StuckStatus,
    WorkerStatus,
)
from tests.outages.gateway import until
from tests.providers import ACCESS_KEY, SECRET_KEY, HoldfastProvider

PROGRAM = str(Path(sys.executable).with_name("holdfast"))


@pytest.fixture(autouse=True)
def _own_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither this user's settings nor this directory's data reach a test."""
    for name in list(os.environ):
        if name.startswith("HOLDFAST_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)


def call(*arguments: str) -> Result:
    """Run a command in this process."""
    return CliRunner().invoke(app, list(arguments))


def execute(*arguments: str, environ: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command as an operator does."""
    return subprocess.run(
        [PROGRAM, *arguments],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
        env={**os.environ, **(environ or {})},
    )


# --- help and version ---


@pytest.mark.parametrize(
    "command", [[], ["serve"], ["status"], ["certify"], ["unseal"], ["config"], ["config", "check"]]
)
def test_help_teaches(command: list[str]) -> None:
    told = call(*command, "--help")
    assert told.exit_code == 0
    if command and command != ["config"]:
        assert "Examples" in told.output
        assert "holdfast " + command[0] in told.output


def test_the_version_is_printed() -> None:
    assert call("version").output == f"holdfast {__version__}\n"
    assert json.loads(call("version", "--json").output) == {"version": __version__}


# --- config check ---


def test_a_configuration_that_can_be_served_is_shown_with_its_meaning(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text('[server]\nworkers = 2\n[policy.vital]\nack = 2\noutage = "refuse"\n')
    told = call("config", "check", "--config", "c.toml")
    assert told.exit_code == 0
    for part in ("server.workers", "c.toml", "vital", "a and b hold it", "committed and synced on this machine"):
        assert part in told.output
    assert not (tmp_path / "data").exists()


def test_a_checked_configuration_can_be_read_by_machines(tmp_path: Path) -> None:
    told = json.loads(call("config", "check", "--json", "--data", "elsewhere").output)
    assert told["valid"] is True
    assert told["settings"]["data"] == str(tmp_path / "elsewhere")
    assert told["origins"] == {"data": "--data"}
    (policy,) = told["policies"]
    assert (policy["name"], policy["ack"], policy["outage"]) == ("standard", 0, "accept")
    assert "acknowledged" in policy["meaning"]


def test_a_wrong_configuration_is_refused_with_every_mistake(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text('[server]\nlisten_on = "x"\n[spool]\nlimit = "much"\n')
    told = execute("config", "check", "--config", "c.toml")
    assert told.returncode == 1
    assert told.stdout == ""
    assert "error: c.toml [server] listen_on: there is no such setting.\n       Did you mean listen?" in told.stderr
    assert "error: c.toml [spool] limit:" in told.stderr
    assert "Traceback" not in told.stderr


def test_mistakes_can_be_read_by_machines(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text('[spool]\nlimit = "much"\n')
    told = call("config", "check", "--config", "c.toml", "--json")
    assert told.exit_code == 1
    (problem,) = json.loads(told.output)["problems"]
    assert problem["where"] == "c.toml [spool] limit"


def test_a_mistake_stops_serve_with_two_and_no_traceback() -> None:
    told = execute("serve", "--listen", "9000")
    assert told.returncode == 2
    assert told.stderr.startswith('error: --listen: "9000" is not an address')
    assert "Traceback" not in told.stderr


def test_a_key_that_is_none_stops_serve_with_two_and_no_traceback(tmp_path: Path) -> None:
    environ = {"HOLDFAST_SEALING_KMS_KEYS": "env:KEYS", "KEYS": "one:two"}
    told = execute(
        "serve", "--data", str(tmp_path / "data"), "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", environ=environ
    )
    assert told.returncode == 2
    assert "error: sealing.kms_keys: has a line that is no key." in told.stderr
    assert "Traceback" not in told.stderr


# --- what serve announces ---


def announced(tmp_path: Path, *, origin: str, generated: bool, terminal: bool) -> str:
    settings = load(None, {"HOLDFAST_DATA": str(tmp_path)})
    credentials = Credentials("HFACCESS", Secret("the-very-secret"), origin, generated)
    endpoint = Endpoint("http://127.0.0.1:9000", "http://127.0.0.1:9001", 1)
    return announcement(settings, credentials, endpoint, show_secret=terminal)


def test_a_new_key_pair_is_announced_with_examples_to_paste(tmp_path: Path) -> None:
    told = announced(tmp_path, origin="credentials.toml", generated=True, terminal=False)
    for part in (
        "http://127.0.0.1:9000",
        "HFACCESS",
        "export AWS_SECRET_ACCESS_KEY=the-very-secret",
        "aws --endpoint-url http://127.0.0.1:9000 s3 ls",
        "boto3.client(",
        "kept in credentials.toml",
    ):
        assert part in told


def test_the_boto3_example_is_python_as_it_stands(tmp_path: Path) -> None:
    told = announced(tmp_path, origin="credentials.toml", generated=True, terminal=False)
    _, _, example = told.partition("or with boto3:\n\n")
    compile(example.partition("\n\n")[0], "example", "exec")


def test_a_kept_secret_goes_to_a_terminal_only(tmp_path: Path) -> None:
    assert "the-very-secret" in announced(tmp_path, origin="credentials.toml", generated=False, terminal=True)
    assert "the-very-secret" not in announced(tmp_path, origin="credentials.toml", generated=False, terminal=False)


def test_a_secret_of_the_environment_is_never_printed(tmp_path: Path) -> None:
    assert "the-very-secret" not in announced(tmp_path, origin="environment", generated=False, terminal=True)


# --- serve and status, as processes ---


class Served:
    """A running `holdfast serve`."""

    def __init__(self, data: Path, *flags: str) -> None:
        command = [PROGRAM, "serve", "--data", str(data), "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", *flags]
        self.data = data
        self.log = data.with_name(data.name + ".log")
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, stdin=subprocess.DEVNULL)
        self.said = self._first_words()
        self.endpoint: dict[str, Any] = json.loads((data / "run" / "endpoint.json").read_bytes())

    def _first_words(self) -> str:
        assert self.process.stdout is not None
        said = b""
        while b"Ctrl-C" not in said:
            ready, _, _ = select.select([self.process.stdout], [], [], 60)
            piece = os.read(self.process.stdout.fileno(), 65536) if ready else b""
            assert piece, f"it did not start: {said!r} {self.log.read_text()}"
            said += piece
        return said.decode()

    def ask(self, page: str) -> Any:
        with urllib.request.urlopen(self.endpoint["admin"] + page, timeout=20) as reply:
            return json.load(reply)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        if self.process.poll() is None:
            self.process.send_signal(number)
        code = self.process.wait(60)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    node = Served(tmp_path_factory.mktemp("served") / "data", "--workers", "2")
    try:
        yield node
    finally:
        node.stop(signal.SIGKILL)


def test_serve_makes_everything_it_needs_and_says_how_to_reach_it(served: Served) -> None:
    assert served.endpoint["url"] in served.said
    assert "kept in" in served.said
    assert stat.S_IMODE((served.data / "credentials.toml").stat().st_mode) == 0o600
    assert {"index.db", "spool", "grids", "run"} <= {entry.name for entry in served.data.iterdir()}
    assert served.ask("/readyz") == {"ready": True, "reasons": []}


def test_the_endpoint_answers_unsigned_requests_with_s3s_error(served: Served) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(served.endpoint["url"] + "/", timeout=20)
    assert refused.value.code == 403
    refused.value.close()


def test_status_finds_the_node_by_its_data_directory(served: Served) -> None:
    told = execute("status", "--data", str(served.data))
    assert told.returncode == 0
    lines = told.stdout.splitlines()
    assert re.search(r"Grid +State +Held +Owed +Oldest +ETA", told.stdout)
    assert [line.split()[:2] for line in lines if line.startswith(("a ", "b "))] == [["a", "up"], ["b", "up"]]
    assert "64.0 GiB" in told.stdout


def test_status_can_be_read_by_machines(served: Served) -> None:
    told = json.loads(execute("status", "--data", str(served.data), "--json").stdout)
    assert [grid["state"] for grid in told["grids"]] == ["up", "up"]
    assert told["draining"] is False


def test_status_asks_the_listener_that_it_is_given(served: Served) -> None:
    address = served.endpoint["admin"].removeprefix("http://")
    assert execute("status", "--admin", address, "--json").returncode == 0


def test_grid_takes_a_grid_out_of_use_in_every_worker_and_back(served: Served) -> None:
    def uses() -> list[str]:
        told = json.loads(execute("status", "--data", str(served.data), "--json").stdout)
        return [grid["use"] for grid in told["grids"]]

    told = execute("grid", "b", "out", "--data", str(served.data))
    assert told.returncode == 0
    assert "holdfast grid b auto" in told.stdout
    try:
        assert uses() == ["auto", "out"]
        assert "an operator took it out of use" in execute("status", "--data", str(served.data)).stdout
    finally:
        told = execute("grid", "b", "auto", "--data", str(served.data), "--json")
    assert json.loads(told.stdout) == {"grid": "b", "use": "auto"}
    assert uses() == ["auto", "auto"]


def test_grid_says_what_cannot_be(served: Served) -> None:
    told = execute("grid", "x", "out", "--data", str(served.data))
    assert (told.returncode, told.stdout) == (1, "")
    assert "there is no grid 'x'" in told.stderr
    assert "a, b" in told.stderr
    address = served.endpoint["admin"].removeprefix("http://")
    told = execute("grid", "x", "out", "--admin", address)
    assert told.returncode == 1
    assert "there is no grid x" in told.stderr
    assert execute("grid", "a", "away", "--data", str(served.data)).returncode == 2


def test_a_second_serve_on_the_same_data_is_refused(served: Served) -> None:
    told = execute("serve", "--data", str(served.data), "--listen", "127.0.0.1:0", "--admin", "")
    assert told.returncode == 2
    assert f"is being served by process {served.process.pid}" in told.stderr
    assert served.ask("/healthz") == {"alive": True}
    assert (served.data / "run" / "endpoint.json").exists()


def test_an_address_in_use_is_refused(served: Served, tmp_path: Path) -> None:
    address = served.endpoint["url"].removeprefix("http://")
    told = execute("serve", "--data", str(tmp_path / "other"), "--listen", address)
    assert told.returncode == 2
    assert "Address already in use" in told.stderr
    assert "Traceback" not in told.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_it_gracefully_and_the_next_start_has_the_same_keys(
    tmp_path: Path, number: signal.Signals
) -> None:
    first = Served(tmp_path / "data")
    assert first.stop(number) == 0
    assert "stopped" in first.log.read_text()
    assert not (tmp_path / "data" / "run" / "endpoint.json").exists()
    again = Served(tmp_path / "data")
    assert again.stop() == 0
    keys = [re.search(r"access key +(\w+)", said) for said in (first.said, again.said)]
    assert keys[0] is not None
    assert keys[1] is not None
    assert keys[0][1] == keys[1][1]
    assert "secret key" in first.said
    assert "secret key" not in again.said


def test_a_foreign_grid_stops_the_start_with_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "data/grids/a").mkdir(parents=True)
    (tmp_path / "data/grids/a/somebody.txt").write_text("mine")
    told = execute("serve", "--data", str(tmp_path / "data"), "--listen", "127.0.0.1:0", "--admin", "")
    assert told.returncode == 2
    assert "it is not empty and has no marker" in told.stderr
    assert "Traceback" not in told.stderr
    assert (tmp_path / "data/grids/a/somebody.txt").read_text() == "mine"


def test_status_of_a_node_that_is_not_there_says_what_to_do(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        told = execute("status", "--admin", f"127.0.0.1:{free.getsockname()[1]}")
    assert told.returncode == 1
    assert "no node answers" in told.stderr
    assert "holdfast serve" in told.stderr
    assert "Traceback" not in told.stderr


# --- what status shows ---


def grid(name: str, **fields: Any) -> GridStatus:
    known: dict[str, Any] = {
        "name": name,
        "url": f"folder:{name}",
        "state": "up",
        "reason": "",
        "since_ms": 0,
        "held": 12_345,
        "held_bytes": 3 * GIB,
        "owed": 0,
        "owed_bytes": 0,
        "oldest_debt_s": 0.0,
        "eta_s": 0.0,
        "paid_per_s": 0.0,
        "breakers": {},
    }
    return GridStatus(**(known | fields))


def shown(*grids: GridStatus, width: int = 200, cache: CacheStatus | None = None, suspects_itself: bool = False) -> str:
    from rich.console import Console

    status = Status(
        version="9.9",
        node="here",
        at_ms=0,
        uptime_s=3700.0,
        draining=False,
        objects=12_400,
        object_bytes=3 * GIB,
        tombstones=2,
        uploads=1,
        owed=55,
        inline_bytes=GIB,
        inline_limit=2 * GIB,
        spool_bytes=95,
        spool_limit=100,
        grids=grids,
        policies=(PolicyStatus("standard", ("a", "b"), 0, "accept"),),
        workers=(WorkerStatus(0, 17, 3, 2, 0.5),),
        cache=cache or CacheStatus(),
        suspects_itself=suspects_itself,
    )
    console = Console(width=width, highlight=False)
    with console.capture() as captured:
        console.print(render(status))
    return captured.get()


def test_status_shows_what_is_owed_since_when_and_until_when() -> None:
    told = shown(grid("a"), grid("b", owed=55, owed_bytes=GIB, oldest_debt_s=3725.0, eta_s=130.0))
    line = next(line for line in told.splitlines() if line.startswith("b "))
    for part in ("up", "12,345", "3.00 GiB", "55", "1.00 GiB", "1 h 2 min", "2 min 10 s"):
        assert part in line
    assert "95%" in told


def test_status_promises_no_eta_for_a_grid_that_is_down_or_stuck() -> None:
    down = grid(
        "a",
        state="down",
        reason="no such directory [x]",
        owed=5,
        eta_s=None,
        breakers={"write": "open"},
        shut={"write": "the disk is full"},
    )
    told = shown(down, grid("b", owed=5, eta_s=None))
    first, second = (line for line in told.splitlines() if line.startswith(("a ", "b ")))
    assert "after its return" in first
    assert "unknown" in second
    assert "a: no such directory [x]; breaker: write open (the disk is full)" in told.splitlines()


def test_status_names_debts_that_are_stuck_and_promises_nothing_for_them() -> None:
    debts = (StuckStatus("photos", "a/b.jpg", 9, 3725.0, 7, "b: no copy is known [x]"),)
    told = shown(
        grid("a", owed=55, eta_s=None, payable_eta_s=130.0, stuck=2, stuck_debts=debts),
        grid("b", owed=2, eta_s=None, payable_eta_s=0.0, stuck=2),
    )
    first, second = (line for line in told.splitlines() if line.startswith(("a  ", "b  ")))
    assert "2 min 10 s, then 2 stuck" in first
    assert second.rstrip().endswith("2 stuck")
    assert "s, then" not in second
    line = next(line for line in told.splitlines() if line.startswith("a: stuck"))
    for part in ("1 h 2 min", "7 attempts", "photos/a/b.jpg", "b: no copy is known [x]"):
        assert part in line


def test_what_is_wrong_with_a_grid_is_readable_on_a_narrow_terminal() -> None:
    path = "/srv/a-rather-long-name-of-a-directory/grids/a"
    told = shown(grid("a", state="down", reason=f"{path}: the directory is missing", owed=5, eta_s=None), width=80)
    assert f"a: {path}: the directory" in told


def test_status_shows_how_full_the_cache_is_and_what_it_is_good_for() -> None:
    cache = CacheStatus("on", "", 3 * GIB, 4 * GIB, 3000, hits=900, misses=100)
    line = next(line for line in shown(grid("a"), cache=cache).splitlines() if line.startswith("cache"))
    for part in ("3.00 GiB", "4.00 GiB", "75%", "90% of 1,000 blocks were hits"):
        assert part in line


def test_status_says_why_the_cache_is_off() -> None:
    told = shown(grid("a"), cache=CacheStatus("off", "/srv/cache [x]: Read-only file system"))
    line = next(line for line in told.splitlines() if line.startswith("cache"))
    assert "off: /srv/cache [x]: Read-only file system" in line


def test_status_says_why_a_grid_is_not_asked_first() -> None:
    told = shown(
        grid("a", use="out", state="down", reason="an operator took it out of use"),
        grid("b", use="in"),
        grid("c", demoted={"read": "slow"}, read_share=0.01),
        grid("d", read_share=0.05),
        grid("e"),
    ).splitlines()
    assert next(line for line in told if line.startswith("a ")).split()[1] == "out"
    assert "a: an operator took it out of use" in told
    assert "b: an operator keeps it in use" in told
    assert "c: asked after the others: read (slow)" in told
    assert "d: comes back: first in 5% of the reads" in told
    assert not any(line.startswith("e:") for line in told)


def test_status_shows_how_long_reads_take_and_what_was_done_about_it() -> None:
    first = {"64KiB": FirstBlock(0.0123, 0.2345), "1024KiB": FirstBlock(0.1, 0.9)}
    told = shown(grid("a", first_block=first, hedges=1234, failovers=7), grid("b"))
    line = next(line for line in told.splitlines() if "64KiB" in line and "1024" not in line)
    for part in ("a", "12.3 ms", "234 ms", "1,234", "7"):
        assert part in line
    assert "900 ms" in told
    assert "Failed over" not in shown(grid("b"))


def test_status_says_when_it_may_be_this_node() -> None:
    assert "is it this node" in shown(grid("a"), suspects_itself=True)


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (999, "999 B"), (1024, "1.00 KiB"), (123 * 1024**3, "123 GiB"), (5 * 1024**5, "5120 TiB")],
)
def test_sizes_have_three_digits(size: int, text: str) -> None:
    assert bytes_text(size) == text


@pytest.mark.parametrize(
    ("delay_s", "text"),
    [(0.04, "0.0 s"), (9.94, "9.9 s"), (59.0, "59 s"), (61, "1 min 1 s"), (3600, "1 h"), (90_061, "1 d 1 h")],
)
def test_times_have_two_units(delay_s: float, text: str) -> None:
    assert time_text(delay_s) == text


# --- certify ---


def test_certify_trusts_a_good_place_and_leaves_nothing_there(tmp_path: Path) -> None:
    told = call("certify", f"folder:{tmp_path / 'place'}", "--json")
    assert told.exit_code == 0
    facts = json.loads(told.output)
    assert facts["certified"] is True
    assert len(facts["findings"]) > 10
    assert {finding["outcome"] for finding in facts["findings"]} <= {"kept", "skipped"}
    assert list((tmp_path / "place").iterdir()) == []


def test_certify_refuses_a_place_with_somebodys_files(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    told = execute("certify", f"folder:{tmp_path}")
    assert told.returncode == 2
    assert "it is not empty" in told.stderr
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.slow
def test_certify_trusts_a_good_s3_server_and_leaves_the_bucket_empty(tmp_path: Path) -> None:
    provider = HoldfastProvider(tmp_path)
    try:
        provider.start()
        keys = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY}
        told = execute(
            "certify", "s3://trial/x", "--endpoint", provider.url, "--provider", "holdfast", "--json", environ=keys
        )
        assert json.loads(told.stdout)["certified"], told.stdout
        assert told.returncode == 0
        # What was deleted there is gone from its directory once it has paid that.
        bucket = tmp_path / "data" / "disk" / "trial"
        until(lambda: not list(bucket.glob("**/*")), lambda: list(bucket.glob("**/*")))
    finally:
        provider.close()


def test_certify_tells_what_is_wrong_with_an_option() -> None:
    told = execute("certify", "s3://trial", "--endpoint", "http://127.0.0.1:1", "--provider", "hetzer")
    assert told.returncode == 2
    assert "--provider" in told.stderr
    assert "Did you mean hetzner" in told.stderr
    told = execute("certify", "s3://trial", "--endpoint", "http://127.0.0.1:1")
    assert "--access-key" in told.stderr
    keys = ["--access-key", "x", "--secret-key", "y"]
    told = execute("certify", "s3://trial", "--endpoint", "http://127.0.0.1:1", *keys)
    assert told.returncode == 2
    assert "no connection with 127.0.0.1" in told.stderr


def test_certify_says_which_places_it_knows() -> None:
    told = execute("certify", "ftp://bucket")
    assert told.returncode == 2
    assert "azure://container" in told.stderr
