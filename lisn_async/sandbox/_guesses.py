"""What we guessed: every choice the sandbox makes where the documentation of the service is silent.

The README quotes this table. A row that the service contradicts is to be corrected here and where it points.
"""

import attrs


@attrs.frozen
class Guess:
    """One open question and the answer the sandbox lives by."""

    about: str
    choice: str


GUESSES = (
    Guess("Statuses of success", "list, get, update 200; create, duplicate 201; delete 204 without a body"),
    Guess("Shape of a reply", "the bare assistant; a list is a bare array in order of creation, never paged"),
    Guess(
        "Fields of a reply",
        "`id`, the twelve documented fields (`null` where unset), `created_at`, `updated_at`",
    ),
    Guess("`webhook_secret`", "is given back as it was sent"),
    Guess("`temperature` left out", "is 0.7 in the reply, as documented; `null` stays `null`"),
    Guess(
        "`null`",
        "means *not set*: fine for optional fields, also `stt_*` of a text assistant; not for required ones",
    ),
    Guess(
        "Empty strings",
        "`name` and `system_prompt` must not be empty; white space alone is content; no upper limits",
    ),
    Guess(
        "`webhook_url`",
        "any `http://` or `https://` URL with a host and without spaces or control characters",
    ),
    Guess("Fields the documentation does not know", "are kept and given back"),
    Guess("`id`, `created_at`, `updated_at` in a request", "are the server's: ignored"),
    Guess(
        "`created_at`, `updated_at`",
        "one second per change since 2026-01-01: the same calls, the same replies",
    ),
    Guess(
        "Update",
        "the rules apply to the result: `type: text` is refused while an `stt_*` is set; `{}` is fine",
    ),
    Guess("Duplicate", "same content, same name, new id; a request body is ignored"),
    Guess("Deleting twice", "404 the second time; ids are never given out again"),
    Guess("Names", "need not be unique, so nothing is answered with 409 (a fault can)"),
    Guess("Idempotency keys, query parameters", "are ignored"),
    Guess("Rate limits", "none (a fault can answer 429)"),
    Guess(
        "Error body", '`{"error": {"type", "message", "fields": {name: reason}}}`, every wrong field at once'
    ),
    Guess(
        "Which refusal", "404 path, 405 + `Allow`, 401, 413, 415 / 400, 404 id, 422: the first that applies"
    ),
    Guess("400", "not JSON: also NaN, Infinity, 1e999, a key given twice, deeper than 64 levels, not UTF-8"),
    Guess("413", "above 1 MiB (`max_body`)"),
    Guess("415", "not `application/json` in UTF-8, or compressed"),
    Guess("422", "JSON that is no object, or breaks a rule of the parameter table"),
    Guess("`X-Request-Id`", "on every reply"),
    Guess("HEAD, OPTIONS", "HEAD where there is GET; OPTIONS 204 with `Allow`, without a token"),
    Guess("Slash at the end of a path", "404"),
)


def as_markdown() -> str:
    """The table as Markdown."""
    rows = [f"| {guess.about} | {guess.choice} |" for guess in GUESSES]
    return (
        "\n".join(["| The documentation is silent about | The sandbox's choice |", "|---|---|", *rows]) + "\n"
    )
