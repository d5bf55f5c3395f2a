"""`holdfast lab` and `holdfast demo` at the command line, without playing anything."""

import json
import xml.etree.ElementTree as ElementTree

import pytest
from typer.testing import CliRunner

from holdfast.cli import demo, lab
from holdfast.cli.main import app
from holdfast.cli.picture import svg
from holdfast.errors import ConfigError
from holdfast.testing.lab.report import Result
from holdfast.testing.lab.scenarios import all_scenarios


def test_every_scenario_is_listed_with_what_happens_in_it() -> None:
    done = CliRunner().invoke(app, ["lab", "--list", "--json"])
    assert done.exit_code == 0
    assert [row["name"] for row in json.loads(done.output)] == [scenario.name for scenario in all_scenarios()]
    some = CliRunner().invoke(app, ["lab", "history", "--list"])
    assert "s3-2017" in some.output
    assert "refused" not in some.output


def test_a_scenario_that_does_not_exist_is_told() -> None:
    done = CliRunner().invoke(app, ["lab", "meteorite"])
    assert isinstance(done.exception, ConfigError)
    assert "holdfast lab --list" in done.exception.remedy


@pytest.mark.parametrize("providers", ["rclone", "aws,rclone", "rclone,rclone,rclone"])
def test_providers_that_do_not_exist_are_told(providers: str) -> None:
    done = CliRunner().invoke(app, ["lab", "refused", "--providers", providers])
    assert isinstance(done.exception, ConfigError)
    assert done.exception.remedy == "Two of: holdfast, rclone, with a comma."


GOOD = Result("demo", "about", requests=100, calm_p99_s=0.01, late_p99_s=0.5, caught_up_s=1.0, outage_s=12.0, met=1)


def test_the_verdict_of_the_demo_is_about_the_promise_and_not_about_this_machine() -> None:
    assert demo.broken(GOOD) == ()
    assert "The promise was kept." in svg(demo.report(GOOD), "demo").replace("&#160;", " ")
    bad = Result("demo", "about", requests=9, failed=2, failures={"GET: 503 X": 2}, caught_up_s=1.0, met=1)
    assert demo.broken(bad) == ("requests failed",)
    shown = svg(demo.report(bad), "demo").replace("&#160;", " ")
    assert "The promise broke." in shown
    assert "2 x GET: 503 X" in shown


def test_a_picture_needs_nothing_from_anywhere_else() -> None:
    picture = svg(lab.table([GOOD]), "holdfast lab")
    assert ElementTree.fromstring(picture).tag.endswith("svg")
    assert "url(" not in picture.replace("url(#", "")
    assert picture.count("http") == picture.count("http://www.w3.org/2000/svg") + picture.count(
        "https://www.textualize.io"
    )
