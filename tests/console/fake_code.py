"""The loaded code of a made-up shop, for the console's page: one module has changed on the disk."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from observe.probe.errors import RemoteError
from observe.probe.wire_reload import LoadedCode, ModuleLine, ReloadDone

DIFF = [
    "--- shop.prices (1)", "+++ shop.prices (on disk)", "@@ -1,2 +1,5 @@", " def price(count):",
    "-    return count * 3", "+    return count * 3 + fee()", "+", "+def fee():", "+    return 1",
]  # fmt: skip


def module(name: str, version: int = 1, **more: Any) -> ModuleLine:
    """A module that is as it was loaded."""
    facts = {
        "name": name,
        "file": f"/srv/{name.replace('.', '/')}.py",
        "version": version,
        "lines": 120,
        "state": "same",
    }
    return ModuleLine.from_wire(facts | more)


class FakeCode:
    """Mixed into the node."""

    at: float
    reload_refusals: Sequence[str] = ()

    def _asked(self, verb: str, argument: Any = None) -> None: ...

    @property
    def loaded(self) -> list[ModuleLine]:
        """The modules."""
        return self.__dict__.setdefault("_loaded", [  # type: ignore[no-any-return]  # its own, made when first asked for
            module("shop.prices", state="changed", changed_at=self.at - 40, added=4, removed=1, lines=2),
            module("shop", lines=0),
            module("shop.orders", classes={"Session": 400, "Desk": 1}, agents=401, version=3),
            module("shop.tools", lines=1210),
        ])  # fmt: skip

    async def code(self, diff: str = "") -> LoadedCode:
        self._asked("code", diff)
        changed = sum(one.state != "same" for one in self.loaded)
        undoes = [one.name for one in self.loaded if one.version > 1]
        return LoadedCode(
            modules=list(self.loaded), total=len(self.loaded), changed=changed, undoes=undoes, undoable=2 * len(undoes),
            diff=DIFF if diff == "shop.prices" else [],
        )  # fmt: skip

    async def reload(
        self, modules: Sequence[str] = (), *, dry_run: bool = False, rollback: bool = False, reason: str = ""
    ) -> ReloadDone:
        self._asked("reload", (list(modules), dry_run, rollback, reason))
        by_name = {one.name: at for at, one in enumerate(self.loaded)}
        versions = {name: self.loaded[by_name[name]].version + (-1 if rollback else 1) for name in modules}
        if not dry_run:
            if self.reload_refusals:
                raise RemoteError("refused", self.reload_refusals[0], "everything is as it was")
            for name, version in versions.items():
                at = by_name[name]
                facts = {
                    "version": version,
                    "state": "same",
                    "changed_at": None,
                    "added": None,
                    "removed": None,
                }
                self.loaded[at] = self.loaded[at].model_copy(update=facts)
        said = ", ".join(f"{name} {version}" for name, version in versions.items())
        return ReloadDone(
            done=True, what=f"{'undone: back to' if rollback else 'now'} {said}; 401 agents concerned, 0 migrated",
            modules=list(modules), versions=versions, agents=401, classes={"Session": 400, "Desk": 1}, dry_run=dry_run,
            added=["shop.prices.fee"], changed=["shop.prices.price"], kept=["shop.prices.CACHE"],
            refusals=list(self.reload_refusals) if dry_run else [], paused_s=0.012, took_s=0.031,
        )  # fmt: skip
