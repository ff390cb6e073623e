"""The arguments' rules, each written once: `functions/openapi.yaml` states the same ones, and a test binds the two."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping
from typing import Any

import orjson
from marshmallow import RAISE, Schema, fields, missing
from marshmallow.exceptions import ValidationError

from shared.config import ID_PATTERN, LARGEST_SCORE, settings
from shared.problems import NO_INTEGER_WITHIN

_BAD = (
    r"\u0000-\u001f\u007f-\u009f\u00ad\u061c\u115f\u1160\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f"
    r"\u2800\u3164\ufeff\uffa0\ufff0-\uffff" + "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
)
"""Control characters, characters that are invisible or change the direction, and the replacement character."""

_SURROGATE = re.compile(r"[\ud800-\udfff]")
"""Half a surrogate pair is never part of a text. The patterns do not say so, as many engines refuse such a range."""

_END = rf"\s\u200c\u200d{_BAD}"
_START = rf"{_END}\u034f\u17b4\u17b5\u180b-\u180d\u180f\ufe00-\ufe0f" + "\U0001d159\U000e0000-\U000e0fff"
"""What a name must not end or begin with: joiners, selectors and tags belong to a name only after other characters."""

REASON_PATTERN = rf"^[^{_END}@](?:[^{_BAD}@]*[^{_END}@])?$"
"""Without an @, as it stands in the log, where no e-mail address may."""

USERNAME_PATTERN = rf"^[^{_START}](?:[^{_BAD}]*[^{_END}])?$"
_SYMBOLS = "\u00a9\u00ae\u203c\u2049\u2122\u2139\u2190-\u2bff\u3030\u303d\u3297\u3299"
_PICTURES = "\U0001f000-\U0001faff"
_EMOJI = re.compile(
    "\U0001f3f4[\U000e0020-\U000e007e]+\U000e007f"
    "|[0-9#*]\ufe0f\u20e3"
    f"|[{_SYMBOLS}{_PICTURES}][\ufe0e\ufe0f]"
    f"|(?<=[\ufe0f{_PICTURES}])\u200d(?=[{_SYMBOLS}{_PICTURES}])"
    f"|(?<=[{_SYMBOLS}])\u200d(?=[{_PICTURES}])"
)
"""Parts of emoji that may hold what shows nothing by itself: a flag, a keycap, a picture with a selector, a joiner."""

_IGNORABLE = re.compile("[\u034f\u17b4\u17b5\u180b-\u180f\ufe00-\ufe0f\U0001d159\U000e0000-\U000e0fff]")
"""What shows nothing by itself: part of a name only within an emoji."""

_NON_JOINER, _JOINERS = "\u200c", "\u200c\u200d"

_NUKTA, _VIRAMA, _FREE = 7, 9, 200
"""Combining classes: the nukta's, from which on a mark has its own place; the virama's; and the one from which on marks
have no place of their own again, so that they go on top of each other."""

_PILE = re.compile(r"\A[cnf]|(?:c*[nf]){5}|f(?:[cn]*f){2}")
"""Combining marks on nothing, or too many of them, in a name written as the `_kind` of each character."""

_IN_A_DOMAIN = rf"[^\s@.{_BAD}](?:\.?[^\s@.{_BAD}])*"
EMAIL_PATTERN = rf"^[^\s@{_BAD}]{{1,64}}@{_IN_A_DOMAIN}\.{_IN_A_DOMAIN}$"


class Arguments(Schema):
    """A request's arguments: camelCase outside, snake_case inside; undeclared names are refused."""

    class Meta:
        unknown = RAISE

    error_messages = {"unknown": "is not a known name"}

    def on_bind_field(self, field_name: str, field_obj: fields.Field[Any]) -> None:
        """Derives the outer name from the inner one."""
        head, *tail = field_name.split("_")
        field_obj.data_key = head + "".join(word.capitalize() for word in tail)

    def disallowed(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Messages, by name, about arguments that the deployment forbids, to be listed with those that the contract
        forbids."""
        found = {}
        for field in self.fields.values():
            name = str(field.data_key)
            if isinstance(field, Score) and name in given:
                try:
                    field.within(given[name], given)
                except ValidationError as error:
                    found[name] = error.messages
        return found


class _Field(fields.Field[Any]):
    default_error_messages = {"required": "is required", "null": "must not be null"}


class Text(_Field):
    """A string that matches a pattern as a whole, limited in characters and in UTF-8 bytes."""

    def __init__(self, pattern: str, longest: int, longest_bytes: int, rule: str, **options: Any):
        super().__init__(**options)
        self.matches = re.compile(pattern.removesuffix("$") + r"\Z").match
        self.longest, self.longest_bytes = longest, longest_bytes
        self.rule = rule

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> str:
        if (
            isinstance(value, str)
            and len(value) <= self.longest
            and self.matches(value)
            and not _SURROGATE.search(value)
            and len(value.encode()) <= self.longest_bytes
        ):
            return value
        raise ValidationError(self.rule)


class Name(Text):
    """A name in NFC, with nothing hidden in it and no marks piled up."""

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> str:
        if isinstance(value, str) and len(value) <= self.longest:
            value = unicodedata.normalize("NFC", value)
        name = super()._deserialize(value, attr, data, **kwargs)
        plain = _EMOJI.sub("-", name)
        hides = _IGNORABLE.search(plain) or any(map(_hides, plain, plain[1:], plain[2:]))
        if hides or _PILE.search("".join(map(_kind, plain))):
            raise ValidationError(self.rule)
        return name


class Id(Text):
    """The id of a player or a session; no id can carry the braces of a hash tag."""

    def __init__(self, **options: Any):
        super().__init__(ID_PATTERN, 64, 64, "must be 1 to 64 letters, digits, _ or -", **options)

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> str:
        if isinstance(value, int | float) and not isinstance(value, bool):
            raise ValidationError("must be a string: send a number in quotes")
        return super()._deserialize(value, attr, data, **kwargs)


class Score(_Field):
    """A score, or the points for an operator other than set: any whole number that a double holds exactly.

    The submission applies the deployment's own bounds, once it knows that no earlier request with the same key was
    accepted under other bounds. They are named here only if the request is refused anyway.
    """

    def __init__(self, *, has_operator: bool, **options: Any):
        super().__init__(**options)
        self.has_operator = has_operator

    def within(self, value: Any, given: Mapping[str, Any]) -> int:
        """The value as an int, if the deployment allows it with these arguments. Raises ValidationError."""
        lowest, highest = -LARGEST_SCORE, LARGEST_SCORE
        if not self.has_operator or given.get("operator", settings().default_operator) == "set":
            lowest, highest, *_ = settings().rules
        return _whole(value, lowest, highest)

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> int:
        try:
            return _whole(value, -LARGEST_SCORE, LARGEST_SCORE)
        except ValidationError:
            return self.within(value, data)


class WholeText(_Field):
    """A whole number in a query string: decimal digits and nothing else."""

    def __init__(self, lowest: int, highest: int, **options: Any):
        super().__init__(**options)
        self.lowest, self.highest = lowest, highest

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> int:
        is_number = len(value) <= 16 and value.isascii() and value.isdigit()
        return _whole(int(value) if is_number else None, self.lowest, self.highest)


class Whole(_Field):
    """A whole number in a body."""

    def __init__(self, lowest: int, highest: int, **options: Any):
        super().__init__(**options)
        self.lowest, self.highest = lowest, highest

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> int:
        return _whole(value, self.lowest, self.highest)


class Flag(_Field):
    """A boolean in a body."""

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> bool:
        if isinstance(value, bool):
            return value
        raise ValidationError("must be true or false")


class OneOf(_Field):
    """One word of a list."""

    def __init__(self, *words: str, **options: Any):
        super().__init__(**options)
        self.words = words
        self.rule = f"must be one of {', '.join(words)}"

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> str:
        if isinstance(value, str) and value in self.words:
            return value
        raise ValidationError(self.rule)


class Document(_Field):
    """The client's own JSON object, limited in size (UTF-8 bytes, serialised) and depth (levels). Members whose names
    are ignored are left out, and so are not part of the payload that an idempotency key stands for."""

    def __init__(
        self, longest_bytes: int, deepest: int, ignores: Callable[[str], bool] = lambda _: False, **options: Any
    ):
        super().__init__(**options)
        self.longest_bytes, self.deepest, self.ignores = longest_bytes, deepest, ignores

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise ValidationError("must be an object")
        if _is_deeper(value, self.deepest):
            raise ValidationError(f"must not be nested deeper than {self.deepest} levels")
        try:
            size = len(orjson.dumps(value, option=orjson.OPT_STRICT_INTEGER))
        except orjson.JSONEncodeError:
            raise ValidationError(f"must hold no integer beyond {LARGEST_SCORE}") from None
        if size > self.longest_bytes:
            raise ValidationError(f"must have at most {self.longest_bytes} bytes as JSON")
        return {name: member for name, member in value.items() if not self.ignores(name)}


class Ignored(_Field):
    """Accepted with any value, because clients of other leaderboards send it, and not passed on."""

    def __init__(self) -> None:
        super().__init__(allow_none=True)

    def deserialize(self, value: Any, attr: Any = None, data: Any = None, **kwargs: Any) -> Any:
        """Leaves the argument out."""
        return missing


def user_id(**options: Any) -> Id:
    return Id(**options)


def session_id() -> Id:
    return Id(required=True)


def username(*, required: bool = True) -> Name:
    """A player's name as others see it."""
    return Name(
        USERNAME_PATTERN,
        32,
        128,
        "must be 1 to 32 characters, none of them control or invisible, with no white space at either end and no pile "
        "of combining marks",
        required=required,
    )


def email() -> Text:
    """A player's e-mail address, which nobody has to have; only its form is checked."""
    return Text(EMAIL_PATTERN, 254, 254, "must be an e-mail address of at most 254 bytes")


def new_email() -> Text:
    """An e-mail address from now on; null, which is loaded as None, for none."""
    return Text(EMAIL_PATTERN, 254, 254, "must be an e-mail address of at most 254 bytes, or null", allow_none=True)


def reason() -> Text:
    """Why a person did something to a player, for the log."""
    return Text(
        REASON_PATTERN,
        200,
        800,
        "must be 1 to 200 characters, none of them an @, control or invisible, with no white space at either end",
        required=True,
    )


def _whole(value: Any, lowest: int, highest: int) -> int:
    """The value as an int, if it is a whole number within limits, even `1500.0`; text and booleans are not numbers."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if type(value) is int and lowest <= value <= highest:
        return value
    raise ValidationError(NO_INTEGER_WITHIN.format(lowest, highest))


def _hides(before: str, character: str, after: str) -> bool:
    """Whether this is a joiner that changes nothing between its neighbours, so that a name with it looks like another.

    Next to a virama, a joiner says how the letters of an Indic script are joined; in Arabic, a non-joiner says that
    letters are not joined.
    """
    if character not in _JOINERS:
        return False
    script = _script(before)
    if script != _script(after) or unicodedata.category(before)[0] not in "LM":
        return True
    if _VIRAMA in (unicodedata.combining(before), unicodedata.combining(after)):
        return unicodedata.category(after)[0] not in "LM"
    return script != "ARABIC" or character != _NON_JOINER or unicodedata.category(after)[0] != "L"


def _script(character: str) -> str:
    """The first word of the character's name, which names the script of a letter or a mark."""
    return unicodedata.name(character, "").partition(" ")[0]


def _kind(character: str) -> str:
    """`c` for a combining mark that takes up space, `f` for one that goes on top of those before it, `n` for any other
    mark, which has its fixed place; nothing for a joiner, `-` for everything else."""
    category = unicodedata.category(character)
    if category[0] != "M":
        return "" if character in _JOINERS else "-"
    if category == "Mc":
        return "c"
    place = unicodedata.combining(character)
    return "f" if category == "Me" or 0 < place < _NUKTA or place >= _FREE else "n"


def _is_deeper(value: Any, levels: int) -> bool:
    """Whether objects and arrays are nested more than `levels` deep; the outermost is level 1."""
    level = [value]
    for _ in range(levels + 1):
        level = [item for item in level if isinstance(item, dict | list)]
        if not level:
            return False
        level = [item for parent in level for item in (parent.values() if isinstance(parent, dict) else parent)]
    return True
