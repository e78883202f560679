"""Commands for whoever runs the hub: `flask --app app user|token|doctor ...`."""

import sys
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

import click
from flask import Flask
from flask.cli import AppGroup, with_appcontext
from sqlalchemy.exc import DBAPIError

from webapp import doctor, schema
from webapp.blueprints.busy import describe_database_error
from webapp.errors import MusterError
from webapp.features.accounts import service as accounts

P = ParamSpec("P")
R = TypeVar("R")

user = AppGroup("user", help="The people who may sign in.")
token = AppGroup("token", help="API tokens for scripts.")


def init_app(app: Flask) -> None:
    """Adds the groups to `flask`."""
    app.cli.add_command(user)
    app.cli.add_command(token)
    app.cli.add_command(run_doctor)


def says_why(command: Callable[P, R]) -> Callable[P, R]:
    """Ends the command with one sentence instead of a stack trace."""

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            schema.upgrade()  # a new hub's first command may come before its first start
            return command(*args, **kwargs)
        except MusterError as error:
            raise click.ClickException(error.detail) from error
        except DBAPIError as error:
            trouble = describe_database_error(error)
            if trouble is None:
                raise
            raise click.ClickException(trouble.detail) from error

    return run


def read_password(is_stdin: bool) -> str:
    """The first line of standard input, or what somebody types twice."""
    if is_stdin:
        return sys.stdin.readline().rstrip("\r\n")
    typed: str = click.prompt("Password", hide_input=True, confirmation_prompt=True)
    return typed


@user.command("create")
@click.argument("name")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input instead of asking.")
@click.option("--admin", "is_admin", is_flag=True, help="May manage the hub.")
@says_why
def create_user(name: str, password_stdin: bool, is_admin: bool) -> None:
    """Add an account called NAME."""
    made = accounts.create_account(name, read_password(password_stdin), is_admin=is_admin)
    click.echo(f"{made.name} can sign in now.")


@user.command("password")
@click.argument("name")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input instead of asking.")
@says_why
def reset_password(name: str, password_stdin: bool) -> None:
    """Give NAME a new password and sign out all of their browsers."""
    accounts.reset_password(name, read_password(password_stdin))
    click.echo(f"{name} has a new password.")


@token.command("create")
@click.option("--user", "name", required=True, help="Whose token it is.")
@click.option("--label", required=True, help="What will use it.")
@says_why
def create_token(name: str, label: str) -> None:
    """Print a new API token, and nothing else."""
    _, secret = accounts.create_api_token(accounts.get_account_by_name(name).id, label)
    click.echo(secret)


@click.command("doctor")
@with_appcontext
def run_doctor() -> None:
    """Say what is wrong with this hub, and exit with 1 if anything is."""
    findings = doctor.examine()
    for finding in findings:
        click.echo(f"{'!' if finding.is_wrong else '-'} {finding.sentence}")
    if any(finding.is_wrong for finding in findings):
        sys.exit(1)
    click.echo("Nothing is wrong.")
