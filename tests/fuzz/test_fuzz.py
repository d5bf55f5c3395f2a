"""The properties of `targets` hold for every input that is kept, and for a few more near them."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from tests.fuzz import run
from tests.fuzz.changing import changed_inputs, inputs
from tests.fuzz.targets import TARGETS

CORPUS = Path(__file__).parent / "corpus"
CORPUS_BYTES = 200 * 1024


@pytest.mark.parametrize("name", TARGETS)
def test_every_input_of_the_corpus_is_harmless(name: str) -> None:
    kept = inputs(CORPUS / name)
    assert kept
    for data in kept:
        TARGETS[name](data)


@pytest.mark.parametrize("name", TARGETS)
def test_inputs_near_the_corpus_are_harmless(name: str) -> None:
    @settings(max_examples=200, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    @given(changed_inputs(inputs(CORPUS / name)))
    def some(data: bytes) -> None:
        TARGETS[name](data)

    some()


def test_the_corpus_is_small_and_each_folder_is_a_target() -> None:
    assert sum(path.stat().st_size for path in CORPUS.rglob("*") if path.is_file()) < CORPUS_BYTES
    assert {path.name for path in CORPUS.iterdir()} == set(TARGETS)


def test_what_breaks_a_target_is_kept_and_is_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fragile(data: bytes) -> None:
        assert b"%" not in data

    corpus = tmp_path / "tests" / "xml"
    corpus.mkdir(parents=True)
    (corpus / "seed.bin").write_bytes(b"a")
    monkeypatch.setattr(run, "ROOT", tmp_path)
    monkeypatch.setattr(run, "CORPUS", corpus.parent)
    monkeypatch.setattr(run, "GROWN", tmp_path / "build")
    monkeypatch.setitem(TARGETS, "xml", fragile)
    assert run.by_chance("xml", 60, seed=1) == 1
    (kept,) = [path.read_bytes() for path in corpus.glob("found-*.bin")]
    assert b"%" in kept and len(kept) < 5
    monkeypatch.setitem(TARGETS, "xml", len)
    assert run.by_chance("xml", 0, seed=1) == 0
