"""`observe keys`: who may attach to our nodes from elsewhere, and which nodes elsewhere we trust; as with ssh."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from observe.console.exits import REFUSED, complain
from observe.console.options import json_option


@click.group("keys")
def command() -> None:
    """Keys for attaching from other machines.

    \b
    here:             observe keys make                      prints your public key
    on the node:      observe keys authorise KEY --role operator --name ann
                      observe keys show --node               prints the node's public key
    here:             observe keys trust shop@10.0.0.5 KEY
                      observe attach shop@10.0.0.5
    """


def _described(public: str) -> dict[str, str]:
    from observe.probe.keyfiles import fingerprint, key_text

    return {"key": key_text(public), "fingerprint": fingerprint(public)}


def _directory() -> Path:
    from observe.probe.keyfiles import config_directory

    return config_directory()


def _tell(facts: dict[str, Any], as_json: bool) -> None:
    if as_json:
        from observe.console.output import print_json

        print_json(facts)
        return
    click.echo(facts["key"])
    click.echo(f"fingerprint {facts['fingerprint']}", err=True)


def _key(text: str) -> str:
    from observe.probe.keyfiles import parse_key

    try:
        return parse_key(text)
    except ValueError as error:
        raise click.UsageError(str(error)) from None


@command.command("make")
@click.option("--force", is_flag=True, help="Make a new one in the place of the one that is there.")
@json_option
def make(force: bool, as_json: bool) -> None:
    """Make your own key, if you have none, and print its public half."""
    from observe.probe.keyfiles import CLIENT_KEY, make_key_pair

    pair = make_key_pair(_directory() / CLIENT_KEY, replace=force)
    _tell(_described(pair.public), as_json)


@command.command("show")
@click.option("--node", "node", is_flag=True, help="The key of this user's nodes on this machine instead.")
@json_option
def show(node: bool, as_json: bool) -> None:
    """Print your public key; its fingerprint goes to stderr, to be compared by two people."""
    from observe.probe.keyfiles import CLIENT_KEY, NODE_KEY, make_key_pair, read_key_pair

    path = _directory() / (NODE_KEY if node else CLIENT_KEY)
    pair = make_key_pair(path) if node else read_key_pair(path)
    if pair is None:
        complain("you have no key yet", "observe keys make")
        raise click.exceptions.Exit(REFUSED)
    _tell(_described(pair.public), as_json)


@command.command("list")
@json_option
def list_keys(as_json: bool) -> None:
    """List whose keys our nodes accept, and which nodes elsewhere we trust; and check the files of our own keys."""
    from observe.probe.keyfiles import CLIENT_KEY, NODE_KEY, read_authorised, read_key_pair, read_known

    directory = _directory()
    authorised = [
        {"role": one.role, "name": one.name, **_described(one.key)} for one in read_authorised(directory)
    ]
    known = [{"node": one.subject, **_described(one.key)} for one in read_known(directory)]
    if as_json:
        from observe.console.output import print_json

        print_json({"authorised": authorised, "known": known})
    else:
        for one in authorised:
            click.echo(f"authorised  {one['role']:8}  {one['name']:20}  {one['fingerprint']}")
        for one in known:
            click.echo(f"known       {'node':8}  {one['node']:20}  {one['fingerprint']}")
        if not authorised and not known:
            click.echo("No key is authorised and no node elsewhere is known.", err=True)
    for name in (CLIENT_KEY, NODE_KEY):
        read_key_pair(directory / name)  # complains of what is not as it should be


@command.command("authorise")
@click.argument("key")
@click.option(
    "--role", type=click.Choice(["viewer", "operator", "admin"]), default="viewer", show_default=True
)
@click.option(
    "--name", required=True, metavar="NAME", help="Whose key it is, one word; the audit log says it."
)
def authorise(key: str, role: Any, name: str) -> None:
    """Let the holder of KEY attach to this user's nodes. Running nodes notice within a second."""
    from observe.probe import keyfiles

    public = _key(key)
    try:
        keyfiles.authorise(_directory(), public, role, name)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    click.echo(f"{name} is now {role}: {keyfiles.fingerprint(public)}")


@command.command("revoke")
@click.argument("who")
def revoke(who: str) -> None:
    """Stop accepting WHO: a name, a key or a fingerprint. Its open sessions end within a second."""
    from observe.probe import keyfiles

    gone = keyfiles.revoke(_directory(), who)
    for one in gone:
        click.echo(f"revoked {one.name} ({one.role}): {keyfiles.fingerprint(one.key)}")
    if not gone:
        complain(f"no authorised key is called {who}", "`observe keys list` shows them")
        raise click.exceptions.Exit(REFUSED)


@command.command("trust")
@click.argument("node")
@click.argument("key")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
def trust(node: str, key: str, yes: bool) -> None:
    """Trust that NODE has KEY: `shop@host`, `shop@host:port`, or a `host` for all nodes there."""
    from observe.probe import keyfiles

    public = _key(key)
    if not yes and sys.stdin.isatty():
        click.echo(f"{node} would be known by {keyfiles.fingerprint(public)}", err=True)
        if not click.confirm("Does its machine say the same (observe keys show --node)?", err=True):
            raise click.exceptions.Exit(REFUSED)
    try:
        keyfiles.trust(_directory(), node, public)
    except ValueError as error:
        complain(str(error))
        raise click.exceptions.Exit(REFUSED) from None
    click.echo(f"{node} is known by {keyfiles.fingerprint(public)}")


@command.command("forget")
@click.argument("node")
def forget(node: str) -> None:
    """Do not trust the key of NODE any more."""
    from observe.probe import keyfiles

    if not keyfiles.forget(_directory(), node):
        complain(f"nothing is known of {node}", "`observe keys list` shows what is")
        raise click.exceptions.Exit(REFUSED)
    click.echo(f"{node} is forgotten")
