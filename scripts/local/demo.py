"""Demo players: the same thousand every time, with scores as games have them - many low ones and a few far ahead.

Most have played once: each game is two round trips that the first `make run` waits for.
"""

import random
from dataclasses import dataclass

from scripts import signals
from shared import board, players
from shared.config import Rules
from shared.problems import UserExists
from shared.store import Store

PLAYERS = 1000
MEDIAN_SCORE = 2_600
SPREAD = 1.25
"""The standard deviation of the score's logarithm: the best of a thousand has about fifty times the median."""

FIRST_WORDS = (
    "Amber Arctic Blazing Brave Clever Cosmic Crimson Dark Electric Frozen Ghost Golden Happy Hyper Iron Jade Lazy "
    "Lucky Lunar Mad Mystic Neon Night Pixel Quantum Quiet Rapid Rogue Rusty Savage Shadow Silent Silver Sneaky Solar "
    "Storm Swift Turbo Velvet Wild"
).split()
LAST_WORDS = (
    "Badger Bandit Bear Comet Crow Cobra Dragon Falcon Ferret Fox Gecko Goblin Hawk Hunter Jackal Knight Koala Lynx "
    "Mantis Moth Ninja Otter Owl Panda Panther Phoenix Pilot Pirate Puffin Raven Rider Samurai Shark Sparrow Tiger "
    "Viper Walrus Wizard Wolf Yeti"
).split()


@dataclass(frozen=True)
class Player:
    """A player and the scores of their games in order; the best, which is the last, stands."""

    user_id: str
    username: str
    email: str
    scores: list[int]


def user_id(number: int) -> str:
    """The id of the player with this number, from 1 to PLAYERS."""
    return f"demo-{number:04}"


def player(number: int, rules: Rules) -> Player:
    """The player with this number, always the same; scores stay within the rules."""
    chance = random.Random(number)
    username = _username(chance)
    best = chance.lognormvariate(0, SPREAD) * MEDIAN_SCORE
    shares = sorted(chance.uniform(0.2, 1) for _ in range(int(chance.expovariate(1))))
    scores = [min(max(round(best * share), rules.score_min), rules.score_max) for share in [*shares, 1]]
    return Player(user_id(number), username, f"{username.lower()}.{number}@example.com", scores)


def fill(store: Store, rules: Rules) -> int:
    """Creates the demo players if the board is empty, and goes on where an earlier fill was interrupted.

    Returns how many it created.
    """
    total, (first, last) = store.ask(("ZCARD", board.BOARD), ("ZMSCORE", board.BOARD, user_id(1), user_id(PLAYERS)))
    is_unfinished = first is not None and last is None
    if total and not is_unfinished:
        return 0
    return sum(_create(store, rules, player(number, rules)) for number in range(1, PLAYERS + 1))


@signals.held()
def _create(store: Store, rules: Rules, new: Player) -> bool:
    try:
        players.create(store, rules, None, user_id=new.user_id, username=new.username, email=new.email)
    except UserExists:
        return False
    for score in new.scores:
        players.submit(store, rules, None, user_id=new.user_id, score=score, operator="best")
    return True


def _username(chance: random.Random) -> str:
    first, last = chance.choice(FIRST_WORDS), chance.choice(LAST_WORDS)
    number = chance.choice(["", "", "", str(chance.randint(2, 99)), str(chance.randint(1985, 2012))])
    style = chance.choice(["{}{}{}", "{}{}{}", "{}_{}{}", "{}-{}{}"])
    name = style.format(first, last, number)
    return name.lower() if chance.random() < 0.3 else name
