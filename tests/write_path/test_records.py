"""The records: scripts, contract and glossary have lists of their own, and none differs from the layer's."""

from __future__ import annotations

import re
import typing
from pathlib import Path
from typing import Any

import pytest
import valkey

from functions.create_user.handler import Arguments
from shared import board, fields, people, records
from tests.support import contract
from tests.support.api import Api
from tests.write_path.lua import LUA, SUBMISSION, run, submission

GUARANTEES = Path(board.__file__).parent.parent / "docs" / "guarantees.md"

SUBMIT, PROJECT = ((LUA / f"{script}.lua").read_text(encoding="utf-8") for script in ("submit", "project"))

ARGUMENTS = {name: str(field.data_key) for name, field in Arguments().fields.items()}
"""What POST /users takes: the names outside, by the names inside."""

IGNORED = {name for name, field in Arguments().fields.items() if isinstance(field, fields.Ignored)}


def listed(script: str, pattern: str) -> list[str]:
    """The names in a script's only list that matches a pattern."""
    (found,) = re.findall(pattern, script)
    return re.findall(r"\w+", found)


def outside(name: str) -> str:
    """A name as the hash and the contract write it: a field of a request's arguments derives it."""
    arguments = fields.Arguments.from_dict({name: fields.user_id()})
    return str(arguments().fields[name].data_key)


TOLD = listed(SUBMIT, r"TOLD = \{(.*)\}")
COUNTED = listed(SUBMIT, r"'HMGET', KEYS\[1\],\s+(.*), unpack\(TOLD\)\)")


def test_submit_takes_a_submission() -> None:
    assert listed(SUBMIT, r"local ([\w\s,]+) = unpack\(ARGV\)") == [*records.Submission._fields]


def test_submit_keeps_what_a_creation_tells() -> None:
    assert ["userId", *TOLD] == [outside(name) for name in records.Creation._fields]


def test_submit_replies_with_an_outcome() -> None:
    assert [*COUNTED, *TOLD] == [*records.Profile._fields]
    counted = listed(SUBMIT, r"local ([\w\s,]+) = unpack\(stored\)")
    assert [outside(name) for name in counted] == COUNTED
    facts = ["word", *records.Facts._fields]
    assert listed(SUBMIT, r"local function accepted\((.*)\)") == facts
    assert listed(SUBMIT, r"return \{(word[\w\s,]+), unpack\(told") == [*facts, *counted]
    assert records.Outcome._fields == ("word", "facts", "profile")


def test_an_export_knows_what_every_letter_of_a_receipt_means() -> None:
    (letters,) = re.findall(r"local LETTERS = \{(.*)\}", SUBMIT)
    assert {letter: word for word, letter in re.findall(r"(\w+) = '(\w)'", letters)} == people.OPERATORS


def test_submit_writes_all_of_a_profile() -> None:
    changed = listed(SUBMIT, r"redis.call\('HSET', KEYS\[1\], ('score'[^)]*)\)")
    created = listed(SUBMIT, r"local fields, user_id = \{(.*)\}, ")
    assert {*changed[::2], *created[::2], *TOLD} == {*records.Profile._fields} - {"hidden"}
    assert [outside(name) for name in changed[1::2]] == changed[::2]


def test_project_takes_a_state() -> None:
    assert listed(PROJECT, r"local ([\w\s,]+) = unpack\(ARGV\)") == [*records.State._fields, "intent"]


def test_project_reads_and_writes_a_row() -> None:
    read = listed(PROJECT, r"local ([\w\s,]+) =\s+string.match\(redis.call\('HGET', players")
    assert [name.removeprefix("row_") for name in read] == [*records.Row._fields]
    assert listed(PROJECT, r"table.concat\(\{(.*)\}, ' '\)") == [*records.Row._fields]
    (pattern,) = re.findall(r"'(\^\(%d\+\) .*)'", PROJECT)
    ours = records.ROW.replace("(?s)", "^").replace(r"\Z", "$").replace("{1,16}", "+")
    assert pattern.replace("%-", "-").replace("%d", "[0-9]") == ours


def test_project_replies_with_a_projection() -> None:
    assert listed(PROJECT, r"\nreturn \{(.*)\}") == [*records.Projection._fields]


def test_a_profile_is_the_whole_hash_and_the_row_shows_its_state(api: Api, raw: valkey.Valkey) -> None:
    api.create(userId="ada", score=100)
    outcome = records.outcome(run(raw, "submit", SUBMISSION, submission("decrement")))
    assert outcome.facts == ("a" * 12, "decrement", "100", "93")
    assert (outcome.word, outcome.profile.score, outcome.profile.bestScore) == ("done", "93", "100")
    known = {name: text for name, text in outcome.profile._asdict().items() if text is not None}
    assert raw.hgetall("user:ada") == {"userId": "ada", **known}
    assert {*records.Profile._fields} - {*known} == {"hidden"}
    state = records.state_of("ada", outcome.profile)
    assert state == records.state("ada", raw.hmget("user:ada", *records.STATE_FIELDS))
    keys = [board.BOARD, board.PLAYERS, board.TOTALS, board.SWEEP, board.PENDING]
    projection = records.Projection(*run(raw, "project", keys, [*state]))
    assert projection == (state.revision, 0, 0, 1, "93", "", 1)
    row = records.row(raw.hget(board.PLAYERS, "ada"))
    assert row == (state.revision, state.score, state.games_played, "0", state.shown)


@pytest.mark.parametrize("record", [records.User, records.Entry, board.Neighbour, board.Standing, board.Page])
def test_the_contract_has_the_same_members(record: Any) -> None:
    schemas = contract.document()["components"]["schemas"]
    schema = schemas["LeaderboardPage" if record is board.Page else record.__name__]
    known = typing.get_type_hints(record, include_extras=True)
    assert [*schema["properties"]] == [*record.__annotations__] == [*known]
    assert schema["required"] == [name for name in known if typing.get_origin(known[name]) is not typing.NotRequired]


def test_a_creation_is_what_the_contract_and_the_handler_take() -> None:
    told = {*records.Creation._fields, "score"}
    assert {*ARGUMENTS} - IGNORED == told
    schema = contract.document()["components"]["schemas"]["CreateUser"]
    assert {*schema["properties"]} == {*ARGUMENTS.values()}


def test_what_is_read_of_a_profile_is_there() -> None:
    assert {*records.USER_FIELDS} == {*records.Profile._fields} - {"revision", "bestScore", "hidden"}
    assert {*records.STATE_FIELDS} <= {*records.Profile._fields}


def test_an_entry_is_made_of_what_is_shown() -> None:
    assert {*records.Entry.__annotations__} == {"rank", "userId", "score", "level", *records.SHOWN}


@pytest.mark.parametrize(
    "record",
    [kind for kind in vars(records).values() if isinstance(kind, type) and kind.__module__ == records.__name__]
    + [board.Standing],
)
def test_every_record_is_a_word_of_the_glossary(record: type) -> None:
    _, words = GUARANTEES.read_text(encoding="utf-8").split("\n## Words\n")
    name = record.__name__.lower()
    assert re.search(rf"(?m)^\| {name} \||\*{name}\*", words)
