"""Textual's bindings, made from the registry of actions."""

from textual.binding import Binding, BindingType

from observe.console.keys import Page, key_name, on_page


def bindings_of(page: Page) -> list[BindingType]:
    """All bindings of a page (or of the app): each key of each action calls the method `action_<id>`."""
    return [
        Binding(key, action.id, action.name, show=False, key_display=key_name(key))
        for action in on_page(page)
        for key in action.keys
    ]
