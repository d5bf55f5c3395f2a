"""What a run of the tests says at its end beside what failed: how much was simulated."""

import pytest


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Add up what tests recorded (see `tests.simulation.playing.note`); with several processes they tell it to the first."""
    sums: dict[str, float] = {}
    for reports in terminalreporter.stats.values():
        for report in reports:
            if isinstance(report, pytest.TestReport) and report.when == "call":
                for name, value in report.user_properties:
                    if name.startswith("simulated ") and isinstance(value, int | float):
                        sums[name] = sums.get(name, 0.0) + value
    if sums:
        told = ", ".join(f"{value:,.1f} {name.removeprefix('simulated ')}" for name, value in sorted(sums.items()))
        terminalreporter.write_line(f"simulated: {told.replace('.0 ', ' ')}")
