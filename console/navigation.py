"""Which pages a person has been to: back and forward, as in a browser. Pure."""

from dataclasses import dataclass, field
from typing import Final

from observe.console.screens import FIRST_SCREEN, PageName
from observe.console.state import Identity

MOST: Final = 100
"""Places remembered; older ones are forgotten."""


@dataclass(frozen=True, slots=True)
class Place:
    """A page, and the agent that it is about."""

    page: PageName
    agent: Identity | None = None


HOME: Final = Place(FIRST_SCREEN)


@dataclass(slots=True)
class History:
    """The places, and which of them is on the screen."""

    places: list[Place] = field(default_factory=lambda: [HOME])
    position: int = 0

    @property
    def current(self) -> Place:
        """The place on the screen."""
        return self.places[self.position]

    def visit(self, place: Place) -> bool:
        """Go somewhere else; what was ahead is forgotten. Returns False when we are there already."""
        if place == self.current:
            return False
        del self.places[self.position + 1 :]
        self.places.append(place)
        del self.places[:-MOST]
        self.position = len(self.places) - 1
        return True

    def back(self) -> bool:
        """One place back. Returns False when there is none."""
        if self.position == 0:
            return False
        self.position -= 1
        return True

    def forward(self) -> bool:
        """One place forward. Returns False when there is none."""
        if self.position + 1 >= len(self.places):
            return False
        self.position += 1
        return True

    def update(self, place: Place) -> None:
        """The place on the screen is now about this: an agent's successor has another pid."""
        self.places[self.position] = place
