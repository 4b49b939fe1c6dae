"""What a command says and how: results as text, tables or JSON, and how far it is.

A command that has a ``result`` gives what it found to `Output.show` once, as the JSON document that scripts read and as
lines and tables for people::

    @command(examples=["ipfsreg tags box", "ipfsreg tags box --json"], result="{tags: [name]}")
    @config_option
    def tags(path: Path | None, output: Output) -> None:
        with output.progress("Reading", bytes_=True) as progress:
            progress.expect(total)  # None, as before the call, where nobody knows
            progress.advance(some)
        output.show({"tags": found}, Table(["TAG", Column("SIZE", right=True)], rows))

The document's shape is promised: names in lower case with underscores, sizes in bytes, times in ISO 8601, null where
nothing is known. A name may be added later and none is taken away. docs/commands.md shows it.

Standard output has the result and nothing else. Errors go through `ipfsreg.cli.command.fail`: one line on standard
error, and an exit status of `ipfsreg.cli.errors.Exit`. What a person is told beside the result goes through
`Output.note`. Whatever others have written is given as it is: control characters and the like are escaped here.

`Output` is in `output`, `Table` and `Column` in `table`, `command` in `declare`.
"""
