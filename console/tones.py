"""From a tone's name ("warn", "dim") to a terminal style in the theme of the moment, and our two themes."""

from collections.abc import Mapping
from typing import Any, Final, Literal

from rich.style import Style
from textual.app import App
from textual.color import Color, ColorParseError
from textual.theme import Theme

Ground = Literal["base", "cursor", "rest", "flash", "header", "panel", "bad", "warn"]
"""What is behind the text: `cursor` is the chosen row, `rest` the chosen row of a view without the focus."""

THEMES: Final = (
    Theme(
        name="observe-dark",
        primary="#7aa2d6",
        secondary="#5c7ea8",
        accent="#c49ae0",
        foreground="#d5dae1",
        background="#11151b",
        surface="#161b23",
        panel="#1d242e",
        success="#7fc08a",
        warning="#e5b567",
        error="#f0766d",
        dark=True,
        variables={"info": "#6fb7c9", "border": "#33404f", "footer-key-foreground": "#7aa2d6"},
    ),
    Theme(
        name="observe-light",
        primary="#2a5f9e",
        secondary="#5c7ea8",
        accent="#7a3fa0",
        foreground="#20262e",
        background="#fafaf8",
        surface="#f1f1ee",
        panel="#e6e7e4",
        success="#24703a",
        warning="#8f5b00",
        error="#b3261e",
        dark=False,
        variables={"info": "#14687c", "border": "#b9bec4", "footer-key-foreground": "#2a5f9e"},
    ),
    Theme(
        # After Okabe and Ito, "Color Universal Design": no two of them look alike to any kind of colour-blind eyes.
        name="observe-safe",
        primary="#56b4e9",
        secondary="#4a90b8",
        accent="#cc79a7",
        foreground="#e6e6e6",
        background="#101010",
        surface="#181818",
        panel="#222222",
        success="#56b4e9",
        warning="#f0e442",
        error="#e8702a",
        dark=True,
        variables={"info": "#9ad0c0", "border": "#444444", "footer-key-foreground": "#56b4e9"},
    ),
)
"""Calm by default: colour is kept for what asks for attention. Every theme of Textual works as well."""

DARK: Final = "observe-dark"
LIGHT: Final = "observe-light"


class Tones:
    """The styles of one theme. Made anew when the theme changes; asked for each cell that is painted."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        """`variables` are the theme's, as `App.theme_variables` has them."""
        foreground = _colour(variables, "foreground", "#e0e0e0")
        background = _colour(variables, "background", "#121212")
        primary = _colour(variables, "primary", "#7aa2d6")
        good = _colour(variables, "success", "#7fc08a")
        warn = _colour(variables, "warning", "#e5b567")
        bad = _colour(variables, "error", "#f0766d")
        info = _colour(variables, "info", variables.get("primary", "#6fb7c9"))
        self._foreground = foreground
        self._styles: dict[tuple[str, str], Style] = {}
        self._grounds: dict[str, Color] = {
            "base": background,
            "cursor": background.blend(primary, 0.30),
            "rest": background.blend(foreground, 0.10),
            "flash": background.blend(warn, 0.18),
            "header": _colour(variables, "surface", "#161b23"),
            "panel": _colour(variables, "panel", "#1d242e"),
            "bad": background.blend(bad, 0.28),
            "warn": background.blend(warn, 0.25),
        }
        dim = foreground.blend(background, 0.38)
        self._tones: dict[str, Style] = {
            "text": _fore(foreground),
            "strong": _fore(foreground) + Style(bold=True),
            "title": _fore(primary) + Style(bold=True),
            "heading": _fore(primary) + Style(bold=True),
            "key": _fore(foreground.blend(background, 0.2)),
            "dim": _fore(dim),
            "faint": _fore(foreground.blend(background, 0.55)),
            "good": _fore(good),
            "warn": _fore(warn),
            "bad": _fore(bad),
            "info": _fore(info),
            "accent": _fore(_colour(variables, "accent", "#c49ae0")),
            "hot": _fore(bad) + Style(bold=True),
            "spark": _fore(primary.blend(background, 0.35)),
            "hotkey": _fore(primary) + Style(bold=True),
            "sorted": _fore(primary) + Style(bold=True, underline=True),
        }

    def style(self, tone: str, ground: Ground = "base") -> Style:
        """The style of a tone on a ground; an unknown tone is plain text."""
        found = self._styles.get((tone, ground))
        if found is None:
            found = self._tones.get(tone, self._tones["text"])
            behind = self._grounds[ground]
            if tone != "spark" and found.color is not None:
                least = FAINTEST if tone == "faint" else LEAST_CONTRAST
                ink = readable(Color.from_rich_color(found.color), behind, self._foreground, least)
                found = found + _fore(ink)
            found = found + Style(bgcolor=behind.rich_color)
            self._styles[tone, ground] = found
        return found


LEAST_CONTRAST: Final = 4.5
"""What WCAG 2 asks for between letters and their ground."""

FAINTEST: Final = 3.0
"""For what is faint because it is nothing to look at, such as a 0; and can be read all the same."""


def luminance(colour: Color) -> float:
    """How bright it looks, from 0 to 1: https://www.w3.org/TR/WCAG21/#dfn-relative-luminance."""
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in colour.normalized
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: Color, other: Color) -> float:
    """From 1, the same, to 21, black on white."""
    dark, bright = sorted((luminance(one), luminance(other)))
    return (bright + 0.05) / (dark + 0.05)


def readable(ink: Color, ground: Color, foreground: Color, least: float) -> Color:
    """`ink`, brought as near to the foreground as it takes to be read on this ground."""
    for share in range(10):
        mixed = ink.blend(foreground, share / 10)
        if contrast(mixed, ground) >= least:
            return mixed
    return foreground


def _fore(colour: Color) -> Style:
    return Style(color=colour.rich_color)


def _colour(variables: Mapping[str, str], name: str, default: str) -> Color:
    for text in (variables.get(name, default), default):
        try:
            return Color.parse(text)
        except ColorParseError:
            continue  # such as "auto 87%", which is no colour of its own
    raise AssertionError("the default is a colour")


_made: dict[tuple[str, bool], Tones] = {}


def tones_of(app: App[Any]) -> Tones:
    """The styles of the app's theme."""
    key = (app.theme, app.current_theme.dark)
    if key not in _made:
        _made[key] = Tones(app.theme_variables)
    return _made[key]


def theme_for(environment: Mapping[str, str]) -> str:
    """Which theme to start with: Textual's own setting, what the terminal says of its background, else dark."""
    if environment.get("TEXTUAL_THEME"):
        return environment["TEXTUAL_THEME"]
    background = environment.get("COLORFGBG", "").rpartition(";")[2]
    return LIGHT if background in ("7", "15") else DARK
