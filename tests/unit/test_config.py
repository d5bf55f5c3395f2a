"""Settings: what is understood, what is refused and how it is said, and where each value comes from."""

import stat
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.cli.providers import providers
from holdfast.cli.reference import reference
from holdfast.clock import SystemClock
from holdfast.config.check import meaning, warnings
from holdfast.config.credentials import root_credentials
from holdfast.config.load import Reading, load, read
from holdfast.config.notation import (
    DURATION,
    SIZE,
    SOME_TIME,
    Address,
    Secret,
    Unreadable,
    read_address,
    read_secret,
    show_duration,
    show_size,
)
from holdfast.config.settings import LISTS, NAMED, TABLES, Settings, default_of, environment_names, rows
from holdfast.errors import ConfigError
from holdfast.limits import GIB, KIB
from holdfast.model import Value


def write(folder: Path, text: str) -> Path:
    file = folder / "holdfast.toml"
    file.write_text(text)
    return file


def problems(folder: Path, text: str, environ: dict[str, str] | None = None) -> list[str]:
    return [str(problem) for problem in read(write(folder, text), environ or {}).problems]


def only(folder: Path, text: str, environ: dict[str, str] | None = None) -> str:
    found = problems(folder, text, environ)
    assert len(found) == 1, found
    return found[0]


def good(folder: Path, text: str, environ: dict[str, str] | None = None) -> Settings:
    return load(write(folder, text), environ or {})


# --- notation ---


@pytest.mark.parametrize(
    ("text", "size"),
    [("64KiB", 64 * KIB), ("1.5GiB", 3 * GIB // 2), ("2 MB", 2_000_000), ("0", 0), ("17b", 17), (4096, 4096)],
)
def test_a_size_is_read_with_its_unit(text: object, size: int) -> None:
    assert SIZE.read(text) == size


@pytest.mark.parametrize("text", ["", "GiB", "1..5GiB", "-1KiB", "10XB", "1e3", True, -5, 1.5, None, [], "١GiB"])
def test_what_is_not_a_size_is_refused(text: object) -> None:
    with pytest.raises(Unreadable):
        SIZE.read(text)


def test_an_ambiguous_unit_is_refused_with_both_readings() -> None:
    with pytest.raises(Unreadable, match=r"GiB \(1024\) or GB \(1000\)"):
        SIZE.read("5G")


@given(st.integers(0, 2**62))
def test_a_size_reads_back_as_it_was_shown(size: int) -> None:
    assert SIZE.read(show_size(size)) == size


@given(st.integers(0, 10**11))
def test_a_duration_reads_back_as_it_was_shown(total_ms: int) -> None:
    assert round(DURATION.read(show_duration(total_ms / 1000)) * 1000) == total_ms


@pytest.mark.parametrize("text", ["36501d", "66666666666666666660m"])
def test_a_duration_beyond_every_timer_is_refused(text: str) -> None:
    with pytest.raises(Unreadable, match="longer"):
        DURATION.read(text)


def test_a_time_that_would_be_shown_as_none_is_none() -> None:
    with pytest.raises(Unreadable):
        SOME_TIME.read("0.4ms")
    assert SOME_TIME.read(SOME_TIME.show(SOME_TIME.read("1ms"))) == 0.001


@pytest.mark.parametrize("text", [30, "30", "s", "5 weeks", "-1s", "", None, "1S"])
def test_a_duration_needs_a_number_and_a_known_unit(text: object) -> None:
    with pytest.raises(Unreadable):
        DURATION.read(text)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:9000", Address("127.0.0.1", 9000)),
        ("localhost:0", Address("localhost", 0)),
        ("[::1]:9000", Address("::1", 9000)),
        ("s3.example.net:443", Address("s3.example.net", 443)),
    ],
)
def test_an_address_reads_back_as_it_was_shown(text: str, address: Address) -> None:
    assert read_address(text) == address
    assert str(address) == text


@pytest.mark.parametrize(
    "text", ["9000", ":9000", "localhost", "localhost:", "a:65536", "::1:9000", "[::1]", "a b:1", 9]
)
def test_what_is_not_an_address_is_refused_with_an_example(text: object) -> None:
    with pytest.raises(Unreadable) as refused:
        read_address(text)
    assert refused.value.remedy


def test_a_secret_is_never_shown() -> None:
    secret = Secret("hunter2hunter2")
    assert "hunter2" not in f"{secret} {secret!r} {[secret]}"
    assert secret.reveal() == "hunter2hunter2"


def test_a_secret_may_stand_in_a_variable_or_a_file(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("from a file\n")
    assert read_secret("env:NAME", {"NAME": "from a variable"}).reveal() == "from a variable"
    assert read_secret(f"file:{tmp_path / 'key'}", {}).reveal() == "from a file"
    assert read_secret("itself", {}).reveal() == "itself"


@pytest.mark.parametrize("text", ["env:HOLDFAST_NOT_THERE", "file:/nowhere/at/all"])
def test_a_secret_that_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(Unreadable):
        read_secret(text, {})


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ('url = "s3://AKID:pass@word@bucket/x"', "keys do not belong in the address"),
        ('url = "https://AKID:pass@word@s3.example.net"', "//***@s3.example.net"),
        ('url = "s3://b"\nendpoint = "https://AKID:pass@word@s3.example.net"', "//***@s3.example.net"),
        ('url = "s3://b"\nproxy = "http://user:pass@word@proxy:3128"', "//***@proxy:3128"),
    ],
)
def test_a_password_in_an_address_is_refused_and_not_repeated(tmp_path: Path, setting: str, told: str) -> None:
    problem = only(tmp_path, f'[[grid]]\nname = "a"\n{setting}\n')
    assert told in problem
    assert "pass" not in problem and "word" not in problem.replace("password", "")


# --- files that are hardly settings ---


def test_a_home_that_nobody_has_is_told(tmp_path: Path) -> None:
    assert "no such user" in only(tmp_path, 'data = "~nobody-has-this-name/data"\n')


@pytest.mark.parametrize("value", ["[" * 5000 + "]" * 5000, "1" * 5000], ids=["nested", "digits"])
def test_a_file_beyond_what_python_reads_is_told(tmp_path: Path, value: str) -> None:
    assert "too long" in only(tmp_path, f"data = {value}\n")


# --- defaults and origins ---


def test_without_a_file_there_are_two_folder_grids_under_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = load(None, {})
    assert settings.data == tmp_path / "data"
    assert [grid.folder(settings.data) for grid in settings.grid] == [
        tmp_path / "data/grids/a",
        tmp_path / "data/grids/b",
    ]
    assert settings.policy["standard"].grids == ("a", "b")
    assert settings.ack("standard") == 0
    assert settings.server.listen == Address("127.0.0.1", 9000)
    assert settings.server.admin == Address("127.0.0.1", 9001)


def test_reading_creates_nothing(tmp_path: Path) -> None:
    load(None, {"HOLDFAST_DATA": str(tmp_path / "new")})
    assert list(tmp_path.iterdir()) == []


def test_an_empty_file_means_the_defaults(tmp_path: Path) -> None:
    assert good(tmp_path, "").server == Settings().server


def test_a_flag_goes_before_a_variable_before_the_file(tmp_path: Path) -> None:
    file = write(tmp_path, '[server]\nlisten = "127.0.0.1:1"\nregion = "r-file"\nworkers = 2\n')
    environ = {"HOLDFAST_SERVER_LISTEN": "127.0.0.1:2", "HOLDFAST_SERVER_REGION": "r-env"}
    reading = read(file, environ, {"server.listen": "127.0.0.1:3"})
    assert not reading.problems
    server = reading.settings.server
    assert (server.listen.port, server.region, server.workers) == (3, "r-env", 2)
    assert reading.origins["server.listen"] == "--listen"
    assert reading.origins["server.region"] == "HOLDFAST_SERVER_REGION"
    assert reading.origins["server.workers"] == str(file)
    assert "server.domain" not in reading.origins


EXAMPLES = {
    "data": "/tmp",
    "server.listen": "127.0.0.1:7000",
    "server.admin": "127.0.0.1:7001",
    "server.domain": "s3.example.net",
    "server.website_domain": "site.example.net",
    "server.region": "eu-central-1",
    "server.workers": "3",
    "server.tls_cert": __file__,
    "server.tls_key": __file__,
    "server.customer_keys": "always",
    "server.object_ownership": "ObjectWriter",
    "server.connections": "77",
    "server.requests": "78",
    "server.drain": "79s",
    "index.url": "sqlite:other.db",
    "spool.path": "other",
    "spool.limit": "3GiB",
    "cache.size": "5GiB",
    "cache.path": "elsewhere",
    "cache.age": "6d",
    "cache.local": "true",
    "cache.inline": "4MiB",
    "log.level": "debug",
    "log.format": "json",
    "log.requests": "true",
    "log.slow": "7s",
    "scrub.interval": "8d",
    "lifecycle.day": "10s",
    "access_logs.interval": "11s",
    "sealing.master_key": "env:KEY",
    "sealing.kms_keys": "env:KEYS",
}


def shown(reading: Reading) -> dict[str, str]:
    values = {"data": str(reading.settings.data)}
    for table, kind in TABLES.items():
        for name, row in rows(kind).items():
            values[f"{table}.{name}"] = row.kind.show(getattr(getattr(reading.settings, table), name))
    return values


def test_every_scalar_setting_can_be_overridden_by_a_variable(tmp_path: Path) -> None:
    environ = {}
    for variable, (table, name) in environment_names().items():
        environ[variable] = EXAMPLES[f"{table}.{name}".lstrip(".")]
    reading = read(write(tmp_path, ""), environ)
    assert not reading.problems
    assert shown(reading) == EXAMPLES
    assert set(reading.origins.values()) == set(environ)


def test_an_unknown_variable_of_a_table_is_refused_with_a_hint(tmp_path: Path) -> None:
    told = only(tmp_path, "", {"HOLDFAST_SERVER_LISEN": "127.0.0.1:1"})
    assert told.startswith("HOLDFAST_SERVER_LISEN:")
    assert "HOLDFAST_SERVER_LISTEN?" in told


def test_variables_of_other_programs_are_left_alone(tmp_path: Path) -> None:
    others = {"HOLDFAST_SERVER_PORT_9000_TCP": "tcp://10.0.0.1:9000", "HOLDFAST_SERVER_SERVICE_HOST": "10.0.0.1"}
    assert problems(tmp_path, "", others | {"HOLDFAST_PORT": "x", "PATH": "/bin", "HOLDFAST_CONFIG": "x"}) == []


def test_relative_paths_start_at_the_file(tmp_path: Path) -> None:
    (tmp_path / "cert.pem").write_text("x")
    settings = good(tmp_path, 'data = "d"\n[server]\ntls_cert = "cert.pem"\ntls_key = "cert.pem"\n')
    assert settings.data == tmp_path / "d"
    assert settings.server.tls_cert == tmp_path / "cert.pem"


def test_what_lies_under_data_starts_there(tmp_path: Path) -> None:
    text = 'data = "d"\n[index]\nurl = "sqlite:i/x.db"\n[spool]\npath = "/elsewhere/spool"\n[[grid]]\nname = "g"\nurl = "folder:g"\n'
    settings = read(write(tmp_path, text), {}).settings
    assert settings.index_path == tmp_path / "d/i/x.db"
    assert settings.spool_path == Path("/elsewhere/spool")
    assert settings.grid[0].folder(settings.data) == tmp_path / "d/g"


# --- refusals ---


@pytest.mark.parametrize(
    ("text", "where", "hint"),
    [
        ("[sever]\n", "holdfast.toml sever", "server?"),
        ("dta = '.'\n", "holdfast.toml dta", "data?"),
        ("[server]\nlisten_on = '127.0.0.1:1'\n", "holdfast.toml [server] listen_on", "listen?"),
        ("[[grid]]\nname='x'\nurl='folder:x'\nbukket=1\n", 'holdfast.toml [[grid]] "x" bukket', "Known are"),
        ("[policy.p]\nacks=1\n", "holdfast.toml [policy.p] acks", "ack?"),
        ("[[bucket]]\nname='b'\npolicy='standard'\npolcy='x'\n", 'holdfast.toml [[bucket]] "b" polcy', "policy?"),
    ],
)
def test_an_unknown_name_is_refused_with_its_place_and_a_hint(tmp_path: Path, text: str, where: str, hint: str) -> None:
    told = only(tmp_path, text)
    assert told.startswith(where + ":")
    assert hint in told


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('[server]\nlisten = "9000"\n', "[server] listen"),
        ("[server]\nlisten = 9000\n", "[server] listen"),
        ('[server]\nworkers = "2"\n', "[server] workers"),
        ("[server]\nworkers = 0\n", "[server] workers"),
        ("[server]\nworkers = true\n", "[server] workers"),
        ("[server]\ndrain = 30\n", "[server] drain"),
        ('[server]\ndomain = "http://x"\n', "[server] domain"),
        ('[spool]\nlimit = "lots"\n', "[spool] limit"),
        ('[server]\nregion = "a b"\n', "[server] region"),
        ('[log]\nlevel = "loud"\n', "debug, info, warning or error"),
        ('[log]\nrequests = "yes"\n', "without quotes"),
        ('[index]\nurl = "postgresql://x"\n', "not available yet"),
        ('[index]\nurl = "index.db"\n', "sqlite:"),
        ('[[grid]]\nname = "x"\nurl = "gcs://"\n', "the bucket is missing"),
        ('[[grid]]\nname = "x"\nurl = "s3://"\n', "the bucket is missing"),
        ('[[grid]]\nname = "x"\nurl = "s3://b"\nprovider = "hetzer"\n', "Did you mean hetzner"),
        ('[[grid]]\nname = "x"\nurl = "s3://b"\nendpoint = "s3.example.net"\n', "is not the address of a server"),
        ('[[grid]]\nname = "x"\nurl = "s3://b"\nstyle = "host"\n', "is not one of them"),
        ('[[grid]]\nname = "x"\nurl = "azure:"\n', "the container is missing"),
        ('[[grid]]\nname = "x"\nurl = "/srv"\n', "folder:/path"),
        ('[[grid]]\nname = "x"\nurl = "folder:"\n', "folder is missing"),
        ('[[grid]]\nname = "X Y"\nurl = "folder:x"\n', "is not a name"),
        ('[[grid]]\nname = "x"\nurl = "folder:x"\ndeadline = "0s"\n', "deadline"),
        ('[[grid]]\nurl = "folder:x"\n', "[[grid]] number 1: name is missing"),
        ('[[grid]]\nname = "x"\n', "url is missing. Add: url = …"),
        ('[grid]\nname = "x"\n', "double brackets"),
        ("server = 1\n", "must be a table"),
        ("[policy]\nack = 1\n", "must have a name"),
        ("[policy.p]\ngrids = []\n", "is empty"),
        ('[policy.p]\ngrids = "a"\n', "must be a list"),
        ('[policy.p]\noutage = "hope"\n', "accept or refuse"),
        ("[policy.p]\nack = -1\n", "ack"),
        ('[[bucket]]\nname = "b"\n', "policy is missing"),
        ("data = ''\n", "must not be empty"),
    ],
)
def test_a_wrong_value_is_refused_and_told(tmp_path: Path, text: str, told: str) -> None:
    assert told in only(tmp_path, text)


def test_text_that_is_not_toml_is_refused_with_the_line(tmp_path: Path) -> None:
    assert "line 2" in only(tmp_path, 'data = "x"\nserver listen\n')


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    (problem,) = read(tmp_path / "nowhere.toml", {}).problems
    assert "No such file" in str(problem)


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    text = '[server]\nlisten = 1\nworker = 2\n[spool]\nlimit = "x"\n'
    assert len(problems(tmp_path, text)) == 3


GRID = '[[grid]]\nname = "{0}"\nurl = "folder:{1}"\n'


def test_two_grids_with_one_name_are_refused(tmp_path: Path) -> None:
    assert "two grids with this name" in only(tmp_path, GRID.format("x", "one") + GRID.format("x", "two"))


def test_one_folder_twice_is_refused(tmp_path: Path) -> None:
    told = only(tmp_path, GRID.format("x", "/srv/one") + GRID.format("y", "/srv/one/../one/"))
    assert told.startswith('holdfast.toml [[grid]] "y" url: it is the same folder as that of grid "x".')


def test_one_folder_twice_through_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    text = GRID.format("x", tmp_path / "real") + GRID.format("y", tmp_path / "link")
    assert "same folder" in only(tmp_path, text)


def test_a_folder_inside_a_folder_is_refused_even_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    text = GRID.format("x", tmp_path / "real") + GRID.format("y", tmp_path / "link/inner")
    assert "inside" in only(tmp_path, text)


def test_neighbours_with_a_common_beginning_are_two_folders(tmp_path: Path) -> None:
    assert problems(tmp_path, GRID.format("x", tmp_path / "g") + GRID.format("y", tmp_path / "g2")) == []


def test_a_grid_around_the_data_directory_is_refused(tmp_path: Path) -> None:
    found = problems(tmp_path, f'data = "{tmp_path}/g/data"\n' + GRID.format("x", tmp_path / "g"))
    assert any("the data directory lies in it" in told for told in found)


@pytest.mark.parametrize("path", ["spool", "spool/x", "run", "."])
def test_the_cache_has_a_directory_of_its_own(tmp_path: Path, path: str) -> None:
    told = problems(tmp_path, f'[cache]\npath = "{path}"\n')
    assert any(problem.startswith("holdfast.toml [cache] path:") for problem in told)


def test_a_cache_that_will_be_off_is_warned_of(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "file").chmod(0o600)
    text = f'[cache]\npath = "{tmp_path}/file/cache"\n'
    assert any("the cache will be off" in told for told in warnings(good(tmp_path, text)))
    assert not any("cache" in told for told in warnings(good(tmp_path, text + "size = 0\n")))


@pytest.mark.parametrize("inside", ["spool/g", "run/g", "cache/g"])
def test_a_grid_among_the_nodes_own_files_is_refused(tmp_path: Path, inside: str) -> None:
    assert "it lies among" in only(tmp_path, GRID.format("x", inside))


def test_a_grid_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("x")
    assert "not a directory" in only(tmp_path, GRID.format("x", tmp_path / "f"))


def test_a_missing_folder_is_no_mistake(tmp_path: Path) -> None:
    assert problems(tmp_path, GRID.format("x", tmp_path / "not/there/yet")) == []


TWO = GRID.format("x", "x") + GRID.format("y", "y")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('[policy.p]\ngrids = ["x", "z"]\n', 'there is no grid "z"'),
        ('[policy.p]\ngrids = ["x", "x"]\n', "named twice"),
        ("[policy.p]\nack = 3\n", "3 grids cannot hold a write: this policy has 2."),
        ('[[bucket]]\nname = "photos"\npolicy = "vitl"\n[policy.vital]\n', "Did you mean vital?"),
        ('[[bucket]]\nname = "photos"\npolicy = "standard"\n' * 2, "mentioned twice"),
        ('[spool]\nlimit = "0"\n', "no write can be taken"),
        ('[[bucket]]\nname = "My_Photos"\npolicy = "standard"\n', "3 to 63 lower-case letters"),
    ],
)
def test_contradictions_are_refused(tmp_path: Path, text: str, told: str) -> None:
    assert told in only(tmp_path, TWO + text)


def test_half_of_tls_is_refused(tmp_path: Path) -> None:
    (tmp_path / "c").write_text("x")
    assert "tls_cert is set and tls_key is not" in only(tmp_path, '[server]\ntls_cert = "c"\n')


def test_a_certificate_that_is_not_there_is_refused(tmp_path: Path) -> None:
    assert len(problems(tmp_path, '[server]\ntls_cert = "c"\ntls_key = "k"\n')) == 2


def test_one_address_for_both_listeners_is_refused(tmp_path: Path) -> None:
    assert "address of the S3 endpoint" in only(tmp_path, '[server]\nadmin = "127.0.0.1:9000"\n')


def test_data_that_cannot_be_a_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    assert any("is not a directory" in told for told in problems(tmp_path, f'data = "{tmp_path}/file/data"\n'))


def test_a_memory_grid_cannot_be_shared_by_workers(tmp_path: Path) -> None:
    text = '[server]\nworkers = 2\n[[grid]]\nname = "m"\nurl = "memory:"\n'
    assert "cannot share" in only(tmp_path, text)


@given(st.text(max_size=200))
def test_any_text_is_settings_or_problems(text: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "holdfast.toml"
        file.write_bytes(text.encode("utf-8", "surrogatepass"))
        reading = read(file, {})
        assert all(problem.where and problem.what for problem in reading.problems)


# --- meaning ---


def test_the_default_ack_is_one_as_soon_as_a_grid_is_not_a_folder(tmp_path: Path) -> None:
    settings = good(
        tmp_path, GRID.format("x", "x") + '[[grid]]\nname = "m"\nurl = "memory:"\n[policy.p]\ngrids = ["x"]\n'
    )
    assert settings.ack("standard") == 1
    assert settings.ack("p") == 0


def test_each_policy_is_told_in_a_sentence_of_its_own(tmp_path: Path) -> None:
    text = TWO + '[policy.one]\nack = 1\n[policy.two]\nack = 2\noutage = "refuse"\n'
    settings = good(tmp_path, text)
    told = {name: meaning(settings, name) for name in settings.policy}
    assert "committed and synced on this machine" in told["standard"]
    assert "1 of x and y holds it" in told["one"]
    assert "acknowledged from the spool" in told["one"]
    assert "x and y hold it" in told["two"]
    assert "503" in told["two"]


def test_doubtful_choices_are_warned_of(tmp_path: Path) -> None:
    text = (
        '[server]\nadmin = "0.0.0.0:9001"\n'
        + GRID.format("x", tmp_path / "x").replace("url", 'domain = ["disk"]\nurl')
        + GRID.format("y", tmp_path / "y").replace("url", 'domain = ["disk"]\nurl')
        + '[policy.alone]\ngrids = ["x"]\n[policy.idle]\noutage = "refuse"\n[spool]\nlimit = "1GiB"\n'
    )
    told = "\n".join(warnings(good(tmp_path, text)))
    for part in ("asks for no password", "fail together", "one grid", "no effect", "one file system", "larger bodies"):
        assert part in told


# --- the table ---


def test_every_setting_has_a_sentence_and_a_default() -> None:
    kinds: list[type[Value]] = [Settings, *TABLES.values(), *LISTS.values(), *NAMED.values()]
    for kind in kinds:
        assert kind.__doc__
        for name, row in rows(kind).items():
            assert row.doc.endswith("."), f"{kind.__name__}.{name}"
            assert row.kind.name
            default_of(kind, name)
    for table, kind in TABLES.items():
        assert set(rows(kind)) == set(kind.__struct_fields__), table


def test_the_documentation_of_providers_is_in_step_with_the_table() -> None:
    file = Path(__file__).parents[2] / "docs" / "GRIDS.md"
    assert file.read_text() == providers(), "run: make docs-config"


def test_the_documentation_is_in_step_with_the_table() -> None:
    file = Path(__file__).parents[2] / "docs" / "CONFIGURATION.md"
    assert file.read_text() == reference(), "run: make docs-config"


def test_the_example_in_the_documentation_is_valid(tmp_path: Path) -> None:
    example = reference().partition("```toml\n")[2].partition("```")[0]
    settings = good(tmp_path, example)
    assert settings.ack("vital") == 2


# --- credentials ---


def test_the_key_pair_is_made_once_and_private(tmp_path: Path) -> None:
    path = tmp_path / "data" / "credentials.toml"
    first = root_credentials(path, {}, SystemClock())
    again = root_credentials(path, {}, SystemClock())
    assert first.generated
    assert not again.generated
    assert (first.access_key, first.secret_key) == (again.access_key, again.secret_key)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in path.parent.iterdir()] == ["credentials.toml"]
    assert len(first.access_key) == 20
    assert len(first.secret_key.reveal()) == 40


def test_processes_that_start_together_agree_on_one_key_pair(tmp_path: Path) -> None:
    path = tmp_path / "credentials.toml"
    with ThreadPoolExecutor(8) as pool:
        pairs = list(pool.map(lambda _: root_credentials(path, {}, SystemClock()), range(24)))
    assert len({(pair.access_key, pair.secret_key) for pair in pairs}) == 1
    assert sum(pair.generated for pair in pairs) == 1


def test_the_environment_goes_before_the_kept_pair(tmp_path: Path) -> None:
    path = tmp_path / "credentials.toml"
    root_credentials(path, {}, SystemClock())
    (tmp_path / "secret").write_text("a secret in a file\n")
    environ = {"HOLDFAST_ACCESS_KEY": "operator", "HOLDFAST_SECRET_KEY": f"file:{tmp_path / 'secret'}"}
    pair = root_credentials(path, environ, SystemClock())
    assert (pair.access_key, pair.secret_key.reveal()) == ("operator", "a secret in a file")


@pytest.mark.parametrize(
    "environ",
    [
        {"HOLDFAST_ACCESS_KEY": "only"},
        {"HOLDFAST_SECRET_KEY": "only-the-secret"},
        {"HOLDFAST_ACCESS_KEY": "a/b", "HOLDFAST_SECRET_KEY": "long enough"},
        {"HOLDFAST_ACCESS_KEY": "good", "HOLDFAST_SECRET_KEY": "short"},
        {"HOLDFAST_ACCESS_KEY": "good", "HOLDFAST_SECRET_KEY": "env:NOT_SET_ANYWHERE"},
    ],
)
def test_a_pair_that_cannot_work_is_refused(tmp_path: Path, environ: dict[str, str]) -> None:
    with pytest.raises(ConfigError):
        root_credentials(tmp_path / "credentials.toml", environ, SystemClock())


@pytest.mark.parametrize("text", ["", "access_key = 1\n", "not toml", 'access_key = "abc"\n'])
def test_a_damaged_file_is_refused_and_never_replaced(tmp_path: Path, text: str) -> None:
    path = tmp_path / "credentials.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match="holds no key pair"):
        root_credentials(path, {}, SystemClock())
    assert path.read_text() == text
