"""The hours of the week in which a release is not scaled to zero (`serving.warm`)."""

from __future__ import annotations

import difflib
import re
import zoneinfo
from datetime import timedelta
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainSerializer,
    SerializerFunctionWrapHandler,
    WithJsonSchema,
    WrapSerializer,
    model_validator,
)

from serinus.core.release import WarmHours
from serinus.spec.quantities import Kind, wrong
from serinus.spec.section import Section, conflict

_MINUTE = timedelta(minutes=1)
_DAY = timedelta(days=1)

# --- a time of the day ------------------------------------------------------------------------------------

CLOCK = Kind("time", "a time from 00:00 to 24:00, such as 07:30")


def parse_clock(value: object) -> timedelta:
    """Parses a time of day as the time since midnight. Raises an error that pydantic reports for the field."""
    if isinstance(value, timedelta):
        return value
    text = str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""
    if (found := re.fullmatch(r"(\d{1,2})(:?)([0-5]\d)?", text)) is None:
        raise wrong(CLOCK)
    since_midnight = timedelta(hours=int(found[1]), minutes=int(found[3] or 0))
    if since_midnight > _DAY:
        raise wrong(CLOCK)
    if not (found[2] and found[3]):
        raise wrong(CLOCK, format_clock(since_midnight))
    return since_midnight


def format_clock(value: timedelta) -> str:
    """Returns the time of day in the form `HH:MM`."""
    return "{:02}:{:02}".format(*divmod(value // _MINUTE, 60))


# --- days and places --------------------------------------------------------------------------------------

DAY = Kind("day", "one of mon, tue, wed, thu, fri, sat, sun")
ZONE = Kind("time zone", "a time zone such as Europe/Berlin or UTC")

_Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
_DAYS: tuple[_Day, ...] = get_args(_Day)


def _day(value: object) -> object:
    if value not in _DAYS:
        start = str(value).lower()[:3]
        raise wrong(DAY, start if start in _DAYS else None)
    return value


def _zone(value: str) -> str:
    try:
        zoneinfo.ZoneInfo(value)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as error:
        known = {name.lower(): name for name in zoneinfo.available_timezones()}
        near = difflib.get_close_matches(value.lower(), known, n=1)
        raise wrong(ZONE, known[near[0]] if near else None) from error
    return value


# --- the section ------------------------------------------------------------------------------------------

_Clock = Annotated[
    timedelta,
    BeforeValidator(parse_clock),
    PlainSerializer(format_clock, return_type=str),
    WithJsonSchema({"type": "string", "pattern": r"^\d{1,2}:[0-5]\d$", "description": CLOCK.words}),
    CLOCK,
]


class Hours(Section):
    """Hours on some days of the week, in one time zone."""

    from_: _Clock = Field(alias="from", description="Start, by the clock of `timezone`.")
    to: _Clock = Field(description="End; on the next day if it is not after `from`.")
    days: tuple[Annotated[_Day, BeforeValidator(_day), DAY], ...] = Field(
        default=_DAYS, description="The days on which the hours start."
    )
    timezone: Annotated[str, AfterValidator(_zone), ZONE] = Field(
        default="UTC", description="The time zone, which includes daylight saving."
    )

    @model_validator(mode="after")
    def _some_time(self) -> Hours:
        if self.from_ >= _DAY:
            raise conflict("from", "a time before 24:00", format_clock(self.from_))
        if self.to == self.from_:
            raise conflict("to", "another time than 'from'", format_clock(self.to))
        if not self.days:
            raise conflict("days", "at least one day", "none")
        return self


def warm_hours(hours: Hours) -> WarmHours:
    """Returns the hours as a value of `core`."""
    ends = hours.to if hours.to > hours.from_ else hours.to + _DAY
    days = tuple(sorted({_DAYS.index(day) for day in hours.days}))
    return WarmHours(hours.from_ // _MINUTE, ends // _MINUTE, days, hours.timezone)


# --- all of them, or a word -------------------------------------------------------------------------------

ALWAYS = (Hours.model_validate({"from": "00:00", "to": "24:00"}),)
"""The hours that `true` stands for. `false` stands for none."""

_HOURS = "list of {from: TIME, to: TIME}"
WARM = Kind(f"`true`, `false` or {_HOURS}", f"true, false or a {_HOURS}")
_SWITCH = {"on": "true", "yes": "true", "always": "true", "off": "false", "no": "false", "never": "false"}


def _read(value: object) -> object:
    if isinstance(value, bool):
        return ALWAYS if value else ()
    if not isinstance(value, tuple):
        raise wrong(WARM, _SWITCH.get(str(value).lower()))
    return value


def _written(value: Any, handler: SerializerFunctionWrapHandler) -> Any:
    return value == ALWAYS if value in ((), ALWAYS) else handler(value)


Warm = Annotated[
    tuple[Hours, ...],
    BeforeValidator(_read, json_schema_input_type=bool | tuple[Hours, ...]),
    WrapSerializer(_written),
    WARM,
]
