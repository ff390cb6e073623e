"""`make destroy`, `make snapshot` and `make retire` on an emulated ElastiCache: what goes, what stays, and
how they go on after a break.

terraform is a script here, which keeps a list of addresses as its state and fails where a test wants it to.
"""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from scripts.aws import caches
from scripts.places import ROOT
from tests.support import aws_api

TERRAFORM = """#!/bin/sh
if [ "$1" = version ]; then echo '{"terraform_version": "1.11.4"}'; exit; fi
shift
echo "$*" >> "CALLS"
if [ -n "$BREAKS" ]; then case "$*" in $BREAKS*) echo broken >&2; exit 1;; esac; fi
case "$1 $2" in
  "state list") cat "STATE";;
  "state rm") shift 2; for one in "$@"; do grep -vF "$one" "STATE" > "STATE.new"; mv "STATE.new" "STATE"; done;;
  destroy*) : > "STATE";;
esac
"""

ADDRESS = 'module.leaderboard.module.cache[0].aws_elasticache_serverless_cache.this["{}"]'

OTHERS = ["module.leaderboard.aws_kms_key.operations", "module.leaderboard.module.cache[0].aws_elasticache_user.board"]

FUNCTION = "leaderboard-dev-rank"


def plant(root: Path) -> None:
    """Copies what a command needs: its scripts, what they import, one function, the names of the values."""
    shutil.copytree(ROOT / "scripts", root / "scripts", ignore=shutil.ignore_patterns("node_modules"))
    shutil.copytree(ROOT / "shared", root / "shared")
    shutil.copytree(ROOT / "functions" / "rank", root / "functions" / "rank")
    (root / "terraform").mkdir()
    shutil.copy(ROOT / "terraform" / "variables.tf", root / "terraform")
    (root / "locks").mkdir()
    (root / "locks" / "layer.lock").write_text("# nothing\n")


class Takedown:
    """A tree for dev in an account of its own, with dev's caches and other environments'."""

    def __init__(self, folder: Path, account: aws_api.Account):
        self.root, self.bin, self.calls_file, self.state = (folder / name for name in ("tree", "bin", "calls", "state"))
        self.account = account
        plant(self.root)
        states = f"states-{account.id}"
        account.client("s3").create_bucket(
            Bucket=states, CreateBucketConfiguration={"LocationConstraint": aws_api.REGION}
        )
        self.write("terraform/backend.hcl", f'bucket = "{states}"\nregion = "{aws_api.REGION}"\n')
        self.values("")
        self.bin.mkdir()
        script = TERRAFORM.replace("CALLS", str(self.calls_file)).replace("STATE", str(self.state))
        (self.bin / "terraform").write_text(script)
        (self.bin / "terraform").chmod(0o755)
        for tool in ("cat", "grep", "mv"):
            (self.bin / tool).symlink_to(shutil.which(tool) or tool)
        self.elasticache = self.account.client("elasticache")
        self.make("dev")
        self.make("other")
        self.state.write_text("\n".join([*OTHERS, ADDRESS.format("")]) + "\n")

    def write(self, name: str, text: str) -> None:
        """Writes a file of the tree."""
        (self.root / name).parent.mkdir(parents=True, exist_ok=True)
        (self.root / name).write_text(text)

    def values(self, more: str) -> None:
        """Sets what dev's file says."""
        self.write("terraform/environments/dev.tfvars", f'region = "eu-central-1"\nenvironment = "dev"\n{more}\n')

    def make(self, environment: str, suffix: str = "") -> None:
        """Makes a cache of an environment, in its user group."""
        group = f"leaderboard-{environment}"
        if not suffix:
            self.elasticache.create_user_group(UserGroupId=group, Engine="valkey")
        self.elasticache.create_serverless_cache(
            ServerlessCacheName="-".join(filter(None, (group, suffix))),
            Engine="valkey",
            UserGroupId=group,
            KmsKeyId="arn:aws:kms:eu-central-1:123456789012:key/data",
        )

    def deploy(self, cache: str) -> None:
        """Makes a function of dev whose alias points to a version that connects to a cache."""
        role = self.account.client("iam").create_role(RoleName="any", AssumeRolePolicyDocument="{}")["Role"]["Arn"]
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w") as archive:
            archive.writestr("handler.py", "")
        awslambda = self.account.client("lambda")
        awslambda.create_function(
            FunctionName=FUNCTION,
            Runtime="python3.12",
            Role=role,
            Handler="handler.handler",
            Code={"ZipFile": content.getvalue()},
            Environment={"Variables": {"VALKEY_IAM_CACHE": cache}},
            Publish=True,
        )
        awslambda.create_alias(FunctionName=FUNCTION, Name="live", FunctionVersion="1")

    def do(self, script: str, *arguments: str, typed: str = "", breaks: str = "") -> subprocess.CompletedProcess[str]:
        """Runs what `make` runs and answers its question with `typed`. The terraform command that begins with `breaks`
        fails."""
        environment = {**self.account.variables, "PATH": str(self.bin), "HOME": str(self.root), "BREAKS": breaks}
        return subprocess.run(
            [sys.executable, "-B", "-m", f"scripts.aws.{script}", *arguments],
            cwd=self.root,
            env=environment,
            input=typed,
            check=False,
            capture_output=True,
            text=True,
        )

    def caches(self) -> set[str]:
        """The names of all caches."""
        return {one["ServerlessCacheName"] for one in self.elasticache.describe_serverless_caches()["ServerlessCaches"]}

    def snapshots(self) -> list[str]:
        """The ARNs of dev's snapshots."""
        return [str(snapshot["ARN"]) for snapshot in caches.snapshots(self.elasticache, "leaderboard-dev")]

    def did(self) -> list[str]:
        """Terraform's calls since the last look, without init and without options."""
        lines = self.calls_file.read_text().splitlines() if self.calls_file.exists() else []
        self.calls_file.unlink(missing_ok=True)
        return [re.sub(r" -var-file=\S+", "", line) for line in lines if not line.startswith("init")]


@pytest.fixture
def takedown(tmp_path: Path, account: aws_api.Account, built: Path) -> Takedown:
    """A tree in an account that no other test has."""
    one = Takedown(tmp_path, account)
    shutil.copytree(built, one.root / "build")
    return one


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The zips that dev's values ask for; every such tree has the same."""
    root = tmp_path_factory.mktemp("built")
    plant(root)
    subprocess.run([sys.executable, "-B", "-m", "scripts.aws.build"], cwd=root, check=True, capture_output=True)
    return root / "build"


class TestDestroy:
    @pytest.mark.parametrize("typed", ["", "yes\n"])
    def test_nothing_changes_unless_the_name_is_typed(self, takedown: Takedown, typed: str) -> None:
        done = takedown.do("destroy", "dev", typed=typed)
        assert done.returncode == 2
        assert (
            "This destroys leaderboard-dev in eu-central-1, with its data, in the cache leaderboard-dev." in done.stderr
        )
        assert done.stderr.endswith(f"Nothing was changed: that was {typed.strip()!r}, and not 'dev'.\n")
        assert takedown.caches() == {"leaderboard-dev", "leaderboard-other"}
        assert takedown.did() == []

    def test_the_data_outlives_the_rest_in_a_snapshot_that_is_named(self, takedown: Takedown) -> None:
        takedown.make("dev", "r1")
        takedown.state.write_text(takedown.state.read_text() + ADDRESS.format("r1") + "\n")
        done = takedown.do("destroy", "dev", "-parallelism=5", typed="dev\n")
        assert done.returncode == 0, done.stderr
        assert takedown.caches() == {"leaderboard-other"}
        first, second = takedown.snapshots()
        assert all(f"Left: the snapshot {arn}\n" in done.stdout for arn in (first, second))
        assert re.search(r":leaderboard-dev-\d{14}$", first)
        assert re.search(r":leaderboard-dev-r1-\d{14}$", second)
        assert "aws kms cancel-key-deletion --key-id arn:aws:kms:eu-central-1:123456789012:key/data &&" in done.stdout
        assert takedown.did() == [
            "state list",
            f"state rm {ADDRESS.format('')} {ADDRESS.format('r1')}",
            "destroy -auto-approve -parallelism=5",
        ]

    @pytest.mark.parametrize("breaks", ["state list", "state rm", "destroy"])
    def test_it_goes_on_after_any_break(self, takedown: Takedown, breaks: str) -> None:
        broken = takedown.do("destroy", "dev", typed="dev\n", breaks=breaks)
        assert broken.returncode in (1, 2)
        assert "again" in broken.stderr.splitlines()[-1]
        assert takedown.state.read_text(), "the rest is still there"
        done = takedown.do("destroy", "dev", typed="dev\n")
        assert done.returncode == 0, done.stderr
        self.is_over(takedown)
        assert f"Left: the snapshot {takedown.snapshots()[0]}\n" in done.stdout

    def test_a_cache_that_terraform_has_forgotten_goes_too(self, takedown: Takedown) -> None:
        """As after a break between the change to the state and the one to AWS."""
        takedown.state.write_text("\n".join(OTHERS) + "\n")
        assert takedown.do("destroy", "dev", typed="dev\n").returncode == 0
        self.is_over(takedown)

    def test_a_cache_that_aws_has_forgotten_is_no_hindrance(self, takedown: Takedown) -> None:
        takedown.elasticache.delete_serverless_cache(ServerlessCacheName="leaderboard-dev", FinalSnapshotName="own")
        done = takedown.do("destroy", "dev", typed="dev\n")
        assert "leaderboard-dev in eu-central-1, which has no cache any more." in done.stderr
        assert done.returncode == 0
        self.is_over(takedown)

    def is_over(self, takedown: Takedown) -> None:
        assert takedown.state.read_text() == ""
        assert takedown.caches() == {"leaderboard-other"}
        assert len(takedown.snapshots()) == 1

    def test_an_unknown_environment_is_named(self, takedown: Takedown) -> None:
        assert takedown.do("destroy", "qa", typed="qa\n").stderr.startswith("ENV=qa is unknown: use ENV=dev")


class TestSnapshot:
    def test_it_prints_what_a_second_cache_is_made_from(self, takedown: Takedown) -> None:
        done = takedown.do("caches", "snapshot", "dev")
        assert (done.returncode, done.stderr) == (0, "")
        assert [done.stdout.strip()] == takedown.snapshots()
        made = takedown.elasticache.create_serverless_cache(
            ServerlessCacheName="leaderboard-dev-r1", Engine="valkey", SnapshotArnsToRestore=[done.stdout.strip()]
        )
        assert made["ServerlessCache"]["ServerlessCacheName"] == "leaderboard-dev-r1"

    def test_it_is_of_the_cache_in_use(self, takedown: Takedown) -> None:
        takedown.make("dev", "r1")
        takedown.values('caches = { r1 = {} }\ncache_in_use = "r1"')
        assert ":leaderboard-dev-r1-" in takedown.do("caches", "snapshot", "dev").stdout

    def test_a_cache_that_is_not_there_is_named(self, takedown: Takedown) -> None:
        takedown.elasticache.delete_serverless_cache(ServerlessCacheName="leaderboard-dev")
        done = takedown.do("caches", "snapshot", "dev")
        assert done.returncode == 2
        assert done.stderr.startswith("The cache leaderboard-dev is not there:")

    def test_names_have_room_for_the_longest_cache(self) -> None:
        longest = caches.snapshot_name("a-name-of-thirty-characters-30-ninechars")
        assert len(longest) <= caches.LONGEST_NAME
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", longest)


class TestRetire:
    @pytest.fixture
    def switched(self, takedown: Takedown) -> Takedown:
        """The values use the second cache and no longer list the first."""
        takedown.make("dev", "r1")
        takedown.state.write_text(takedown.state.read_text() + ADDRESS.format("r1") + "\n")
        takedown.values('caches = { r1 = {} }\ncache_in_use = "r1"')
        return takedown

    def test_the_old_cache_goes_with_a_last_snapshot(self, switched: Takedown) -> None:
        switched.deploy("leaderboard-dev-r1")
        done = switched.do("caches", "retire", "dev", "")
        assert done.returncode == 0, done.stderr
        assert switched.caches() == {"leaderboard-dev-r1", "leaderboard-other"}
        assert done.stdout == f"leaderboard-dev is gone. Its last snapshot: {switched.snapshots()[0]}\n"
        assert switched.did() == ["state list", f"state rm {ADDRESS.format('')}"]

    def test_not_while_a_function_uses_it(self, switched: Takedown) -> None:
        switched.deploy("leaderboard-dev")
        assert "leaderboard-dev is still used by rank: " in self.refused(switched, "")

    def test_not_the_one_in_use(self, switched: Takedown) -> None:
        assert self.refused(switched, "r1").startswith("leaderboard-dev-r1 is the cache in use")

    def test_not_what_the_next_apply_would_make_anew(self, switched: Takedown) -> None:
        switched.values('caches = {\n  "" = {}\n  r1 = { restore_snapshot_arn = "arn:x=y" }\n}\ncache_in_use = "r1"')
        assert self.refused(switched, "").startswith("terraform/environments/dev.tfvars still has it among its caches")

    def test_not_what_is_not_there(self, switched: Takedown) -> None:
        assert self.refused(switched, "r2") == "There is no cache leaderboard-dev-r2 of this environment.\n"

    def refused(self, takedown: Takedown, suffix: str) -> str:
        before = takedown.caches()
        done = takedown.do("caches", "retire", "dev", suffix)
        assert (done.returncode, done.stdout) == (2, "")
        assert len(done.stderr.splitlines()) == 1
        assert takedown.caches() == before
        assert takedown.did() == []
        return done.stderr


@pytest.mark.parametrize(
    ("text", "suffixes"),
    [
        ("", [""]),
        ("caches = { r1 = {} }", ["r1"]),
        ('caches = { "" = {}, "r1" = { restore_snapshot_arn = "arn:aws:x" } }\nother = { a = 1 }', ["", "r1"]),
        ('caches={\n  "" = {}\n\n  r2 = {\n    restore_snapshot_arn = "arn:aws:x"\n  }\n}\n', ["", "r2"]),
    ],
)
def test_the_caches_of_an_environments_values_are_read(tmp_path: Path, text: str, suffixes: list[str]) -> None:
    (tmp_path / "dev.tfvars").write_text(f'region = "eu-central-1"\n{text}\n')
    assert caches.listed(tmp_path / "dev.tfvars") == suffixes


def test_make_passes_the_environment_and_the_arguments() -> None:
    if shutil.which("make") is None:
        pytest.skip("make is not on this machine")
    kept = {name: text for name, text in os.environ.items() if name not in ("MAKEFLAGS", "MAKEOVERRIDES", "MFLAGS")}
    for words, line in (
        (("destroy", "ARGS=-no-color"), '-m scripts.aws.destroy "dev" -no-color'),
        (("snapshot",), '-m scripts.aws.caches snapshot "dev"'),
        (("retire", "CACHE=r1"), '-m scripts.aws.caches retire "dev" "r1"'),
    ):
        command = ["make", "--no-print-directory", "-n", *words, "ENV=dev"]
        shown = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True, env=kept).stdout
        assert line in shown
