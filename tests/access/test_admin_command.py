"""`make admin`: what people do about a player, through the local API with tokens, and what the audit tells of it."""

from __future__ import annotations

import io
import json
import os
import re
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import valkey

from scripts.admin import __main__ as admin
from scripts.admin import asking, players
from scripts.local import keys
from shared.board import SWEEP
from tests.support import lines, tokens, wires
from tests.support.api import fresh_id
from tests.support.guarded import Guarded

REASON = "Impossible scores, ticket 4711"


@dataclass(frozen=True)
class Said:
    """What a command has ended with: its exit status, what it printed, and the log of the functions meanwhile."""

    status: int
    output: str
    told: str
    log: str

    def json(self) -> Any:
        return json.loads(self.output)


@pytest.fixture
def administer(
    guarded: Guarded,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Callable[..., Said]:
    """`administer("show", "ada")`: the command, by somebody called carol, and what became of it."""
    monkeypatch.setenv("BASE_URL", guarded.base_url)
    monkeypatch.delenv("ENV", raising=False)
    monkeypatch.setenv("TOKEN", tokens.issue(guarded.folder, "admin", "carol"))
    monkeypatch.setattr(asking, "TRIES", 2)

    def run(*arguments: str) -> Said:
        capsys.readouterr()
        status = admin.main(arguments)
        printed, told = capsys.readouterr()
        lines = printed.splitlines(keepends=True)
        log = "".join(line for line in lines if line.startswith('{"timestamp"'))
        return Said(status, "".join(line for line in lines if not line.startswith('{"timestamp"')), told, log)

    return run


@pytest.fixture
def player(guarded: Guarded) -> Callable[..., str]:
    """Makes a player as the game's server does, and returns the id."""
    api = asking.Api(guarded.base_url, "", lambda: tokens.issue(guarded.folder, "server", "backend"))

    def make(username: str = "Ada Lovelace", score: int = 1500, **members: Any) -> str:
        user_id = fresh_id()
        body = {"userId": user_id, "username": username, "email": "ada@example.com", "score": score, **members}
        assert api.act("POST", "/users", body).status == 201
        return user_id

    return make


def hidden_and_rank(administer: Callable[..., Said], user_id: str) -> tuple[bool, int | None]:
    shown = administer("show", user_id, "--json").json()
    return shown["hidden"], shown["rank"]


def test_a_player_is_found_by_id_and_by_a_part_of_the_name(
    administer: Callable[..., Said], player: Callable[..., str]
) -> None:
    grace, other = player("Grace Höpper"), player("Someone")
    found = administer("find", grace)
    assert (found.status, found.output) == (
        0,
        f"{grace}  Grace Höpper  rank {1 if grace > other else 2}, score 1,500\n",
    )
    found = administer("find", "--name", "HÖPP", "--json")
    assert [one["userId"] for one in found.json()] == [grace]
    assert "2 players, so up to 1 requests." in found.told, "says what it costs"
    assert "ada@example.com" not in administer("show", grace).output
    nobody = administer("find", "nobody")
    assert (nobody.status, nobody.output) == (1, "")
    assert nobody.told == "Nobody has the id nobody. To look for a name: find --name nobody\n"
    assert administer("find", "--name", "nobody").status == 1


def test_a_search_by_name_goes_through_the_whole_board_and_stops_at_enough(
    administer: Callable[..., Said], player: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(players, "PAGE", 2)
    ids = [player(f"Ada {number}", score=100 - number) for number in range(5)]
    assert [one["userId"] for one in administer("find", "--name", "ada", "--json").json()] == ids
    assert [one["userId"] for one in administer("find", "--name", "ada", "--most", "3", "--json").json()] == ids[:3]


def test_whoever_is_hidden_is_off_the_board_until_they_are_shown_again(
    administer: Callable[..., Said], player: Callable[..., str], raw: valkey.Valkey
) -> None:
    user_id = player("Grace")
    done = administer("hide", user_id, "--reason", REASON)
    assert (done.status, done.output) == (0, f"{user_id} is hidden now.\n"), done.told
    assert hidden_and_rank(administer, user_id) == (True, None)
    assert administer("find", user_id).output.endswith("hidden\n")
    assert administer("find", "--name", "grace").status == 1
    assert "as before" in administer("hide", user_id, "--reason", REASON).output
    sweep = raw.hget(SWEEP, "number")
    done = administer("unhide", user_id, "--reason", "Was right all along", "--recount", "--json")
    assert done.json() == {"userId": user_id, "hidden": False, "wasHidden": True}
    assert hidden_and_rank(administer, user_id) == (False, 1)
    assert raw.hget(SWEEP, "number") != sweep, "a sweep was begun"


def test_a_score_is_corrected_once_however_often_it_is_asked_for(
    administer: Callable[..., Said], player: Callable[..., str]
) -> None:
    user_id, key = player(score=9_000), str(uuid.uuid4())
    asked = ("correct", user_id, "300", "--best", "400", "--reason", REASON, "--key", key)
    done = administer(*asked)
    assert (done.status, done.output) == (0, f"{user_id} has 300 instead of 9,000 (rank 1).\n"), done.told
    again = administer(*asked)
    assert (again.status, again.output) == (0, done.output)
    assert lines.parsed(again.log)[-2]["outcome"] == "replayed"
    shown = administer("show", user_id, "--json").json()
    assert (shown["score"], shown["gamesPlayed"]) == (300, 0)
    assert administer("export", user_id, "--json").json()["bestScore"] == 400


def test_a_name_is_changed_on_the_board_too(administer: Callable[..., Said], player: Callable[..., str]) -> None:
    user_id = player("Something rude")
    done = administer("rename", user_id, "Player 7")
    assert (done.status, done.output) == (0, f"{user_id} is called Player 7 now.\n"), done.told
    assert administer("find", "--name", "player 7", "--json").json()[0]["userId"] == user_id


def test_an_export_is_whole_but_for_the_address_which_administrators_do_not_get(
    administer: Callable[..., Said], player: Callable[..., str]
) -> None:
    user_id = player()
    export = administer("export", user_id).json()
    assert (export["user"]["userId"], export["hidden"], export["sessions"]) == (user_id, False, [])
    assert "ada@example.com" not in json.dumps(export)


@pytest.mark.parametrize(("typed", "erased"), [("yes", False), ("the id", True)])
def test_whoever_erases_at_a_terminal_types_the_id(
    administer: Callable[..., Said],
    player: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
    typed: str,
    erased: bool,
) -> None:
    user_id = player("Grace")
    ours, theirs = os.openpty()
    with open(theirs, encoding="utf-8") as terminal, open(ours, "w", encoding="utf-8") as keyboard:
        monkeypatch.setattr("sys.stdin", terminal)
        keyboard.write(f"{user_id if typed == 'the id' else typed}\n")
        keyboard.flush()
        done = administer("erase", user_id)
    assert f"This erases {user_id} (Grace, score 1,500)" in done.told
    assert done.status == (0 if erased else 2), done.told
    assert administer("find", user_id).status == (1 if erased else 0)


def test_nobody_is_erased_in_a_script_that_does_not_say_so(
    administer: Callable[..., Said], player: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    user_id = player()
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{user_id}\n"))
    done = administer("erase", user_id)
    assert (done.status, done.told) == (2, "Erasing cannot be undone, and nobody is here to ask: say --yes.\n")
    assert administer("find", user_id).status == 0
    done = administer("erase", user_id, "--yes", "--json")
    assert (done.status, done.json()) == (0, {"userId": user_id, "erased": True})
    again = administer("erase", user_id, "--yes")
    assert (again.status, again.output) == (1, "")
    assert again.told.startswith("The API refuses (user_not_found): ")


def test_the_audit_tells_who_did_what_to_whom_and_why(
    administer: Callable[..., Said], player: Callable[..., str], tmp_path: Path
) -> None:
    user_id, log = player(score=9_000), tmp_path / "run.log"
    said = [
        administer("hide", user_id, "--reason", REASON),
        administer("correct", user_id, "300", "--reason", "Ticket 4711 is over"),
        administer("hide", "nobody", "--reason", REASON),
        administer("rename", user_id, "Player 7"),
        administer("export", user_id),
        administer("erase", user_id, "--yes"),
    ]
    log.write_text("The leaderboard is at …\n" + "".join(one.log for one in said))
    rows = administer("audit", "--log", str(log), "--json").json()
    told = [(row["act"], row["userId"], row["reason"], row["before"], row["after"], row["outcome"]) for row in rows]
    corrected = {"score": 9_000, "rank": None}, {"score": 300, "rank": None, "bestScore": None}
    amended = {"newUsername": True, "newEmail": False, "hasEmail": True}
    assert told == [
        ("hide", user_id, REASON, {"hidden": False}, {"hidden": True, "recount": False}, "ok"),
        ("correct", user_id, "Ticket 4711 is over", *corrected, "ok"),
        ("hide", "nobody", REASON, None, None, "refused"),
        ("amend", user_id, None, None, amended, "ok"),
        ("export", user_id, None, None, {"submissions": 1, "sessions": 0}, "ok"),
        ("erase", user_id, None, {"sessions": 0}, None, "ok"),
    ]
    assert {(row["who"], row["scope"]) for row in rows} == {(f"carol of {keys.ISSUER}", "admin")}
    assert len({row["requestId"] for row in rows}) == len(rows)
    assert rows[2]["code"] == "user_not_found"
    for one in said:
        texts = [line for line in lines.parsed(one.log) if line.get("event") == "audit"]
        assert [line["message"] for line in texts] == ["act began", "act ended"]
        assert "example.com" not in one.log
        assert "Player 7" not in one.log
    table = administer("audit", user_id, "--log", str(log)).output.splitlines()
    assert len(table) == 5, "only this player's"
    who, what = f"carol of {keys.ISSUER} (admin)", "hidden no → hidden yes, recount no"
    assert table[0].endswith(f"ok        hide {user_id} by {who}: {what}; reason: {REASON}")


def test_an_act_whose_end_nobody_has_seen_is_told_as_such(
    administer: Callable[..., Said], player: Callable[..., str], tmp_path: Path
) -> None:
    begun = administer("hide", player(), "--reason", REASON).log.partition("\n")[0]
    (tmp_path / "run.log").write_text(f"{begun}\n")
    (row,) = administer("audit", "--log", str(tmp_path / "run.log"), "--json").json()
    assert (row["act"], row["outcome"], row["before"], row["after"]) == ("hide", "unseen", None, None)


def test_what_it_cannot_do_it_says_in_one_sentence(
    administer: Callable[..., Said],
    player: Callable[..., str],
    guarded: Guarded,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    user_id = player()
    assert administer("hide", user_id, "--reason", "it was bob@example.com").status == 1
    no_log = administer("audit")
    assert (no_log.status, no_log.told.count("\n")) == (2, 1)
    assert "make run | tee run.log" in no_log.told
    monkeypatch.setenv("TOKEN", tokens.issue(guarded.folder, "player", user_id))
    refused = administer("hide", user_id, "--reason", REASON)
    assert (refused.status, refused.output, refused.told.count("\n")) == (1, "", 1)
    assert refused.told.startswith("The API refuses (not_allowed): ")
    assert "act began" not in refused.log
    monkeypatch.delenv("TOKEN")
    assert "put one of the scope admin into TOKEN" in administer("hide", user_id, "--reason", REASON).told
    monkeypatch.setenv("BASE_URL", "http://127.0.0.1:1")
    away = administer("find", user_id)
    assert (away.status, away.told.count("\n")) == (2, 1)
    assert "cannot be reached" in away.told


def test_a_try_whose_answer_was_lost_is_asked_for_again(
    administer: Callable[..., Said], player: Callable[..., str], guarded: Guarded, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first try of each is done, and its answer lost: the second must end as the first did."""
    monkeypatch.setattr(asking, "PATIENCE_SECONDS", 0)
    user_id = player(score=9_000)
    with wires.proxy_to(httpx.URL(guarded.base_url).port or 0) as proxy:
        monkeypatch.setenv("BASE_URL", f"http://127.0.0.1:{proxy.port}")
        proxy.cuts = 1
        hidden = administer("hide", user_id, "--reason", REASON)
        assert (hidden.status, hidden.output) == (0, f"{user_id} is hidden, as before: nothing was changed.\n")
        assert hidden.told.startswith("Asking again in 0 s: no answer came (")
        proxy.cuts = 1
        corrected = administer("correct", user_id, "300", "--reason", REASON)
        assert (corrected.status, corrected.output) == (0, f"{user_id} has 300 instead of 9,000 (hidden).\n")
        proxy.cuts = 1
        erased = administer("erase", user_id, "--yes")
        assert (erased.status, erased.output) == (0, f"{user_id} is erased.\n"), erased.told
        proxy.cuts = asking.TRIES
        unknown = administer("correct", player(), "300", "--reason", REASON)
    assert (unknown.status, unknown.output) == (1, "")
    assert "Nobody knows whether it was done (no answer came): give the same command again." in unknown.told
    assert re.search(r"With --key [0-9a-f-]{36} it cannot be done twice\.\n\Z", unknown.told)
