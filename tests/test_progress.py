# SPDX-License-Identifier: MIT
"""Progress is told by a few lines where there is no terminal."""

import pytest
from tqdm.std import tqdm

from eqcalc import progress
from eqcalc.progress import Lines, duration, progress_bar


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test moves."""
    now = [1000.0]
    monkeypatch.setattr(Lines, "_time", staticmethod(lambda: now[0]), raising=False)
    original = Lines.__init__

    def start(self, *args, **options):
        original(self, *args, **options)
        self._time = lambda: now[0]
        self.start_t = self.last_print_t = now[0]

    monkeypatch.setattr(Lines, "__init__", start)
    return now


def test_hours_of_work_are_a_few_lines_and_the_first_comes_after_seconds(capsys, clock):
    with progress_bar(total=36_000, initial=0, desc="NVE", unit="steps") as bar:
        assert isinstance(bar, Lines)
        for _ in range(36_000):  # ten hours of one second each
            clock[0] += 1.0
            bar.update()
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "NVE: 4 of 36000 steps in 4 s, about 10 h left"
    assert 10 < len(lines) < 100
    assert "of 36000 steps" in lines[-1]


def test_the_expected_time_counts_only_what_this_call_does(capsys, clock):
    bar = progress_bar(total=110, initial=100, desc="NVE", unit="steps")
    clock[0] += 50.0
    bar.update(5)
    assert capsys.readouterr().err == "NVE: 105 of 110 steps in 50 s, about 50 s left\n"


def test_work_of_less_than_seconds_says_nothing(capsys):
    assert sum(progress_bar([1, 2, 3], desc="evaluating")) == 6
    with progress_bar(total=3, desc="evaluating") as bar:
        bar.update(3)
        bar.set_postfix_str("done")
    assert capsys.readouterr() == ("", "")


def test_quiet_work_says_nothing_however_long(capsys):
    bar = progress_bar(total=3, desc="evaluating", shown=False)
    assert bar.disable
    assert capsys.readouterr() == ("", "")


def test_a_terminal_shows_a_bar(monkeypatch, capsys):
    monkeypatch.setattr(progress.sys.stderr, "isatty", lambda: True)
    with progress_bar(total=3, desc="evaluating", unit="batches") as bar:
        assert isinstance(bar, tqdm)
        assert not isinstance(bar, Lines)
        bar.update(3)
    assert "3/3" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "1 s"), (99, "99 s"), (150, "2.5 min"), (7200, "2 h"), (260_000, "3 days")],
)
def test_durations_are_told_in_the_unit_a_person_would_take(seconds, text):
    assert duration(seconds) == text
