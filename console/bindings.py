"""Textual's bindings, made from the registry of actions."""

from textual.binding import Binding, BindingType

from observe.console.keys import Action, Page, key_name, on_page


def bindings_of(page: Page) -> list[BindingType]:
    """All bindings of a page (or of the app): each key of each action calls its method, see `method_of`.

    They have ids, so that a person's own keys can take the place of ours: `rebound()` is the app's keymap.
    """
    return [
        Binding(
            ",".join(action.keys), method_of(action), action.name, show=False,
            key_display=key_name(action.keys[0]), id=f"{action.page}.{action.id}",
        )
        for action in on_page(page)
    ]  # fmt: skip


def method_of(action: Action) -> str:
    """`action_<id>`, as Textual names it; the app's `action_act` for what is done to agents."""
    return f"act({action.id!r})" if action.page == "agent" else action.id
