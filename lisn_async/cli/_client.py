"""From the options of a command to a client, and from its errors to a message and an exit status."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from cyclopts import Group, Parameter

from lisn_async.cli._stop import SOME_FAILED, WRONG_USE

if TYPE_CHECKING:
    from lisn_async import AsyncLisn, LisnError

GROUP = Group("Connection", sort_key=100)


@Parameter(name="*", group=GROUP)
@dataclass(frozen=True, kw_only=True)
class Connection:
    """Where the service is. The token has no option: a command line is visible to every user of a machine."""

    base_url: Annotated[
        str | None, Parameter(help="Base URL of the API; else $LISN_BASE_URL, else https://app.lisn.dev/api.")
    ] = None
    timeout: Annotated[float, Parameter(help="Seconds for one attempt of a request.")] = 60.0
    max_retries: Annotated[int, Parameter(help="How often a request is sent again where that is safe.")] = 2
    allow_insecure_http: Annotated[
        bool, Parameter(help="Send the token in clear text to a server that is not this machine.")
    ] = False

    def open(self) -> "AsyncLisn":
        """A client; the token is $LISN_API_TOKEN."""
        from lisn_async import AsyncLisn

        return AsyncLisn(
            base_url=self.base_url,
            timeout=self.timeout,
            max_retries=self.max_retries,
            allow_insecure_http=self.allow_insecure_http,
        )


USUAL = Connection()


def no_option(_: object, file: str | None) -> None:
    """For a FILE that may be -, and therefore may begin with a hyphen: a misspelt option is no file."""
    if file and file.startswith("-") and file != "-":
        raise ValueError(f"there is no such option; a file of this name is ./{file}")


def explain(error: "LisnError") -> str:
    """The message of an error, with what to do about it."""
    from lisn_async import errors

    text = str(error).replace("pass allow_insecure_http=True", "say --allow-insecure-http")
    if isinstance(error, errors.ConfigurationError) and "no API token" in text:
        return "no API token: set LISN_API_TOKEN (Lisn: Settings → API Tokens), or try `lisn demo`, which needs none"
    if isinstance(error, errors.AuthenticationError):
        return f"{text}: is LISN_API_TOKEN the right token for this server?"
    if isinstance(error, errors.APIError) and error.outcome_unknown:
        return f"{text} (`lisn assistants list`)"
    if isinstance(error, errors.APIConnectionError):
        return f"{text}: is the server up, and is the base URL right?"
    return text


def status_of(error: "LisnError") -> int:
    """The exit status: a call that failed is 1, one that was never made because of what it was given is 2."""
    from lisn_async import errors

    wrong = (errors.ConfigurationError, errors.ValidationError, errors.JournalError)
    return WRONG_USE if isinstance(error, wrong) else SOME_FAILED
