"""`make fuzz`: one target for some time, guided by coverage where `atheris` is installed, by hypothesis where it is not.

Answers for a corpus that grows below `build/fuzz` and is begun with the one of the repository, for a line of progress now and
then, and for keeping an input that broke the property as a regression: it becomes `tests/fuzz/corpus/TARGET/found-*.bin`, which
the tests replay. Exit code 1 when something was found.
"""

import argparse
import hashlib
import importlib.util
import os
import random
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

ROOT = Path(__file__).parents[2]
CORPUS = Path(__file__).parent / "corpus"
GROWN = ROOT / "build" / "fuzz"
_INPUT_BYTES = 4096
_TELL_S = 10.0
Line = tuple[str, int]
_COVERAGE = re.compile(r"#(\d+)\s+\w+\s+cov: (\d+) ft: (\d+) corp: (\d+)/\S+.*?exec/s: (\d+)")


def main() -> int:
    """Fuzz as the command line says."""
    asked = argparse.ArgumentParser(prog="make fuzz", description=__doc__)
    asked.add_argument("target")
    asked.add_argument("seconds", type=int)
    asked.add_argument("--seed", type=int, default=0, help="0: another one each time")
    asked.add_argument("--engine", choices=("atheris", "hypothesis", "within"), default="")
    own, options = _parted(sys.argv[1:])
    terms = asked.parse_args(own)
    if terms.engine == "within":
        return _within(terms.target, options)
    names = _names() if terms.target == "all" else [terms.target]
    if unknown := set(names) - set(_names()):
        print(f"error: there is no target {', '.join(unknown)}; there are: all {' '.join(_names())}", file=sys.stderr)
        return 2
    engine = terms.engine or ("atheris" if importlib.util.find_spec("atheris") else "hypothesis")
    if engine == "hypothesis":
        print(
            "atheris is not installed (it has wheels for some versions of Python only): using hypothesis, which is slower"
        )
    fuzz = _by_coverage if engine == "atheris" else by_chance
    return max([fuzz(name, terms.seconds, terms.seed) for name in names])


def _parted(words: list[str]) -> tuple[list[str], list[str]]:
    """What is for us, and behind a double hyphen what is for libFuzzer."""
    at = words.index("--") if "--" in words else len(words)
    return words[:at], words[at + 1 :]


def _names() -> list[str]:
    return sorted(path.name for path in CORPUS.iterdir() if path.is_dir())


# --- by coverage ---


def _by_coverage(name: str, seconds: int, seed: int) -> int:
    """libFuzzer in a process of its own, so that a crash, a hang or a flood of memory ends only that."""
    grown, kept = GROWN / name, CORPUS / name
    grown.mkdir(parents=True, exist_ok=True)
    command = [
        sys.executable, "-m", "tests.fuzz.run", name, "0", "--engine", "within", "--",
        f"-max_total_time={seconds}", f"-max_len={_INPUT_BYTES}", "-timeout=10", "-rss_limit_mb=1024",
        f"-artifact_prefix={grown.parent}/{name}-", f"-seed={seed}", str(grown), str(kept),
    ]  # fmt: skip
    began_s = told_s = time.monotonic()
    last = ""
    tail: list[str] = []
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True, errors="replace") as child:
        assert child.stderr is not None
        for line in child.stderr:
            tail = [*tail, line.rstrip()][-40:]
            if found := _COVERAGE.search(line):
                last = f"{found[1]} executions, {found[5]}/s, coverage {found[2]} edges, {found[3]} features, corpus {found[4]}"
                if time.monotonic() - told_s > _TELL_S:
                    told_s = time.monotonic()
                    print(f"{name}: {told_s - began_s:.0f} s, {last}", flush=True)
    broken = [_keep(path, kept) for path in grown.parent.glob(f"{name}-*-*") if path.is_file()]
    if child.returncode and not broken:
        print("\n".join(tail), file=sys.stderr)
        return 2
    for path in broken:
        print("\n".join(tail[-30:]))
        print(f"{name}: BROKEN, and the input is kept: {path.relative_to(ROOT)}")
    print(f"{name}: {time.monotonic() - began_s:.0f} s, {last or 'nothing new'}; {len(broken)} found", flush=True)
    return min(len(broken), 1)


def _keep(path: Path, kept: Path) -> Path:
    data = path.read_bytes()
    path.unlink()
    return _regression(kept, data)


def _regression(kept: Path, data: bytes) -> Path:
    target = kept / f"found-{hashlib.sha256(data).hexdigest()[:12]}.bin"
    target.write_bytes(data)
    return target


def _within(name: str, options: list[str]) -> int:
    """The process that libFuzzer drives. It never returns."""
    import atheris

    with atheris.instrument_imports(include=["holdfast"]):
        from tests.fuzz.targets import TARGETS
    atheris.Setup([sys.argv[0], *options], TARGETS[name])
    atheris.Fuzz()
    return 0


# --- by chance ---


def by_chance(name: str, seconds: int, seed: int) -> int:
    """hypothesis on changed inputs, a round after the other until the time is over. Inputs that reach new lines are known from then on."""
    from hypothesis import HealthCheck, Phase, given, settings
    from hypothesis import seed as seeded
    from hypothesis import target as aim

    from tests.fuzz.changing import changed_inputs, inputs
    from tests.fuzz.targets import TARGETS

    grown, runs, last = GROWN / name, 0, b""
    grown.mkdir(parents=True, exist_ok=True)
    known, reached = inputs(CORPUS / name) + inputs(grown), set[Line]()
    chance = random.Random(seed or None)
    began_s = told_s = time.monotonic()

    def some(data: bytes) -> None:
        nonlocal runs, last
        runs, last = runs + 1, data
        lines = _lines(TARGETS[name], data)
        aim(float(len(lines)))
        if not lines <= reached:
            reached.update(lines)
            known.append(data)
            (grown / hashlib.sha256(data).hexdigest()).write_bytes(data)

    while time.monotonic() - began_s < seconds:
        rounds = settings(
            max_examples=500,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.generate, Phase.target, Phase.shrink],
        )
        try:
            seeded(chance.getrandbits(64))(rounds(given(changed_inputs(list(known)))(some)))()
        except Exception as trouble:
            print(f"{name}: BROKEN: {type(trouble).__name__}: {trouble}")
            print(f"{name}: the input is kept: {_regression(CORPUS / name, last).relative_to(ROOT)}")
            return 1
        if time.monotonic() - told_s > _TELL_S:
            told_s = time.monotonic()
            print(f"{name}: {told_s - began_s:.0f} s, {runs} executions, {len(reached)} lines", flush=True)
    print(f"{name}: {time.monotonic() - began_s:.0f} s, {runs} executions, {len(reached)} lines; 0 found", flush=True)
    return 0


def _lines(target: Callable[[bytes], None], data: bytes) -> set[Line]:
    """The lines of Holdfast that a target goes through with this input."""
    found: set[Line] = set()

    def within(frame: FrameType, event: str, _: object) -> Callable[..., Any]:
        found.add((frame.f_code.co_filename, frame.f_lineno))
        return within

    def entered(frame: FrameType, event: str, _: object) -> Callable[..., Any] | None:
        return within if f"{os.sep}holdfast{os.sep}" in frame.f_code.co_filename else None

    sys.settrace(entered)
    try:
        target(data)
    finally:
        sys.settrace(None)
    return found


if __name__ == "__main__":
    sys.exit(main())
