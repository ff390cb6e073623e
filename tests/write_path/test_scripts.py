"""The scripts: a word that they do not know is an error of ours, and changes nothing."""

from __future__ import annotations

import pytest
import valkey

from shared import board, records
from tests.support.api import Api
from tests.support.invariants import everything
from tests.write_path.lua import SUBMISSION, run, submission

PROJECTION = [board.BOARD, board.PLAYERS, board.TOTALS, board.SWEEP, board.PENDING]
SWEEP = [board.TOTALS, board.SWEEP]


@pytest.mark.parametrize("operator", ["", "Set", "SET", "decremen", "decrement ", "create2", "max", "-"])
def test_an_operator_that_is_none_is_an_error_and_changes_nothing(api: Api, raw: valkey.Valkey, operator: str) -> None:
    api.create(userId="ada", score=100)
    before = everything(raw)
    with pytest.raises(valkey.ResponseError, match="submit: no such operator"):
        run(raw, "submit", SUBMISSION, submission(operator))
    assert everything(raw) == before
    assert records.outcome(run(raw, "submit", SUBMISSION, submission("decrement"))).profile.score == "93"


@pytest.mark.parametrize("running", [False, True], ids=["none running", "one running"])
@pytest.mark.parametrize("word", ["", "Look", "joined", "news", "moved", "end"])
def test_a_word_that_the_sweep_does_not_know_is_an_error_and_changes_nothing(
    api: Api, raw: valkey.Valkey, word: str, running: bool
) -> None:
    api.create(userId="ada", score=100)
    number, position = run(raw, "sweep", SWEEP, ["join" if running else "look"])
    before = everything(raw)
    with pytest.raises(valkey.ResponseError, match="sweep: no such word"):
        run(raw, "sweep", SWEEP, [word, number, position, "rows 0"])
    assert everything(raw) == before


@pytest.mark.parametrize("score", ["x", "1.5", "1e3", "nan", " ", "-", "+1", "0x10"])
def test_a_score_that_is_no_whole_number_is_not_projected(api: Api, raw: valkey.Valkey, score: str) -> None:
    api.create(userId="ada", score=100)
    raw.zadd(board.PENDING, {"ada:attempt": 1})
    before = everything(raw)
    with pytest.raises(valkey.ResponseError, match="project: the score is not a whole number"):
        run(raw, "project", PROJECTION, ["ada", 2**53 - 1, score, 1, 100, "Ada", "ada:attempt"])
    assert everything(raw) == before
