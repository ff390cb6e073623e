"""`make smoke`: how it runs its checks, and that they are those which terraform/README.md lists."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Generator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from scripts.aws import live_checks, smoke, verdicts
from scripts.aws.live_checks import CHECKS, Check, Deployment
from scripts.aws.verdicts import NO, NOT_KNOWN, OK, Verdict
from scripts.places import ROOT
from scripts.refusal import Refusal

NOWHERE = Deployment("leaderboard-dev", {}, {}, lambda *_: None)


def after(rounds: int, closed: list[str] | None = None) -> Check:
    """A check that sees what it waits for after so many looks."""

    def check(_: Deployment) -> Generator[str, None, Verdict]:
        try:
            for number in range(rounds):
                yield f"look {number + 1}"
        finally:
            (closed if closed is not None else []).append("closed")
        return Verdict("some", "it", "it", OK)

    return check


def forbidden(_: Deployment) -> Generator[str, None, Verdict]:
    """A check that the caller has no permission for."""
    yield from ()
    raise ClientError({"Error": {"Code": "AccessDenied"}}, "GetTraces")


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smoke, "LOOK_SECONDS", 0.0)


def test_each_check_waits_for_itself_and_they_are_told_in_their_order() -> None:
    rows = smoke.walk(NOWHERE, {"slow": after(3), "quick": after(0)}, 60)
    assert [row.verdict for row in rows] == [OK, OK]


def test_what_is_never_seen_is_wrong_and_is_put_back() -> None:
    closed: list[str] = []
    (row,) = smoke.walk(NOWHERE, {"alarms": after(10**9, closed)}, 0)
    assert (row.check, row.seen, row.verdict) == ("alarms", "look 1", NO)
    assert closed == ["closed"]


def test_what_one_may_not_see_is_not_known_and_hinders_no_other() -> None:
    rows = smoke.walk(NOWHERE, {"traces": forbidden, "quick": after(1)}, 60)
    assert [(row.verdict, row.seen) for row in rows] == [(NOT_KNOWN, "GetTraces: AccessDenied"), (OK, "it")]


def test_progress_says_what_is_waited_for(capsys: pytest.CaptureFixture[str]) -> None:
    smoke.walk(NOWHERE, {"alarms": after(2)}, 60)
    assert re.search(r"^0 of 1 checks, \d+ s, waiting for alarms: look 1$", capsys.readouterr().err, re.MULTILINE)


class TestTheCommand:
    @pytest.fixture
    def applied(self, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
        """The outputs that terraform prints. Only one check runs."""
        outputs: dict[str, Any] = {"api_url": "https://api"}
        monkeypatch.setattr(smoke.infrastructure, "outputs", lambda _: outputs)
        return outputs

    @pytest.mark.usefixtures("applied")
    @pytest.mark.parametrize(("rounds", "status"), [(0, 0), (10**9, 1)])
    def test_its_status_says_whether_all_is_well(
        self,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
        rounds: int,
        status: int,
    ) -> None:
        monkeypatch.setattr(smoke, "CHECKS", {"some": after(rounds)})
        assert smoke.main(["--seconds", "0", "dev"]) == status
        assert capsys.readouterr().out.splitlines()[0].split() == [*verdicts.HEAD]
        assert smoke.main(["--json", "--seconds", "0", "dev"]) == status
        (row,) = json.loads(capsys.readouterr().out)
        assert row["check"] == "some"

    def test_an_environment_that_is_not_there_is_refused(
        self, applied: dict[str, Any], capsys: pytest.CaptureFixture[str]
    ) -> None:
        applied.clear()
        assert smoke.main(["dev"]) == 2
        assert capsys.readouterr().err == "dev has not been applied: run make apply ENV=dev first.\n"

    @pytest.mark.parametrize("error", [Refusal("No."), subprocess.CalledProcessError(1, "terraform")])
    def test_what_cannot_run_is_2(self, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
        def outputs(_: str) -> dict[str, Any]:
            raise error

        monkeypatch.setattr(smoke.infrastructure, "outputs", outputs)
        assert smoke.main(["dev"]) == 2


README = (ROOT / "terraform" / "README.md").read_text()


def test_the_list_of_what_only_aws_can_show_has_a_row_for_each_check_and_no_other() -> None:
    section = README.split("\n## What remains to be seen live\n")[1].split("\n## ")[0]
    assert re.findall(r"^\| `([\w-]+)` \|", section, re.MULTILINE) == [*CHECKS]
    assert len(re.findall(r"^\|", section, re.MULTILINE)) == len(CHECKS) + 2, "no row without a check"


def test_every_check_says_what_it_shows() -> None:
    assert all(check.__doc__ for check in CHECKS.values())
    assert all(getattr(live_checks, name.replace("-", "_")) is check for name, check in CHECKS.items())
