"""`observe serve`."""

from __future__ import annotations

import ipaddress

import click

from observe.console.options import node_argument


@click.command("serve")
@node_argument
@click.option(
    "--host", default="127.0.0.1", show_default=True, help="An address of this machine for itself alone."
)
@click.option("--port", type=click.IntRange(0, 65535), default=0, metavar="N", help="Else one that is free.")
@click.option("--read-only", "readonly", is_flag=True, help="Look, but offer nothing that changes the node.")
def command(node: str, host: str, port: int, readonly: bool) -> None:
    """The same console in a browser, for this machine alone, behind a token.

    Prints the address to open. Whoever opens it acts with your key. From elsewhere: `ssh -L 8800:127.0.0.1:8800 HOST`, and
    --port 8800 there.

    \b
    observe serve shop
    observe serve shop --port 8800 --read-only
    """
    from observe.console.link import known

    try:
        loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = False
    if not loopback:
        raise click.BadParameter(
            f"{host} can be reached by others, over a connection that anybody can read; use ssh -L instead",
            param_hint="--host",
        )
    known(node)
    try:
        from observe.console.serving import ConsoleServer, free_port
    except ImportError as error:
        raise click.UsageError(
            f"The console in a browser needs more packages ({error.name} is missing): "
            "pip install 'observe-agents[serve]'"
        ) from None
    arguments = ["attach", node, *(["--read-only"] if readonly else [])]
    try:
        server = ConsoleServer(arguments, host, port or free_port(host), f"observe {node}")
        click.echo(server.url)
        click.echo("Ctrl-C ends it and the consoles that are open in browsers.", err=True)
        server.serve()
    except OSError as error:
        raise click.ClickException(f"cannot listen on {host}:{port}: {error.strerror or error}") from None
