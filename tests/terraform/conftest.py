"""The fixtures of this folder's tests."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support import aws_api, secretive_aws, terraforms
from tests.terraform import applies as whole_applies
from tests.terraform import plans, rehearsals
from tests.terraform.projects import Project

BEGUN_EARLY = ("applies", "rehearsal")
"""Fixtures that wait more than they work."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts last whoever needs one of them."""
    items.sort(key=lambda item: bool({*BEGUN_EARLY} & {*getattr(item, "fixturenames", ())}))


@pytest.fixture(scope="session")
def emulated_aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[aws_api.Aws]:
    """AWS as tests/support/aws_api has it. Whoever changes something there takes an account of their own."""
    with aws_api.serving(tmp_path_factory.mktemp("aws")) as serving:
        yield serving


NUMBERS = itertools.count(10**11)


@pytest.fixture
def account(emulated_aws: aws_api.Aws) -> aws_api.Account:
    """An account that no other test has."""
    return emulated_aws.account(str(next(NUMBERS)))


@pytest.fixture(scope="session")
def tree(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[plans.Tree]:
    """A copy of `terraform/`, and what it takes to plan it without AWS. Skips, by name, without Terraform."""
    terraforms.skip_unless_installed()
    aws: aws_api.Aws = request.getfixturevalue("emulated_aws")
    with plans.tree(tmp_path_factory.mktemp("plans"), aws) as ready:
        yield ready


@pytest.fixture(scope="session")
def rehearsal(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Future[None]]:
    """The life of a cache. Skips, by name, where there is no Terraform."""
    terraforms.skip_unless_installed()
    aws: aws_api.Aws = request.getfixturevalue("emulated_aws")
    with ThreadPoolExecutor(1) as thread:
        yield thread.submit(rehearsals.of_a_cache, tmp_path_factory.mktemp("rehearsal"), aws)


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The zips that dev's values ask for, which are the same in every such tree."""
    made = Project(tmp_path_factory.mktemp("built"))
    made.build("arm64", "3.12")
    return made.root / "build"


@pytest.fixture(scope="session")
def aws() -> Iterator[str]:
    """The URL of an AWS that only says who we are."""
    with secretive_aws.running() as url:
        yield url


@pytest.fixture
def project(tmp_path: Path, built: Path, aws: str) -> Project:
    """A tree of the test's own, built."""
    made = Project(tmp_path, aws)
    shutil.copytree(built, made.root / "build")
    return made


@pytest.fixture(scope="session")
def applies(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Mapping[str, Future[whole_applies.Applied]]]:
    """Every environment that belongs on AWS, applied and planned again, one of them destroyed. Skips like `tree`."""
    terraforms.skip_unless_installed()
    aws: aws_api.Aws = request.getfixturevalue("emulated_aws")
    with whole_applies.begun(tmp_path_factory.mktemp("applies"), aws) as begun:
        yield begun


@pytest.fixture(scope="session", autouse=True)
def _begin_early(request: pytest.FixtureRequest) -> None:
    """Begins those that will be asked for before the first test of the room."""
    for name in BEGUN_EARLY:
        if any(name in getattr(item, "fixturenames", ()) for item in request.session.items):
            request.getfixturevalue(name)
