"""`twinset consent`: whose face may be used, for what, until when."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated

import typer

from twinset.cli.console import say
from twinset.errors import InputError

consent_app = typer.Typer(no_args_is_help=True, rich_markup_mode="markdown")
Reference = Annotated[str, typer.Argument(help="The consent's reference.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON on standard output.")]


@consent_app.callback()
def consent() -> None:
    """Record consents to the use of a face, withdraw them, and delete what was made of it."""


@consent_app.command("add")
def add_consent(
    person: Annotated[str, typer.Argument(help="Who agrees.")],
    purpose: Annotated[list[str], typer.Option(help="try-on, promotion or training; repeatable.")],
    until: Annotated[str, typer.Option(help="The last day, as in 2027-12-31.")],
    statement: Annotated[
        Path | None, typer.Option(help="The signed statement's file; only its hash is stored.")
    ] = None,
    agreed: Annotated[bool, typer.Option("--agreed", help="The person has ticked a checkbox, or agrees now.")] = False,
) -> None:
    """Record a person's consent and print its reference, which requests and manifests give as `consent`.

    Example: `twinset consent add "Mei Lin" --purpose promotion --until 2027-12-31 --statement signed.pdf`
    """
    from twinset.common.hashing import file_hash
    from twinset.compliance.consent import ConsentBook, read_statement

    if statement is None and not agreed:
        raise InputError("no proof of consent; give --statement signed.pdf, or --agreed when the person has agreed")
    if statement is not None and not statement.is_file():
        raise InputError(f"statement {str(statement)!r} is not a file; give the signed statement")
    signed = {"by": "signed", "statement_sha256": file_hash(statement)} if statement else {"by": "checkbox"}
    told = read_statement(person=person, purposes=purpose, until=_day(until), given=datetime.now(UTC), **signed)
    print(ConsentBook().record(told))


@consent_app.command(name="list")
def list_consents(as_json: AsJson = False) -> None:
    """List all consents and whether they hold today. Example: `twinset consent list`"""
    from twinset.compliance.consent import ConsentBook

    today = datetime.now(UTC).date()
    found = list(ConsentBook().entries())
    if as_json:
        print(json.dumps([one.model_dump(mode="json") for one in found], indent=2, ensure_ascii=False))
        return
    for one in found:
        said = one.statement
        state = one.fault(None, today) or f"holds until {said.until}"
        say.print(f"{one.id}  {said.person}  {', '.join(said.purposes)}  {state}", markup=False)
    if not found:
        say.print("no consents; record one with twinset consent add")


@consent_app.command("show")
def show_consent(reference: Reference) -> None:
    """Print a consent as JSON. Example: `twinset consent show 1f0c9a7be2d34568`"""
    from twinset.compliance.consent import ConsentBook

    print(json.dumps(ConsentBook().read(reference).model_dump(mode="json"), indent=2, ensure_ascii=False))


@consent_app.command()
def withdraw(
    reference: Reference,
    outputs: Annotated[
        list[Path] | None, typer.Option(help="Folder to which files were moved or copied; repeatable.")
    ] = None,
) -> None:
    """End a consent and delete what was made under it: pictures, records, sheets, pages, and what perception found.

    Each file was entered in the book of consents when it was made, and goes if it is still what it was. Folders that
    are named are searched for the same contents under other names, and for records that refer to the consent.

    Example: `twinset consent withdraw 1f0c9a7be2d34568 --outputs out/promo`
    """
    from twinset.compliance.consent import ConsentBook, outputs_of

    deleted = ConsentBook().withdraw(reference, folders=outputs or ())
    for folder in outputs or ():
        for path in outputs_of(reference, folder):
            path.unlink(missing_ok=True)
            deleted.append(path)
    _tell(deleted)


@consent_app.command()
def expire() -> None:
    """Delete what was made of people whose consent has ended; for a daily job. Example: `twinset consent expire`"""
    from twinset.compliance.consent import ConsentBook

    _tell([path for paths in ConsentBook().expire().values() for path in paths])


def _tell(deleted: list[Path]) -> None:
    for path in deleted:
        say.print(f"deleted {path}", markup=False)
    say.print(f"{len(deleted)} file(s) deleted")


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise InputError(f"until = {text!r} is not a date; write it as 2027-12-31") from None
